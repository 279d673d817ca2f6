"""Batches of a dataset in an order that depends on a seed alone."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import torch
from torch import Tensor

from augment.dataset import Dataset, as_float

Batch = tuple[Tensor, Tensor, Tensor]


def iterate(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int | None = None,
    device: torch.device | str = "cpu",
    drop_last: bool = False,
    workers: int = 0,
) -> Iterator[Batch]:
    """Iterate over the batches of a dataset once.

    Args:
        dataset: What to read.
        batch_size: Samples in a batch; the last batch may be smaller.
        seed: None reads in order; a number reads in the permutation of that seed.
        device: Where x and y are put.
        drop_last: Whether to leave out a last batch that is not full.
        workers: Threads that read ahead; worth it only for files read on demand.

    Returns:
        An iterator of x `(B, C, H, W)` or `(B, C, T, H, W)` float32 in [0, 1], y `(B,)` int64,
        and the `(B,)` int64 numbers of the samples in the dataset, which stay on the CPU.

    Raises:
        ValueError: `batch_size` below 1 or `workers` below 0.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(
            f"batch_size={batch_size}, workers={workers}: batch_size must be at least 1, "
            "workers at least 0; give larger numbers"
        )
    batches = torch.split(_order(len(dataset), seed), batch_size)
    if drop_last:
        batches = tuple(batch for batch in batches if len(batch) == batch_size)
    return _read(dataset, iter(batches), torch.device(device), workers)


def _order(count: int, seed: int | None) -> Tensor:
    if seed is None:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _read(
    dataset: Dataset, batches: Iterator[Tensor], device: torch.device, workers: int
) -> Iterator[Batch]:
    def fetch(index: Tensor) -> tuple[Tensor, Tensor]:
        return dataset.raw(index), index

    # Bytes travel to the device as they are kept: uint8 is a quarter of float32.
    for pixels, index in _ahead(fetch, batches, workers) if workers else map(fetch, batches):
        if len(index):
            yield as_float(pixels.to(device)), dataset.labels[index].to(device), index


def _ahead(
    fetch: Callable[[Tensor], tuple[Tensor, Tensor]], batches: Iterator[Tensor], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Map in order on threads, at most two batches a thread ahead of the reader."""
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque(
            pool.submit(fetch, batch) for batch in islice(batches, 2 * workers)
        )
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(fetch, batch) for batch in islice(batches, 1))
    finally:
        pool.shutdown(cancel_futures=True)
