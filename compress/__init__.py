"""Difference map, or sample, to wavelet code to bytes, and back."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.codec import Codec
    from compress.decoding import decode
    from compress.errors import FormatError
    from compress.network.network import Gate, Network, NetworkConfig
    from compress.quantise.task import Task
    from compress.wavelet.transform import Coefficients, dwt, idwt

__all__ = [
    "Codec",
    "Coefficients",
    "FormatError",
    "Gate",
    "Network",
    "NetworkConfig",
    "Task",
    "decode",
    "dwt",
    "idwt",
]

_HOMES = {
    "Codec": "compress.codec",
    "Coefficients": "compress.wavelet.transform",
    "FormatError": "compress.errors",
    "Gate": "compress.network.network",
    "Network": "compress.network.network",
    "NetworkConfig": "compress.network.network",
    "Task": "compress.quantise.task",
    "decode": "compress.decoding",
    "dwt": "compress.wavelet.transform",
    "idwt": "compress.wavelet.transform",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
