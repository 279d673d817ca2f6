"""What attacks that are fitted to samples before they attack others have in common."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import Field, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from attacks.attack import Attack, Progress
from attacks.common.inputs import check_samples

Loader = Iterable[Sequence[Tensor]]  # of batches whose first tensor is x (B, ...) in [0, 1]
Record = dict[str, float]


@dataclass(frozen=True)
class FitCheckpoint:
    """All that a fit needs to go on after a pass over the samples.

    Attributes:
        tensors: by name, on the CPU; ready for safetensors.
        history: one record a pass; ready for JSON.
    """

    tensors: dict[str, Tensor]
    history: list[Record]


OnEpoch = Callable[[FitCheckpoint], object]


class Fitted(Attack, Protocol):
    """An attack that was fitted, with a record of each pass."""

    @property
    def history(self) -> Sequence[Record]:
        """One record a pass over the samples."""
        ...

    def save(self, path: str | Path) -> None:
        """Write it to a safetensors file, which `load_fitted` reads."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """A frozen dataclass of options that an attack is fitted with."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def passes(self) -> int:
        """Passes over the samples, at most."""
        ...

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        checkpoint: FitCheckpoint | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Fitted:
        """Fit an attack on `model` to the samples of `loader`.

        Fits to videos leave out those that the model has wrong, where the loader has labels.

        Args:
            model: the classifier; returns logits (B, K). Left exactly as it was.
            loader: batches (x, ...) or (x, y, ...) that can be gone through again and again, such
                as a list or a DataLoader; x (B, C, H, W) or (B, C, T, H, W) in [0, 1].
            seed: of everything random.
            progress: called with (passes done, passes in all).
            checkpoint: what `on_epoch` received; the fit goes on from there, to the same end.
            on_epoch: called after every pass with a copy of the state.

        Raises:
            ValueError: for samples or an option the fit cannot work with.
        """
        ...


class EpochFit(Protocol):
    """A fit on its way through the passes."""

    def run_epoch(self, number: int) -> Record:
        """Go through the samples once; what is random follows from the number of the pass."""
        ...

    def should_stop(self, record: Record) -> bool:
        """Tell from the last record whether to stop before all passes are done."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that the next pass depends on."""
        ...

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from such tensors."""
        ...


def run_epochs(
    fit: EpochFit,
    *,
    passes: int,
    progress: Progress | None,
    checkpoint: FitCheckpoint | None,
    on_epoch: OnEpoch | None,
) -> list[Record]:
    """Play all passes, or those after `state`; return the record of each."""
    history = [] if checkpoint is None else list(checkpoint.history)
    if checkpoint is not None:
        fit.load_state_dict(checkpoint.tensors)
    while len(history) < passes and not (history and fit.should_stop(history[-1])):
        history.append(fit.run_epoch(len(history)))
        if on_epoch:
            tensors = {name: t.detach().cpu().clone() for name, t in fit.state_dict().items()}
            on_epoch(FitCheckpoint(tensors, [dict(record) for record in history]))
        if progress:
            progress(len(history), passes)
    return history


@dataclass(frozen=True)
class SampleLoader:
    """The samples of a loader, checked and on the device of a model, again and again."""

    loader: Loader
    device: torch.device | None

    @classmethod
    def of(cls, loader: Loader, model: nn.Module) -> "SampleLoader":
        """Check that a loader can be gone through again.

        Raises:
            ValueError: for an iterator, which is empty after the first pass.
        """
        if iter(loader) is loader:
            raise ValueError(
                "loader is an iterator, which ends with the first pass; give a list of batches or "
                "a DataLoader"
            )
        held = next(chain(model.parameters(), model.buffers()), None)
        return cls(loader, None if held is None else held.device)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield batches x (B, ...); see `labelled`."""
        return (x for x, _ in self.labelled())

    def labelled(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches x (B, ...) and their labels, int64 (B,), -1 where the loader has none.

        Raises:
            ValueError: when there are none, or one that no attack can work with.
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
        """Return the first batch, for its shape, type and device."""
        return next(iter(self))


def _labels(batch: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the second of a batch's tensors where it is labels (B,), else -1 for each sample."""
    y = batch[1] if len(batch) > 1 else None
    if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != x.shape[:1]:
        return torch.full((len(x),), -1, device=x.device)
    return y.to(x.device)


def check_aim(target: Tensor | None, fitted: int | None) -> None:
    """Raise ValueError unless a fitted attack can reach the targets (B,) of a call.

    Args:
        target: what the call asks for; None for any class but the label.
        fitted: the class that the attack was fitted to reach; None for none.
    """
    if target is not None and (fitted is None or bool((target != fitted).any())):
        made = "no target" if fitted is None else f"target={fitted}"
        raise ValueError(
            f"target is {sorted(set(target.tolist()))}, and the attack was fitted with {made}; "
            "fit one for that class"
        )


def check_target(target: int | None) -> None:
    """Raise ValueError for a target of a fit that can be no class."""
    if target is not None and target < 0:
        raise ValueError(f"target is {target}; class ids start at 0")
