"""The codec: samples to bytes and back."""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import torch
from torch import Tensor

from compress.bands import bands
from compress.chunk import decode_chunk, encode_chunk
from compress.colour import opponent, rgb
from compress.contexts import Ints
from compress.container import KINDS, WAVELETS, Head, Kind, padded, parse, values_for, write
from compress.errors import FormatError
from compress.fitting import Gatherer, fit_tables
from compress.places import places
from compress.quantise import dequantise, fineness, quantise, to_array
from compress.symbols import LARGEST, buckets
from compress.tables import Tables
from compress.traversal import traverse
from compress.wavelet import Coefficients, dwt, idwt

MIDDLE = 0.5  # of the range of samples, which is taken from them
FITTED = (1, 2, 4, 8, 16)  # steps that tables are fitted to, in units of the codec's
_FITTED_VALUES = 2**23
_PROBED = 512  # samples by which the step for a number of bytes is found
_FILE = struct.Struct("<4sBBBBf")
_FILE_MAGIC, _FILE_VERSION = b"SPRT", 1
_ALL = 255  # as many levels as there are


@dataclass(frozen=True)
class Codec:
    """Codes images and videos as quantised wavelet coefficients.

    Attributes:
        tables: statistics of the coefficients, which the decoder needs too.
        step: of the quantiser, in units of samples: larger is smaller and worse.
        wavelet: "haar", "cdf53" or "cdf97".
        levels: see `dwt`.
        time_levels: see `dwt`.
    """

    tables: Tables
    step: float = 0.05
    wavelet: str = "cdf97"
    levels: int | None = None
    time_levels: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        if self.wavelet not in WAVELETS:
            raise ValueError(f"wavelet is {self.wavelet!r}; allowed: {', '.join(WAVELETS)}")
        check_step(self.step)

    @classmethod
    def fit(
        cls,
        x: Tensor,
        *,
        step: float = 0.05,
        kind: Kind = "x",
        x_adv: Tensor | None = None,
        wavelet: str = "cdf97",
        levels: int | None = None,
        time_levels: int | None = None,
    ) -> "Codec":
        """Fit the tables to training samples.

        They suit steps from `step` to 16 times as much, and samples of other sizes.

        Args:
            x: (B, C, H, W) or (B, C, T, H, W) in [0, 1]; a few hundred are enough.
            step: the codec's.
            kind: "x" for samples, "delta" for x - x_adv.
            x_adv: like x, for kind "delta".
            wavelet: the codec's.
            levels: the codec's.
            time_levels: the codec's.
        """
        blank = cls(_BLANK, step, wavelet, levels, time_levels)
        signal = signal_of(x, kind, x_adv)
        signal = signal[: max(1, _FITTED_VALUES // signal[0].numel())]
        gathered = Gatherer()
        for factor in FITTED:
            q = blank.quantised(signal, step * factor)
            around = places(q.bands, x.shape[1])
            symbols = buckets(np.abs(to_array(q)))
            traverse(gathered, symbols, around, fineness=fineness(step * factor))
        return replace(blank, tables=fit_tables(gathered))

    def quantised(self, signal: Tensor, step: float) -> Coefficients:
        """Return the whole numbers that stand for a signal: `signal_of` some samples."""
        c = dwt(
            opponent(signal), wavelet=self.wavelet, levels=self.levels,
            time_levels=self.time_levels, lifted=True,
        )  # fmt: skip
        q = quantise(c, step)
        return q.with_values(q.values.clamp(-LARGEST, LARGEST))

    def encode(
        self,
        x: Tensor,
        *,
        kind: Kind = "x",
        x_adv: Tensor | None = None,
        step: float | None = None,
        bytes_per_sample: float | None = None,
        embed_tables: bool = False,
    ) -> bytes:
        """Code samples.

        Args:
            x: (B, C, H, W) or (B, C, T, H, W) in [0, 1].
            kind: "x" for the samples themselves, "delta" for x - x_adv.
            x_adv: like x, for kind "delta".
            step: of the quantiser; None takes the codec's.
            bytes_per_sample: find the step with which the chunks have so many bytes a sample.
            embed_tables: put the tables into the file, which then decodes alone.

        Returns:
            A file; `decode` gives the samples, or the difference, back, about.

        Raises:
            ValueError: for samples that cannot be coded.
        """
        signal = signal_of(x, kind, x_adv)
        if bytes_per_sample is not None:
            if step is not None:
                raise ValueError(f"step={step}, bytes_per_sample={bytes_per_sample}; give one")
            step = self.step_for(signal, bytes_per_sample)
        step = self.step if step is None else step
        check_step(step)
        return self.written(self.quantised(signal, step), kind, step, embed_tables=embed_tables)

    def written(
        self, q: Coefficients, kind: Kind, step: float, *, embed_tables: bool = False
    ) -> bytes:
        """Return a file of whole numbers that stand for samples."""
        shape = tuple(q.values.shape[1:])
        tables = self.tables
        head = Head(
            kind, q.wavelet, q.levels, q.time_levels, step, len(q.values), shape,
            min(len(q.values), max(1, values_for(0) // q.values[0].numel())),
            tables.digest, tables.packed if embed_tables else b"",
        )  # fmt: skip
        return write(head, self._chunks(q, head))

    def _chunks(self, q: Coefficients, head: Head) -> list[bytes]:
        around, out = places(q.bands, head.shape[0]), []
        for part in _split(q, head):
            chunk = encode_chunk(part, around, self.tables, fineness=fineness(head.step))
            out.append(padded(chunk, part.size))
        return out

    def step_for(self, signal: Tensor, bytes_per_sample: float) -> float:
        """Return the step with which a signal has so many bytes a sample, without the head.

        Raises:
            ValueError: when no step gives so few or so many.
        """
        some = signal[torch.linspace(0, len(signal) - 1, min(len(signal), _PROBED)).long()]
        low, high = 1e-4, 64.0
        for _ in range(24):
            middle = (low * high) ** 0.5
            q = self.quantised(some, middle)
            around = places(q.bands, some.shape[1])
            chunk = encode_chunk(to_array(q), around, self.tables, fineness=fineness(middle))
            if abs(len(chunk) / len(some) / bytes_per_sample - 1) < 0.002:
                return middle
            low, high = (middle, high) if len(chunk) / len(some) > bytes_per_sample else (low, middle)
        if not 2e-4 < middle < 32:
            raise ValueError(
                f"bytes_per_sample is {bytes_per_sample}; with the coarsest and the finest step "
                f"these samples have {len(chunk) / len(some):.1f}"
            )
        return middle

    def decode(self, data: bytes) -> Tensor:
        """Return the samples, or the differences, of a file.

        Raises:
            FormatError: when the bytes are no such file, or were coded with other tables.
        """
        return torch.cat(list(self.decode_chunks(data)))

    def decode_chunks(self, data: bytes) -> Iterator[Tensor]:
        """Yield the samples of a file chunk by chunk, each (B', ...); see `decode`."""
        return _decoded(data, self.tables)

    def save(self, path: str | Path) -> None:
        """Write the codec to a file, which appears whole or not at all."""
        path = Path(path)
        levels = [_ALL if n is None else n for n in (self.levels, self.time_levels)]
        wavelet = WAVELETS.index(self.wavelet)
        head = _FILE.pack(_FILE_MAGIC, _FILE_VERSION, wavelet, *levels, self.step)
        data = head + self.tables.packed
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                file.write(data + struct.pack("<I", zlib.crc32(data)))
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    @classmethod
    def load(cls, path: str | Path) -> "Codec":
        """Read what `save` wrote.

        Raises:
            FormatError: when the file is no codec.
        """
        data = Path(path).read_bytes()
        if len(data) < _FILE.size + 4 or data[:4] != _FILE_MAGIC:
            raise FormatError(f"{path} is no codec: it begins with {data[:4]!r}")
        if struct.unpack("<I", data[-4:])[0] != zlib.crc32(data[:-4]):
            raise FormatError(f"{path} is damaged: its check sum differs")
        _, version, wavelet, levels, time_levels, step = _FILE.unpack_from(data)
        if version != _FILE_VERSION or wavelet >= len(WAVELETS):
            raise FormatError(f"{path} is of version {version}; {_FILE_VERSION} is known")
        tables = Tables.unpack(data[_FILE.size : -4])
        try:
            some = [None if n == _ALL else n for n in (levels, time_levels)]
            return cls(tables, step, WAVELETS[wavelet], *some)
        except ValueError as error:
            raise FormatError(f"{path}: {error}") from error


def decode(data: bytes) -> Tensor:
    """Return the samples of a file with tables of its own; see `Codec.decode`.

    Raises:
        FormatError: when the bytes are no such file.
    """
    return torch.cat(list(_decoded(data, None)))


def _decoded(data: bytes, tables: Tables | None) -> Iterator[Tensor]:
    """Yield the samples of a file chunk by chunk."""
    file = parse(bytes(data))
    head = file.head
    if head.tables:
        tables = Tables.unpack(head.tables)
    if tables is None:
        raise FormatError("the file has no tables of its own; use decode() of the codec it was made with")
    if tables.digest != head.digest:
        raise FormatError(
            f"the file was coded with tables {head.digest.hex()}, these are {tables.digest.hex()}; "
            "use the codec it was made with"
        )
    c, t, h, w = head.volume
    parts = bands(t, h, w, levels=head.levels, time_levels=head.time_levels)
    around = places(parts, c)
    for number, samples in enumerate(head.chunks):
        q = decode_chunk(
            file.chunk(number), (samples, c, t, h, w), around, tables, fineness=fineness(head.step)
        )
        values = torch.from_numpy(q).float().view(samples, *head.shape)
        yield _restored(Coefficients(values, head.wavelet, head.levels, head.time_levels), head)


def _restored(q: Coefficients, head: Head) -> Tensor:
    """Return the samples that whole numbers stand for."""
    signal = rgb(idwt(dequantise(q, head.step), lifted=True))
    return signal.clamp(-1, 1) if head.kind == "delta" else (signal + MIDDLE).clamp(0, 1)


def _split(q: Coefficients, head: Head) -> Iterator[Ints]:
    whole = to_array(q)
    for start in range(0, len(whole), head.per_chunk):
        yield whole[start : start + head.per_chunk]


def signal_of(x: Tensor, kind: Kind, x_adv: Tensor | None) -> Tensor:
    """Return what is transformed: samples without their middle, or the difference to x_adv.

    Raises:
        ValueError: for samples, or a kind, that there are not.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; allowed: {', '.join(KINDS)}")
    for name, values in (("x", x), ("x_adv", x_adv)):
        if values is not None:
            _check(name, values)
    if (x_adv is None) == (kind == "delta"):
        raise ValueError(f"kind={kind!r} {'needs' if kind == 'delta' else 'takes no'} x_adv")
    if x_adv is None:
        return x.detach().float().cpu() - MIDDLE
    if x_adv.shape != x.shape:
        raise ValueError(f"x is {tuple(x.shape)}, x_adv {tuple(x_adv.shape)}; give the same shape")
    return (x.detach() - x_adv.detach()).float().cpu()


def _check(name: str, x: Tensor) -> None:
    if x.ndim not in (4, 5) or not x.is_floating_point() or not x.numel():
        raise ValueError(
            f"{name} is {x.dtype} of shape {tuple(x.shape)}; give floating (B, C, H, W) or "
            "(B, C, T, H, W), none of them 0"
        )
    low, high = x.min().item(), x.max().item()
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise ValueError(f"{name} reaches from {low:.4g} to {high:.4g}; samples are in [0, 1]")


def check_step(step: float) -> None:
    """Refuse a step that no file can name.

    Raises:
        ValueError: with what is allowed.
    """
    if not 1e-6 <= step <= 1e6:
        raise ValueError(f"step is {step}; give a number from 1e-6 to 1e6")


_BLANK = Tables(np.zeros((0, 0, 0), np.int32), np.zeros((0, 0), np.int32), np.zeros(0, np.int32))
