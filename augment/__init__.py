"""From samples to training data: datasets, classic augmentation, the sample bank."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augment.bank.bank import SampleBank as SampleBank
    from augment.bank.mixed import MixedDataset as MixedDataset
    from augment.bank.samples import Entry as Entry
    from augment.batches import iterate as iterate
    from augment.dataset import Dataset as Dataset
    from augment.datasets.videos.write import write_video as write_video
    from augment.load import load_dataset as load_dataset
    from augment.transforms.classic import ClassicAugmentation as ClassicAugmentation
    from augment.transforms.classic import classic_for as classic_for

_HOMES = {
    "ClassicAugmentation": "augment.transforms.classic",
    "Dataset": "augment.dataset",
    "Entry": "augment.bank.samples",
    "MixedDataset": "augment.bank.mixed",
    "SampleBank": "augment.bank.bank",
    "classic_for": "augment.transforms.classic",
    "iterate": "augment.batches",
    "load_dataset": "augment.load",
    "write_video": "augment.datasets.videos.write",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
