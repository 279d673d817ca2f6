"""Samples that come as files: decoded into memory where they fit, else when they are read."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.broken import BROKEN, describe_error, try_each
from augment.datasets.clips import clip_ids
from augment.datasets.labelled import LabelledFiles, log_left_out

MOST_MEMORY = 2 * 2**30


class FileSource:
    """Samples of one form, decoded from files when they are read; row i is of file i // clips."""

    def __init__(
        self,
        paths: Sequence[str],
        decode: Callable[[str, Sequence[int]], Tensor],
        shape: Sequence[int],
        *,
        clips: int = 1,
        threads: int = 1,
    ) -> None:
        """Remember the files.

        Args:
            paths: The files, each once.
            decode: Decodes samples of a file, by their numbers, to `(n, C, H, W)` or
                `(n, C, T, H, W)` uint8; raises any of `BROKEN`.
            shape: Shape of one sample.
            clips: Samples of each file.
            threads: Files that are decoded at once.
        """
        self.paths, self.decode, self.clips, self.threads = list(paths), decode, clips, threads
        self.shape = (len(paths) * clips, *shape)

    def sizes(self) -> list[int]:
        """List the bytes of each sample's file, by which `Dataset.digest` tells them apart."""
        return [os.path.getsize(path) for path in self.paths for _ in range(self.clips)]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Decode samples `(B, C, H, W)` or `(B, C, T, H, W)` uint8.

        Raises:
            RefusedInput: A file turns out to be broken.
        """
        pixels = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)  # (B, C, H, W)

        def fill(place: int) -> None:
            file, clip = divmod(int(rows[place]), self.clips)
            path = self.paths[file]
            try:
                pixels[place] = self.decode(path, [clip])[0]
            except BROKEN as error:
                raise RefusedInput(
                    f"{path}: {describe_error(error)}; remove or repair this file and run again"
                ) from error

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(fill, range(len(rows))))
        return pixels

    @property
    def fits(self) -> bool:
        """Whether all samples take at most 2 GiB."""
        return math.prod(self.shape) <= MOST_MEMORY

    def load(self) -> tuple[Tensor, dict[str, Exception]]:
        """Decode all samples `(N, C, H, W)` or `(N, C, T, H, W)` uint8.

        Returns:
            The samples, and the errors of broken files by path.
        """
        pixels = torch.zeros(self.shape, dtype=torch.uint8)  # (N, C, H, W)
        by_file = pixels.view(len(self.paths), self.clips, *self.shape[1:])
        place = {path: i for i, path in enumerate(self.paths)}

        def fill(path: str) -> None:
            by_file[place[path]] = self.decode(path, range(self.clips))

        return pixels, try_each(fill, self.paths, threads=self.threads)[1]


def read_labelled(
    files: LabelledFiles, source: FileSource, broken: Mapping[str, Exception], *, name: str
) -> Dataset:
    """Read the files of a split, into memory where they fit, and log those left out.

    Args:
        files: The files of the split.
        source: Their samples; those of broken files may be missing.
        broken: The errors of files that are known to be broken, by path.
        name: Name of the dataset.

    Raises:
        RefusedInput: None of the files can be read.
    """
    pixels: Tensor | FileSource = source
    if source.fits:
        pixels, failed = source.load()
        broken = {**broken, **failed}
    skipped = log_left_out(files, broken)
    clips, place = source.clips, {path: i for i, path in enumerate(source.paths)}
    kept = [i for i, path in enumerate(files.paths) if path not in broken]
    first = torch.tensor([place[files.paths[i]] * clips for i in kept])  # (n,)
    return Dataset(
        pixels,
        files.labels[kept].repeat_interleave(clips),
        [text for i in kept for text in clip_ids(files.wanted[i].name, clips)],
        name=name,
        classes=files.classes,
        skipped=skipped,
        rows=(first[:, None] + torch.arange(clips)).flatten(),  # (n * clips,)
    )
