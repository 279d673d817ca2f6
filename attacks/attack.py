"""The interface of every attack, and what each returns."""

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

Norm = Literal["linf", "l2", "l1"]


def lengths(delta: Tensor, norm: Norm) -> Tensor:
    """Return the norm of each sample of delta (B, ...) as (B,)."""
    flat = delta.flatten(1)  # (B, D)
    if norm == "l2":
        size: Tensor = torch.linalg.vector_norm(flat, dim=1)
        return size
    # vector_norm took ten times as long for linf, and five for l1
    if norm == "linf":
        return torch.maximum(flat.amax(1), -flat.amin(1))
    return flat.abs().sum(1)


@dataclass(frozen=True, repr=False)
class AttackResult:
    """The perturbed samples of one batch and what it took to find them.

    Attributes:
        x: the clean samples, (B, ...) in [0, 1].
        x_adv: the perturbed samples, like x.
        success: (B,) bool, whether the goal is met in float32: the label changed, or the target
            reached. A non-finite logit counts as not met.
        already: (B,) bool, whether the goal was met before the attack, on x in float32. Such
            samples could not be attacked: of success they say nothing.
        queries: (B,) int64, forward passes spent on each sample until it left the batch. What is
            not part of the attack is not counted: the check for a random model, and the pass of x
            for `already` where the attack itself begins elsewhere.
        loss: (B,) the attack's final loss; NaN where the logits never allowed one.
        history: (steps, B) the loss before each step, NaN where a sample had left; or None.
        info: what one attack alone reports; "warnings" lists what went wrong.
    """

    x: Tensor
    x_adv: Tensor
    success: Tensor
    already: Tensor
    queries: Tensor
    loss: Tensor
    history: Tensor | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return one line: how many samples of which shape, and how many were fooled."""
        could, won = int((~self.already).sum()), int((self.success & ~self.already).sum())
        size = f"{len(self.x)} samples of {tuple(self.x.shape[1:])}"
        return (
            f"{type(self).__name__}({size}: success on {won} of the {could} that could be "
            f"attacked, {len(self.x) - could} met the goal already)"
        )

    @property
    def delta(self) -> Tensor:
        """The perturbation x_adv - x, like x."""
        return self.x_adv - self.x

    @property
    def linf(self) -> Tensor:
        """Largest absolute change of each sample, (B,)."""
        return lengths(self.delta, "linf")

    @property
    def l2(self) -> Tensor:
        """Euclidean length of each sample's change, (B,)."""
        return lengths(self.delta, "l2")

    @property
    def l1(self) -> Tensor:
        """Sum of absolute changes of each sample, (B,)."""
        return lengths(self.delta, "l1")

    @property
    def l0(self) -> Tensor:
        """How many values of each sample changed, int64 (B,)."""
        return (self.delta != 0).flatten(1).sum(1)


Progress = Callable[[int, int], None]  # called with (steps done, steps in all)


class Attack(Protocol):
    """A frozen dataclass of options that turns samples into perturbed ones."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None,
        *,
        target: Tensor | int | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Perturb x so that `model` no longer answers y, or answers target.

        Args:
            model: the classifier; returns logits (B, K). Left exactly as it was.
            x: images (B, C, H, W) or videos (B, C, T, H, W), float32 in [0, 1].
            y: labels, int64 (B,); None takes the model's own answers.
            target: wanted classes, int64 (B,), or one for all samples; None for an untargeted
                attack.
            seed: with a sample's id, fixes that sample's random numbers.
            sample_ids: B integers; by default derived from each sample's content.
            progress: called with (steps done, steps in all).

        Raises:
            ValueError: for a batch or an option the attack cannot work with.
        """
        ...
