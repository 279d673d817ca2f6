"""A codec's file: options, tables, and a check sum."""

import os
import struct
import zlib
from pathlib import Path
from secrets import token_hex

from compress.entropy.tables import Tables
from compress.errors import FormatError
from compress.wavelet.lifting import WAVELETS

_FILE = struct.Struct("<4sBBBBf")
_MAGIC, _VERSION = b"SPRT", 1
_ALL = 255  # as many levels as there are
# The fields of a `Codec`: tables, step, wavelet, levels, levels in time.
SavedCodec = tuple[Tables, float, str, int | None, int | None]


def write(path: Path, parts: SavedCodec) -> None:
    """Write a codec's file, which appears whole or not at all."""
    tables, step, wavelet, *levels = parts
    stored = [_ALL if n is None else n for n in levels]
    data = _FILE.pack(_MAGIC, _VERSION, WAVELETS.index(wavelet), *stored, step) + tables.packed
    unfinished = path.with_name(f".{path.name}.{token_hex(4)}.partial")
    try:
        with unfinished.open("xb") as file:
            file.write(data + struct.pack("<I", zlib.crc32(data)))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def read(path: Path) -> SavedCodec:
    """Read a codec's file.

    Raises:
        FormatError: for a file that holds no codec.
    """
    data = path.read_bytes()
    if len(data) < _FILE.size + 4 or data[:4] != _MAGIC:
        raise FormatError(f"{path} is no codec: it begins with {data[:4]!r}")
    if struct.unpack("<I", data[-4:])[0] != zlib.crc32(data[:-4]):
        raise FormatError(f"{path} is damaged: its check sum differs")
    _, version, wavelet, *levels, step = _FILE.unpack_from(data)
    if version != _VERSION or wavelet >= len(WAVELETS):
        raise FormatError(f"{path} is of version {version}; {_VERSION} is known")
    tables = Tables.unpack(data[_FILE.size : -4])
    in_space, in_time = (None if n == _ALL else n for n in levels)
    return tables, step, WAVELETS[wavelet], in_space, in_time
