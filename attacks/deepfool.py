"""DeepFool: step by step to the nearest boundary of the linearised classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.closest import Closest, clearance
from attacks.goal import Goal, logits_of
from attacks.guard import frozen
from attacks.hyperplane import distance, movable, shortest_step
from attacks.inputs import check_batch, own_copies
from attacks.jacobian import jacobian_rows
from attacks.result import AttackResult
from attacks.threat import Norm, check_norm


@dataclass(frozen=True)
class DeepFool:
    """A small perturbation without a ball, found in a few steps; a fooled sample is done.

    In each step the classifier is replaced by its linearisation, and the sample moves to the
    nearest of the linear boundaries between its label and the other classes, or between its
    target and the class now on top. Pixels stay in [0, 1]: the way is the shortest within it.

    Args:
        norm: "linf", "l2" or "l1", in which the nearest boundary is sought.
        steps: at most so many steps; each is two forward passes and `classes` - 1 backward ones.
        overshoot: the whole perturbation is this fraction longer, to get across the boundary.
        classes: how many classes are looked at in a step, the label among them: those with the
            highest logits. A targeted attack looks at two.

    Source: Moosavi-Dezfooli et al. 2016, algorithm 2; eq. (11) and (12) for the other norms.
    """

    norm: Norm = "l2"
    steps: int = 50
    overshoot: float = 0.02
    classes: int = 10

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_norm(self.norm)
        if self.steps < 1 or self.classes < 2:
            raise ValueError(
                f"steps={self.steps}, classes={self.classes}; steps >= 1, classes >= 2"
            )
        if self.overshoot < 0:
            raise ValueError(f"overshoot is {self.overshoot}; give a number >= 0")

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
        """Perturb x as little as possible; see `Attack.__call__`. Nothing here is random."""
        check_batch(x, y, target=target)
        with frozen(model):
            x, y, target = own_copies(x, y, target)
            with torch.no_grad():
                logits = logits_of(model, x)
            closest = Closest.start(x, logits, goal=Goal(y, target, "margin"), norm=self.norm)
            delta, unfinished = torch.zeros_like(x), ~closest.success
            queries = torch.ones_like(y)
            for step in range(1, self.steps + 1):
                # Waits for the device, once in a step of classes + 1 passes.
                rows = unfinished.nonzero().squeeze(1)  # (n,)
                if len(rows):
                    unfinished[rows] = self._step(model, closest, delta, rows)
                    queries[rows] += 2
                if progress:
                    progress(step, self.steps)
        return closest.result(queries=queries)

    def _step(self, model: nn.Module, closest: Closest, delta: Tensor, rows: Tensor) -> Tensor:
        """Move delta (B, ...) of some samples; return which of them are still to go, (n,) bool."""
        x = closest.x[rows]
        here = self._overshot(x, delta[rows])
        gradient, need = self._nearest(model, here, closest.goal.at(rows))
        step = shortest_step(here, gradient, need, self.norm)
        delta[rows] = (x + delta[rows] + step).clamp(0, 1) - x
        here = self._overshot(x, delta[rows])
        with torch.no_grad():
            met = closest.update(here, logits_of(model, here), rows=rows)
        return ~met & gradient.flatten(1).any(1)  # without a gradient there is no next step

    def _overshot(self, x: Tensor, delta: Tensor) -> Tensor:
        return (x + (1 + self.overshoot) * delta).clamp(0, 1)

    def _nearest(self, model: nn.Module, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return the gradient (n, ...) towards the nearest boundary and its gap (n,).

        The gradient is 0 where there is no way to any boundary.
        """
        x = x.requires_grad_()
        logits = logits_of(model, x)
        leads = self._leads(logits, goal)  # (n, k)
        gaps = (2 * clearance(logits)[:, None] - leads).detach()  # (n, k), > 0
        best = gaps.new_full((len(x),), torch.inf)
        gradient, gap = torch.zeros_like(x), torch.zeros_like(best)
        for row, missing in zip(jacobian_rows(leads, x), gaps.unbind(1), strict=True):
            row = movable(row, x.detach())
            far = distance(row, missing, self.norm)
            nearer = far < best
            mask = nearer.reshape(-1, *[1] * (x.ndim - 1))
            best, gap = torch.where(nearer, far, best), torch.where(nearer, missing, gap)
            gradient = torch.where(mask, row, gradient)
        return gradient, gap

    def _leads(self, logits: Tensor, goal: Goal) -> Tensor:
        """Return (n, k) what must become positive, any of it, from logits (n, K)."""
        if goal.target is not None:
            return goal.value(logits)[:, None]  # (n, 1)
        own = F.one_hot(goal.y, logits.shape[1]).bool()
        others = logits.masked_fill(own, -torch.inf)
        top = others.topk(min(self.classes, logits.shape[1]) - 1, dim=1).values  # (n, k)
        return top - logits.gather(1, goal.y[:, None])
