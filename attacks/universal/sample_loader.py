"""The samples that an attack is fitted to: checked batches on the model's device."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from attacks.common.batch_attack import check_samples

Loader = Iterable[Sequence[Tensor]]  # of batches whose first tensor is x (B, ...) in [0, 1]


@dataclass(frozen=True)
class SampleLoader:
    """Iterate over the samples of a loader, any number of times.

    Attributes:
        loader: batches (x, ...) or (x, y, ...).
        device: to which batches move; None leaves them where they are.
    """

    loader: Loader
    device: torch.device | None

    @classmethod
    def of(cls, loader: Loader, model: nn.Module) -> "SampleLoader":
        """Load samples onto the device of a model's weights.

        Raises:
            ValueError: for an iterator, which is empty after the first epoch.
        """
        if iter(loader) is loader:
            raise ValueError(
                "loader is an iterator, which ends with the first pass; give a list of batches or "
                "a DataLoader"
            )
        held = next(chain(model.parameters(), model.buffers()), None)
        return cls(loader, None if held is None else held.device)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield batches x (B, ...); raise as `labelled` does."""
        return (x for x, _ in self.labelled())

    def labelled(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches x (B, ...) and labels y, int64 (B,), -1 where the loader has none.

        Raises:
            ValueError: for a loader without batches, and for a batch that no attack accepts.
        """
        empty = True
        for batch in self.loader:
            check_samples(batch[0])
            x = batch[0].to(self.device or batch[0].device)
            empty = False
            yield x.detach().clone().clamp_(0, 1), _labels(batch, x)
        if empty:
            raise ValueError("loader has no batches; give at least one sample")

    def like(self) -> Tensor:
        """Return the first batch, (B, ...)."""
        return next(iter(self))


def _labels(batch: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the second tensor of a batch if it is int64 (B,), else -1 for each sample."""
    y = batch[1] if len(batch) > 1 else None
    if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != x.shape[:1]:
        return torch.full((len(x),), -1, device=x.device)
    return y.to(x.device)
