"""The fit of an attack to samples: epochs, checkpoints between them, and the fitted attack."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from torch import nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.options import Options
from attacks.universal.sample_loader import Loader, SampleLoader
from attacks.universal.saved_attack import Record, SavedAttack, Tensors

F = TypeVar("F", bound=SavedAttack, covariant=True)


@dataclass(frozen=True)
class FitCheckpoint:
    """The state of a fit after an epoch.

    Attributes:
        tensors: by name, on the CPU; ready for safetensors.
        history: one record for each epoch; ready for JSON.
    """

    tensors: Tensors
    history: list[Record]


OnEpoch = Callable[[FitCheckpoint], object]


@runtime_checkable
class Fittable(Protocol):
    """A frozen dataclass of options whose `fit` returns an attack."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def passes(self) -> int:
        """The largest number of epochs."""
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
    ) -> SavedAttack:
        """Fit an attack on `model` to the samples of `loader`; see `FitByEpochs.fit`."""
        ...


class EpochFit(ABC, Generic[F]):
    """A fit in progress, which begins before the first epoch."""

    @abstractmethod
    def run_epoch(self, epoch: int) -> Record:
        """Fit to every sample once; epoch 0, 1, ... keys the random numbers."""

    def should_stop(self, record: Record) -> bool:
        """Tell from the last epoch's record whether to skip the remaining epochs."""
        return False

    @abstractmethod
    def state_dict(self) -> Tensors:
        """Return all tensors that the next epoch depends on, by name."""

    @abstractmethod
    def load_state_dict(self, tensors: Tensors) -> None:
        """Continue from the tensors of an earlier `state_dict`."""

    @abstractmethod
    def result(self, history: tuple[Record, ...]) -> F:
        """Return the fitted attack, with one record for each epoch."""


class FitByEpochs(Options, ABC, Generic[F]):
    """Options of an attack that is fitted in epochs; a subclass starts the fit."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """The largest number of epochs."""

    @abstractmethod
    def start_fit(self, model: nn.Module, samples: SampleLoader, *, seed: int) -> EpochFit[F]:
        """Return the fit before its first epoch; `model` is frozen."""

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        checkpoint: FitCheckpoint | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> F:
        """Fit an attack on `model` to the samples of `loader`.

        Args:
            model: the classifier; returns logits (B, K). Left exactly as it was.
            loader: batches (x, ...) or (x, y, ...), any number of times, such as a list or a
                DataLoader; x is (B, C, H, W) or (B, C, T, H, W) in [0, 1]. A fit to videos skips
                samples that the model misclassifies, where y is given.
            seed: of all random numbers.
            progress: called with (epochs done, epochs in all).
            checkpoint: an earlier argument of `on_epoch`; the fit continues after its last epoch
                and ends with the same attack.
            on_epoch: called after each epoch with a copy of the fit's state.

        Returns:
            The fitted attack. Its `history` holds one record for each epoch.

        Raises:
            ValueError: for samples or an option that the fit cannot work with.
        """
        with frozen(model):
            fit = self.start_fit(model, SampleLoader.of(loader, model), seed=seed)
            history: list[Record] = []
            if checkpoint is not None:
                fit.load_state_dict(checkpoint.tensors)
                history += checkpoint.history
            while len(history) < self.passes and not (history and fit.should_stop(history[-1])):
                history.append(fit.run_epoch(len(history)))
                if on_epoch:
                    state = {name: t.detach().cpu().clone() for name, t in fit.state_dict().items()}
                    on_epoch(FitCheckpoint(state, [dict(record) for record in history]))
                if progress:
                    progress(len(history), self.passes)
        return fit.result(tuple(history))


def add_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """Return tensors with a prefix in front of each name."""
    return {f"{prefix}{name}": t for name, t in tensors.items()}


def take_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors whose name begins with a prefix, named without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
