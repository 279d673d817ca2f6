"""Options of the gradient-sign family: steps along the gradient inside a ball."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.goal import Classifier, Goal
from attacks.common.inputs import check_call, own_copies
from attacks.common.losses import LossName, check_loss
from attacks.common.options import check_kinds
from attacks.common.randomness import sample_generators
from attacks.common.threat import Norm, Threat, check_norm, check_radius
from attacks.gradient.climber import Climber
from attacks.result import AttackResult


@dataclass(frozen=True)
class Climb:
    """What all attacks share that step along the gradient and project to the ball.

    Subclasses differ in where they start, what they pursue and how they turn a gradient into a
    direction.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, a number or one a sample (B,).
        steps: gradient steps of each start.
        step_size: in pixel units; None takes eps / steps, or what the subclass says.
        loss: "ce", "margin" or "dlr".
        early_stop: for evaluation: a sample's first success is its result, and it leaves the
            batch. Else all steps are taken and the success with the highest loss is kept, which
            is what training wants.
        bf16: run the model under bfloat16 autocast. All else stays float32, and one more forward
            pass in float32 decides about success.
        compile: run the model and the step through torch.compile.
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    steps: int = 10
    step_size: float | None = None
    loss: LossName = "ce"
    early_stop: bool = False
    bf16: bool = False
    compile: bool = False

    reach: ClassVar[float] = 1.0  # how many radii the steps of one start span by default

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_norm(self.norm)
        check_radius(self.norm, self.eps)
        check_loss(self.loss)
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}; give at least 1")
        if self.step_size is not None and not 0 < self.step_size < torch.inf:
            raise ValueError(f"step_size is {self.step_size}; give a number > 0, or None")

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
        """Perturb x within the ball; see `Attack.__call__`."""
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        generators = sample_generators(x, seed=seed, sample_ids=sample_ids)
        with frozen(model):
            x, y, target = own_copies(model, x, y, target)
            threat = Threat.around(x, norm=self.norm, eps=self.eps)
            goal = self._goal(model, x, y, target)
            climber = Climber(model, self, goal, threat, progress)
            for _ in range(self.starts):
                climber.run(self._start(threat, generators))
            return climber.result()

    def length(self, eps: Tensor) -> float | Tensor:
        """Return the length of a step in balls of radius eps, (A, 1, ..., 1)."""
        return eps * self.reach / self.steps if self.step_size is None else self.step_size

    @property
    def starts(self) -> int:
        """How often to climb."""
        return 1

    def turn(self, gradient: Tensor, previous: Tensor) -> Tensor:
        """Return the direction of the next step, from the one before; all (B, ...)."""
        return gradient

    def _goal(self, model: Classifier, x: Tensor, y: Tensor, target: Tensor | None) -> Goal:
        """Return what to pursue."""
        return Goal(y, target, self.loss)

    def _start(self, threat: Threat, generators: Sequence[torch.Generator]) -> Tensor:
        """Return where to begin, (B, ...)."""
        return threat.x
