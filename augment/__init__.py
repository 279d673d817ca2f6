"""From samples to training data: datasets, classic augmentation, the sample bank."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augment.bank.bank import SampleBank
    from augment.bank.mixed import MixedDataset
    from augment.bank.samples import Entry
    from augment.batches import iterate
    from augment.dataset import Dataset
    from augment.datasets.videos.write import write_video
    from augment.load import load_dataset
    from augment.transforms.classic import ClassicAugmentation, classic_for

__all__ = [
    "ClassicAugmentation",
    "Dataset",
    "Entry",
    "MixedDataset",
    "SampleBank",
    "classic_for",
    "iterate",
    "load_dataset",
    "write_video",
]

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


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
