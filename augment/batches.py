"""Batches of a dataset in an order that depends on a seed alone."""

from collections.abc import Iterator

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
) -> Iterator[Batch]:
    """Iterate over the batches of a dataset once.

    Args:
        dataset: The samples.
        batch_size: Samples in a batch; the last batch may be smaller.
        seed: None reads in order; a number reads in the permutation of that seed.
        device: Where x and y are put.
        drop_last: Whether to leave out a last batch that is not full.

    Returns:
        An iterator of x `(B, C, H, W)` or `(B, C, T, H, W)` float32 in [0, 1], y `(B,)` int64,
        and the `(B,)` int64 numbers of the samples in the dataset, which stay on the CPU.

    Raises:
        ValueError: `batch_size` below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be at least 1; give a larger number")
    order = torch.arange(len(dataset))
    if seed is not None:
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    smallest = batch_size if drop_last else 1
    return (
        # Bytes travel to the device as they are kept: uint8 is a quarter of float32.
        (as_float(dataset.raw(index).to(device)), dataset.labels[index].to(device), index)
        for index in torch.split(order, batch_size)
        if len(index) >= smallest
    )
