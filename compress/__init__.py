"""Difference map, or sample, to wavelet code to bytes, and back."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.codec import Codec
    from compress.decoding import decode
    from compress.errors import FormatError
    from compress.network.restoration_net import BlendWeight, NetworkConfig, RestorationNet
    from compress.quantise.task_quantiser import TaskQuantiser
    from compress.wavelet.transform import Coefficients, dwt, idwt

__all__ = [
    "BlendWeight",
    "Codec",
    "Coefficients",
    "FormatError",
    "NetworkConfig",
    "RestorationNet",
    "TaskQuantiser",
    "decode",
    "dwt",
    "idwt",
]

_HOMES = {
    "Codec": "compress.codec",
    "Coefficients": "compress.wavelet.transform",
    "FormatError": "compress.errors",
    "BlendWeight": "compress.network.restoration_net",
    "RestorationNet": "compress.network.restoration_net",
    "NetworkConfig": "compress.network.restoration_net",
    "TaskQuantiser": "compress.quantise.task_quantiser",
    "decode": "compress.decoding",
    "dwt": "compress.wavelet.transform",
    "idwt": "compress.wavelet.transform",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
