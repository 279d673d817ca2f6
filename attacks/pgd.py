"""Projected gradient descent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.best import Best
from attacks.goal import Goal, logit_warnings, logits_of, value_and_gradient
from attacks.guard import frozen
from attacks.inputs import check_batch, own_copies
from attacks.losses import LossName, check_loss
from attacks.randomness import sample_generators
from attacks.result import AttackResult
from attacks.threat import Norm, Threat, check_norm


@dataclass(frozen=True)
class PGD:
    """Steps along the gradient, each projected to the eps ball and [0, 1]; the best is kept.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, a number or one a sample (B,).
        steps: gradient steps of each restart.
        step_size: in pixel units; None takes 2.5 * eps / steps, enough to cross the ball.
        restarts: independent starts; the worst case of each sample is kept.
        random_start: begin uniformly in the ball instead of at x.
        loss: "ce", "margin" or "dlr".

    Source: Madry et al. 2018, eq. (2) and section 5.1.
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    steps: int = 10
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_norm(self.norm)
        check_loss(self.loss)
        if self.steps < 1 or self.restarts < 1:
            raise ValueError(f"steps={self.steps}, restarts={self.restarts}; both must be >= 1")
        if self.step_size is not None and self.step_size <= 0:
            raise ValueError(f"step_size is {self.step_size}; give a number > 0, or None")

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Perturb x within the ball; see `Attack.__call__`."""
        check_batch(x, y, target=target)
        generators = sample_generators(x, seed=seed, sample_ids=sample_ids)
        history: list[Tensor] = []
        with frozen(model):
            x, y, target = own_copies(x, y, target)
            goal = Goal(y, target, self.loss)
            threat = Threat.around(x, norm=self.norm, eps=self.eps)
            best = Best.start(x)

            def record(value: Tensor) -> None:
                history.append(goal.as_loss(value))
                if progress:
                    progress(len(history), self.restarts * self.steps)

            for _ in range(self.restarts):
                start = threat.random_start(generators) if self.random_start else x
                self._climb(model, goal, threat, start, best, record)
        return AttackResult(
            x=x,
            x_adv=best.x_adv,
            success=best.success,
            queries=torch.full_like(y, self.restarts * (self.steps + 1)),
            loss=goal.as_loss(best.value),
            history=torch.stack(history),  # (restarts * steps, B)
            info=logit_warnings(best.finite),
        )

    def _climb(
        self,
        model: nn.Module,
        goal: Goal,
        threat: Threat,
        x_adv: Tensor,
        best: Best,
        record: Callable[[Tensor], None],
    ) -> None:
        """Run one restart from x_adv: update `best`, record the value before each step."""
        step = threat.eps * 2.5 / self.steps if self.step_size is None else self.step_size
        for _ in range(self.steps):
            logits, value, gradient = value_and_gradient(model, x_adv, goal.value)
            best.update(x_adv, goal, logits=logits, value=value)
            record(value)
            x_adv = threat.project(x_adv + threat.ascent(gradient, at=x_adv, length=step))
        with torch.no_grad():
            logits = logits_of(model, x_adv)
        best.update(x_adv, goal, logits=logits, value=goal.value(logits))
