"""Samples that come as files: decoded into memory where they fit, else when they are read."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from attacks.errors import RefusedInput
from augment.datasets.broken import BROKEN, describe_error, try_each

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


def read_files(source: FileSource) -> tuple[Tensor | FileSource, dict[str, Exception]]:
    """Decode all files into memory when that takes at most 2 GiB, else leave them on disk.

    Returns:
        Pixels `(N, C, H, W)` uint8 or the source, and the error of each file that was tried and
        is broken.
    """
    if math.prod(source.shape) > MOST_MEMORY:
        return source, {}
    pixels = torch.zeros(source.shape, dtype=torch.uint8)  # (N, C, H, W)
    by_file = pixels.view(len(source.paths), source.clips, *source.shape[1:])
    place = {path: i for i, path in enumerate(source.paths)}

    def fill(path: str) -> None:
        by_file[place[path]] = source.decode(path, range(source.clips))

    return pixels, try_each(fill, source.paths, threads=source.threads)[1]
