"""Types that training scripts store beside the weights, each replaced by an empty stand-in.

Nothing of the program that wrote a checkpoint is wanted but tensors. A type that is named here is
read as a stand-in of our own: neither its module nor its code takes part, whatever the file
makes of it. A type that is not named here ends the reading.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
# By the name that a pickle gives them. Calls of functions such as `scalar` are what their
# results are stored as.
_OBJECTS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"{module}.{name}" for module in _NUMPY for name in ("scalar", "_reconstruct")),
    *(f"numpy.{name}" for name in ("dtype", "ndarray", "bool_", "float16", "float32", "float64")),
    *(f"numpy.{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath")),
    *(f"pathlib.{name}" for name in ("PurePath", "PurePosixPath", "PureWindowsPath")),
    *(f"pathlib._local.{name}" for name in ("Path", "PosixPath", "WindowsPath")),
    *(f"pathlib._local.{name}" for name in ("PurePath", "PurePosixPath", "PureWindowsPath")),
    *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "frozenset", "int")),
    *(f"builtins.{name}" for name in ("list", "object", "range", "slice", "str", "tuple")),
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
    "typing.Any",
    "torch.torch_version.TorchVersion",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Float", "Integer", "String")),
)
_DICTS = (
    "collections.defaultdict",
    "addict.addict.Dict",
    "detectron2.config.config.CfgNode",
    "easydict.EasyDict",
    "fvcore.common.config.CfgNode",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "mmengine.config.config.ConfigDict",
    "munch.Munch",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)
_LISTS = ("collections.deque",)


class Placeholder:
    """Stands for an object of the file; takes whatever it is given, and keeps none of it."""

    def __new__(cls, *_: object) -> "Placeholder":
        """Make one; the arguments are let go."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Let the state go."""


class _Dict:
    """Stands for a kind of dict: an ordered one is what torch's reader puts entries into."""

    def __new__(cls, *_: object) -> Any:
        return OrderedDict()


class _List:
    """Stands for a kind of list."""

    def __new__(cls, *_: object) -> Any:
        return []


_STAND_INS: list[Any] = [
    (type(name.rpartition(".")[2], (base,), {}), name)
    for names, base in ((_OBJECTS, Placeholder), (_DICTS, _Dict), (_LISTS, _List))
    for name in names
]


@contextmanager
def harmless_types() -> Iterator[None]:
    """Let `torch.load(..., weights_only=True)` read the types named here, as stand-ins."""
    with torch.serialization.safe_globals(_STAND_INS):
        yield
