"""Attacks that lead samples to others, their guides."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from attacks.attack import AttackResult, Progress
from attacks.common.batch_attack import BatchAttack, Call, GradientAttack, check_samples
from attacks.common.goal import Goal, LossName, detached_logits


class GuidedAttack(GradientAttack, ABC):
    """An attack that is called with a guide for each sample; `call.guide` holds them."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None,
        *,
        guide: Tensor | None = None,
        target: Tensor | int | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Lead x to the guides; see `BatchAttack.__call__` for the other arguments.

        Args:
            model: the classifier.
            x: the sources, images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1].
            y: labels; None takes the model's predictions.
            guide: a sample for each source, like x.
            target: classes that count as success; None for any class but y.
            seed: with a sample's id, fixes that sample's random numbers.
            sample_ids: B integers; None hashes each sample's content.
            progress: called with (steps done, steps in all).

        Raises:
            ValueError: for no guides, guides unlike x, or what no attack can work with.
        """
        check_samples(x)
        bound = _Guided(self, _checked(guide, x))
        return bound(
            model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress
        )


@dataclass(frozen=True)
class _Guided(BatchAttack):
    """An attack with the guides of one call."""

    attack: GuidedAttack
    guide: Tensor

    def check_target(self, target: Tensor | int | None) -> None:
        """Raise ValueError for a target, or for none, where the attack has no such mode."""
        self.attack.check_target(target)

    def perturb(self, call: Call) -> AttackResult:
        """Attack the samples of a call with their guides."""
        return self.attack.run(replace(call, guide=self.guide))


def _checked(guide: Tensor | None, x: Tensor) -> Tensor:
    """Return a copy of the guides, which are to be like x (B, ...)."""
    if guide is None:
        raise ValueError(
            "guide is None; give a sample for each of x whose representation or class it is to be "
            "led to: attack(model, x, y, guide=g), g shaped like x"
        )
    if not isinstance(guide, Tensor) or guide.shape != x.shape or guide.device != x.device:
        seen = type(guide).__name__
        if isinstance(guide, Tensor):
            seen = f"{tuple(guide.shape)} on {guide.device}"
        raise ValueError(f"guide is {seen} and x {tuple(x.shape)} on {x.device}; give one like x")
    check_samples(guide)
    return guide.detach().to(x.dtype, copy=True).clamp_(0, 1)


def goal_of_guide(call: Call, loss: LossName = "ce") -> Goal:
    """Return the goal to reach the target, or without one the model's prediction of the guide.

    Without a target given any class but y counts as success, as of every attack.
    """
    if call.target is not None:
        return Goal(call.y, call.target, loss)
    assert call.guide is not None  # checked in the call
    predicted = detached_logits(call.exact, call.guide).argmax(1)
    return Goal(call.y, predicted, loss, any_class=True)
