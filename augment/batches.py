"""Batches of a dataset in an order that depends on a seed alone, or of any other loader."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.batch_attack import check_samples
from attacks.common.randomness import derive_seed
from augment.dataset import Dataset, as_float

Batch = tuple[Tensor, Tensor, Tensor]
Samples = Dataset | Iterable[Sequence[Tensor]]  # ours, or batches (x, y), such as a DataLoader


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


@dataclass(frozen=True)
class LabelledBatch:
    """Samples with their labels.

    Attributes:
        x: `(B, C, H, W)` or `(B, C, T, H, W)` float32 in [0, 1].
        y: `(B,)` int64; -1 where unlabelled.
        index: `(B,)` int64, the places of the samples among all of them, on the CPU.
        ids: A number for each sample that keys its random numbers; None derives it from the
            sample's content.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    ids: list[int] | None


def labelled_batches(
    samples: Samples, *, batch_size: int, device: torch.device | str
) -> Iterator[LabelledBatch]:
    """Iterate once over the samples of a dataset, or of any iterable of batches `(x, y)`.

    Args:
        samples: A `Dataset`, or batches of x `(B, C, H, W)` or `(B, C, T, H, W)` in [0, 1] and y
            `(B,)`, integers; a DataLoader is one.
        batch_size: Samples in a batch of a `Dataset`; other batches stay as they come.
        device: Where x and y are put.

    Raises:
        ValueError: A batch is no pair of samples in [0, 1] and integer labels.
    """
    if isinstance(samples, Dataset):
        for x, y, index in iterate(samples, batch_size=batch_size, device=device):
            ids = [derive_seed(samples.ids[i]) for i in index.tolist()]
            yield LabelledBatch(x, y, index, ids)
        return
    done = 0
    for number, batch in enumerate(samples):
        x, y = _checked_pair(batch, number)
        yield LabelledBatch(x.to(device), y.to(device), torch.arange(done, done + len(x)), None)
        done += len(x)


def _checked_pair(batch: Sequence[Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Return the samples (B, ...) and the labels, int64 (B,), of a batch of a loader."""
    advice = "give batches (x, y), such as a DataLoader, or a Dataset of augment"
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise ValueError(f"batch {number} is a {type(batch).__name__} and no pair; {advice}")
    x, y = batch[0], batch[1]
    try:
        check_samples(x)
    except ValueError as error:
        raise ValueError(f"batch {number}: {error} ({advice})") from error
    whole = isinstance(y, Tensor) and not (y.is_floating_point() or y.dtype == torch.bool)
    if not whole or y.shape != x.shape[:1]:
        seen = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(
            f"batch {number}: the labels are {seen}; give int64 class ids, one for each of its "
            f"{len(x)} samples"
        )
    return x, y.to(torch.int64)
