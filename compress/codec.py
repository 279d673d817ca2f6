"""The codec: samples to bytes and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from compress import codec_file
from compress.checks import MAX_LEVELS, check_step
from compress.decoding import decode_chunks
from compress.entropy.chunk import encode_chunk
from compress.entropy.fitting import StatisticsCollector, fit_tables
from compress.entropy.symbols import LARGEST, MOST
from compress.entropy.tables import Tables
from compress.errors import FormatError
from compress.file_format import NO_MODEL, FileHeader, Kind, pad_chunk, write
from compress.names import describe_fault
from compress.network.restoration_net import RestorationNet, check_network
from compress.quantise import error_bound
from compress.quantise.quantise import Quantiser, max_magnitude, quantise, to_array
from compress.quantise.rate import find_step
from compress.quantise.signals import split_for_cache, to_opponent, to_signal
from compress.quantise.task_quantiser import TaskQuantiser, check_task
from compress.wavelet.lifting import WAVELETS
from compress.wavelet.transform import Coefficients, dwt

FITTED = (1, 2, 4, 8, 16)  # steps that tables are fitted to, in units of the codec's
_FITTED_VALUES = 2**23
_CHUNK_VALUES = 2**21
_PROBED = 256  # samples by which the step for a number of bytes is found
_SEARCHED = 32  # and that of x-task, at most
_FINER = 0.89  # x-task's step over that of x, about
_FIRST = 0.4  # step to try first


@dataclass(frozen=True)
class Codec:
    """Codes images and videos as quantised wavelet coefficients.

    Attributes:
        tables: statistics of the coefficients, which the decoder needs too.
        step: of the quantiser, in units of samples: larger is smaller and worse.
        wavelet: "haar", "cdf53" or "cdf97".
        levels: of the transform; None takes as many as halve the shorter side to one.
        time_levels: likewise in time; None takes `levels`, or fewer for a short video.
    """

    tables: Tables
    step: float = 0.05
    wavelet: str = "cdf97"
    levels: int | None = None
    time_levels: int | None = None

    def __repr__(self) -> str:
        """Return one line: the options, and how large the tables are."""
        return (
            f"{type(self).__name__}(step={self.step!r}, wavelet={self.wavelet!r}, "
            f"levels={self.levels!r}, time_levels={self.time_levels!r}, tables of "
            f"{len(self.tables.packed)} bytes)"
        )

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        if self.wavelet not in WAVELETS:
            raise ValueError(f"wavelet is {self.wavelet!r}; allowed: {', '.join(WAVELETS)}")
        if not isinstance(self.tables, Tables):
            raise ValueError(f"tables is {type(self.tables).__name__}; Codec.fit makes a codec")
        check_step(self.step)
        for name, count in (("levels", self.levels), ("time_levels", self.time_levels)):
            if count is not None and not (isinstance(count, int) and 0 <= count <= MAX_LEVELS):
                raise ValueError(f"{name} is {count}; give 0 to {MAX_LEVELS}, or None")

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
            step: of the quantiser, in units of samples: larger is smaller and worse.
            kind: "x" for samples, "delta" for x - x_adv.
            x_adv: like x, for kind "delta".
            wavelet: "haar", "cdf53" or "cdf97".
            levels: of the transform; None takes as many as halve the shorter side to one.
            time_levels: likewise in time; None takes `levels`, or fewer for a short video.

        Raises:
            ValueError: for samples that cannot be coded, or impossible options.
        """
        blank = cls(_BLANK, step, wavelet, levels, time_levels)
        signal = to_signal(x, kind, x_adv)
        signal = signal[: max(1, _FITTED_VALUES // signal[0].numel())]
        statistics = StatisticsCollector()
        for factor in FITTED:
            statistics.add(blank.quantise_signal(signal, step * factor), step * factor)
        return replace(blank, tables=fit_tables(statistics))

    def quantise_signal(
        self, signal: Tensor, step: float, quantiser: Quantiser = quantise
    ) -> Coefficients:
        """Transform a signal (B, C, ...) and quantise its coefficients with a step.

        Raises:
            ValueError: for quantised coefficients larger than a file can hold.
        """
        # Elementwise, so that the number of threads does not matter.
        transform = partial(
            dwt, wavelet=self.wavelet, levels=self.levels, time_levels=self.time_levels, lifted=True
        )
        parts = [quantiser(transform(to_opponent(part)), step) for part in split_for_cache(signal)]
        q = parts[0].with_values(torch.cat([part.values for part in parts]))
        if not (most := max_magnitude(q)) < MOST:
            raise ValueError(
                f"step is {step:g}; coefficients of these samples are up to {most:.3g} of it, at "
                f"most {MOST} is coded: give a larger step"
            )
        return q

    def encode(
        self,
        x: Tensor,
        *,
        kind: Kind = "x",
        x_adv: Tensor | None = None,
        model: nn.Module | None = None,
        task: TaskQuantiser | None = None,
        quantiser: Quantiser = quantise,
        step: float | None = None,
        bytes_per_sample: float | None = None,
        embed_tables: bool = False,
        network: RestorationNet | None = None,
        names: Sequence[str] = (),
    ) -> bytes:
        """Encode samples.

        No decoded value is farther from its sample than `largest_error` says, unless another
        quantiser is given.

        Args:
            x: (B, C, H, W) or (B, C, T, H, W) in [0, 1].
            kind: "x" for the samples themselves, "x-task" for a classifier of the samples,
                "delta" for x - x_adv.
            x_adv: like x, for kind "delta".
            model: maps x to logits, for kind "x-task".
            task: its options; None takes the defaults.
            quantiser: of the other kinds: maps coefficients and a step to whole numbers.
            step: of the quantiser; None takes the codec's.
            bytes_per_sample: find the step with which the chunks take so many bytes a sample.
            embed_tables: put the tables into the file, which then decodes alone.
            network: to name in the file, which no other network may then restore.
            names: of the samples, which the file then holds: paths below a folder.

        Returns:
            The bytes of a file; `decode` approximates the samples, or the difference.

        Raises:
            ValueError: for samples that cannot be coded, or options that contradict each other.
        """
        signal = to_signal(x, kind, x_adv)
        check_task(kind, model, task)
        if network is not None:
            check_network(network, kind)
        if step is not None and bytes_per_sample is not None:
            raise ValueError(f"step={step}, bytes_per_sample={bytes_per_sample}; give one of them")
        if names and (text := describe_fault(names, len(x))):
            raise ValueError(f"{text}; give each sample a path of its own, such as cats/1.png")
        chosen = None if model is None else partial((task or TaskQuantiser()).quantise, model=model)
        if bytes_per_sample is not None:
            step = self._find_step(signal, bytes_per_sample, quantiser, chosen)
        step = check_step(self.step if step is None else step)
        step = float(np.float32(step))  # as the file says it
        q = self.quantise_signal(signal, step, chosen or quantiser)
        values, samples = q.values[0].numel(), len(q.values)
        head = FileHeader(
            kind, q.wavelet, q.levels, q.time_levels, step, samples, tuple(q.values.shape[1:]),
            min(samples, max(1, _CHUNK_VALUES // values)), self.tables.digest,
            tables=self.tables.packed if embed_tables else b"",
            model=network.digest if network else NO_MODEL,
            wide=max_magnitude(q) > LARGEST,
            names=tuple(names),
        )  # fmt: skip
        chunks = []
        for part in torch.split(q.values, head.per_chunk):
            array = to_array(q.with_values(part))
            chunk = encode_chunk(array, q.bands, self.tables, step=step, wide=head.wide)
            chunks.append(pad_chunk(chunk, array.size))
        return write(head, chunks)

    def largest_error(
        self,
        shape: Sequence[int],
        *,
        step: float | None = None,
        kind: Kind = "x",
        task: TaskQuantiser | None = None,
    ) -> float:
        """Bound the absolute error of a decoded value, without a restoration network.

        Proportional to the step, but for float32 rounding (2e-5 at most): of images with three
        colours 5.1 steps for haar, 14.2 for cdf53, 13.6 for cdf97, whatever their size. Errors
        are mostly a tenth of it.

        Args:
            shape: of a sample, (C, H, W) or (C, T, H, W).
            step: as for `encode`.
            kind: likewise; of "delta" the error is that of x - x_adv.
            task: likewise.
        """
        return error_bound.largest_error(
            shape,
            check_step(self.step if step is None else step),
            wavelet=self.wavelet,
            levels=self.levels,
            time_levels=self.time_levels,
            kind=kind,
            task=task,
        )

    def _find_step(
        self, signal: Tensor, bytes_per_sample: float, quantiser: Quantiser, task: Quantiser | None
    ) -> float:
        """Find the step at which a subset of samples takes a number of bytes each, without header.

        Raises:
            ValueError: for a number of bytes that no step gives.
        """
        size = partial(self._size, signal)
        probe = partial(size, _PROBED, quantiser)
        step = find_step(probe, bytes_per_sample, start=_FIRST, close=0.002)
        if task is None:
            return step
        # A task quantiser is slow: a few samples, for the bytes that they take without the task.
        count = min(_SEARCHED, max(8, len(signal) // 4))
        wanted = size(count, quantiser, step)
        return find_step(partial(size, count, task), wanted, start=_FINER * step, close=0.02)

    def _size(self, signal: Tensor, count: int, quantiser: Quantiser, step: float) -> float:
        """Measure the bytes a sample of at most `count` samples, without header."""
        some = signal[torch.linspace(0, len(signal) - 1, min(len(signal), count)).long()]
        q = self.quantise_signal(some, step, quantiser)
        wide = max_magnitude(q) > LARGEST
        return len(encode_chunk(to_array(q), q.bands, self.tables, step=step, wide=wide)) / len(
            some
        )

    def decode(self, data: bytes, *, network: RestorationNet | None = None) -> Tensor:
        """Decode the samples, or the differences, of a file.

        Args:
            data: the file.
            network: restores the samples, those of differences too.

        Raises:
            FormatError: for bytes that are no code file, other tables, or another network.
        """
        return torch.cat(list(decode_chunks(data, self.tables, network)))

    def save(self, path: str | Path) -> None:
        """Write the codec to a file, which appears whole or not at all."""
        parts = self.tables, self.step, self.wavelet, self.levels, self.time_levels
        codec_file.write(Path(path), parts)

    @classmethod
    def load(cls, path: str | Path) -> "Codec":
        """Read a codec's file.

        Raises:
            FormatError: for a file that holds no codec.
        """
        parts = codec_file.read(Path(path))
        try:
            return cls(*parts)
        except ValueError as error:
            raise FormatError(f"{path}: {error}") from error


_BLANK = Tables(np.zeros((0, 0, 0), np.int32), np.zeros((0, 0), np.int32), np.zeros(0, np.int32))
