"""Difference map, or sample, to wavelet code to bytes, and back."""

from compress.codec import Codec, decode
from compress.errors import FormatError
from compress.wavelet import Coefficients, dwt, idwt

__all__ = ["Codec", "Coefficients", "FormatError", "decode", "dwt", "idwt"]
