"""Difference map, or sample, to wavelet code to bytes, and back."""

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
