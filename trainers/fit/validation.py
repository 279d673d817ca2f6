"""Validation under attack after each epoch: which weights to keep, and when to stop."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.attack import Attack
from attacks.universal.fitting import take_prefix
from augment import Dataset
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.state import Record

LEAST, SHARE = 64, 50  # an epoch is followed by a look at 64 samples, or a fiftieth of its own
SIGNIFICANT = 3.0  # standard errors of a fall
MASKED = 0.3  # by how much more is right as fitted than under PGD, at least


@dataclass(frozen=True)
class Validation:
    """Samples that are not fitted, and the attack that they are watched under.

    Attributes:
        x: (N, C, ...) in [0, 1].
        y: labels, (N,).
        attack: the attack, such as PGD with early stopping.
        seed: of its noise, the same after each epoch.
    """

    x: Tensor
    y: Tensor
    attack: Attack
    seed: int = 0

    def survivors(self, model: nn.Module) -> Tensor:
        """Return which samples are right under the attack, (N,) bool on the CPU."""
        return ~self.attack(model, self.x, self.y, seed=self.seed).success.cpu()


def samples_to_watch(
    ds: Dataset, *, fitted: int, device: str | torch.device
) -> tuple[Tensor, Tensor]:
    """Return samples (N, C, ...) and labels (N,) of which a look costs little beside an epoch.

    Args:
        ds: validation samples.
        fitted: samples of an epoch.
        device: where to put them.
    """
    x, y = ds.stack(evenly_spaced(len(ds), max(LEAST, fitted // SHARE)))
    return x.to(device), y.to(device)


class BestEpoch:
    """The weights to keep: the latest that are not significantly less robust than the best.

    Robust accuracy on a few samples is noisy, and a schedule that ends at a rate of 0 makes its
    best weights last; so an earlier epoch is preferred only where the same samples tell them
    apart by more than a standard error.

    Attributes:
        record: (N,) bool, the survivors of the best epoch.
        last: (N,) bool, those of the last one.
        epoch: the one whose weights are kept, 0-based.
        weights: the weights, by name.

    Source: Rice et al. 2020 (robust overfitting): the checkpoint that validates best.
    """

    def __init__(self, validation: Validation) -> None:
        """Begin before the first epoch."""
        self.validation = validation
        self.record = self.last = torch.zeros(len(validation.y), dtype=torch.bool)
        self.epoch = -1
        self.weights: dict[str, Tensor] = {}

    def see(self, epoch: int, model: nn.Module) -> float:
        """Take in the model after an epoch; return its robust accuracy."""
        self.last = self.validation.survivors(model)
        if fall(self.record, self.last) <= 1:
            self.epoch = epoch
            self.weights = {name: t.detach().clone() for name, t in model.state_dict().items()}
        if self.last.sum() >= self.record.sum():
            self.record = self.last
        return float(self.last.double().mean())

    def state(self) -> dict[str, Tensor]:
        """Return what is kept, as tensors by name."""
        kept = {"record": self.record, "last": self.last, "epoch": torch.tensor(self.epoch)}
        return kept | {f"weights.{name}": t for name, t in self.weights.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        self.record, self.last, self.epoch = state["record"], state["last"], int(state["epoch"])
        self.weights = take_prefix("weights.", state)

    def overfitted(self, history: Sequence[Record]) -> str | None:
        """Tell of catastrophic overfitting in the last epoch, in a sentence, or None.

        Fewer than half of the best epoch's samples survive, beyond chance, while those as fitted
        are as right as before: the method's steps no longer find what a stronger attack does.

        Args:
            history: a record of each epoch so far.

        Source: Wong et al. 2020, section 5 and figure 3.
        """
        was, now = int(self.record.sum()), int(self.last.sum())
        *before, right = (record["accuracy"] for record in history[-3:])
        if 2 * now >= was or fall(self.record, self.last) < SIGNIFICANT or right < min(before):
            return None
        return (
            f"catastrophic overfitting in epoch {len(history)}: {now} of {len(self.last)} "
            f"validation samples are right under PGD, {was} were before, while {right:.0%} of "
            "the training samples are right as fitted; the fit ended there, with weights of "
            "before. Take the method pgd-at, or a smaller train_step_size"
        )

    def masked(self, history: Sequence[Record]) -> str | None:
        """Tell of a fit that never withstood what its own attack does not find, or None.

        Args:
            history: a record of each epoch of a method that perturbs.
        """
        right, now = history[-1]["accuracy"], float(self.record.double().mean())
        if now > right / 2 or right - now < MASKED:
            return None
        return (
            f"{right:.0%} of the training samples are right as fitted, and under PGD never more "
            f"than {now:.0%} of {len(self.record)} validation samples: the method's own attack "
            "fails where PGD does not. Take the method pgd-at, a smaller train_eps, or the usual "
            "train_step_size"
        )


def fall(before: Tensor, after: Tensor) -> float:
    """Return by how many standard errors fewer samples survive; negative where more do.

    Only samples that differ tell of a difference, and each is as likely to differ in either
    direction where there is none.

    Args:
        before: which samples survived, (N,) bool.
        after: the same samples later.

    Source: McNemar 1947.

    >>> a, b = torch.tensor([True] * 9 + [False]), torch.tensor([False] * 9 + [True])
    >>> round(fall(a, b), 2), fall(a, a)
    (2.53, 0.0)
    """
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    return (lost - won) / math.sqrt(max(1, lost + won))
