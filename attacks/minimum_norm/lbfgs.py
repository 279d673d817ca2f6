"""The first attack of all: box-constrained L-BFGS, and a search for the least weight that does."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from attacks.attack import AttackResult, Norm, Progress
from attacks.common.active_set import index_rows, scatter_rows
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.goal import Classifier, Goal, LossName, value_and_gradient, without_slope
from attacks.common.options import Count
from attacks.common.progress import PartProgress
from attacks.minimum_norm.best_by_norm import BestByNorm
from attacks.minimum_norm.nearest_boundary import Boundary, nearest_boundary

Pixels = npt.NDArray[np.float64]

_BROKEN = 1e30  # the objective where the logits are not finite: worse than anything


@dataclass(frozen=True)
class LBFGS(GradientAttack):
    """Minimises the squared l2 norm minus c times the value of the goal, sample by sample.

    SciPy's L-BFGS-B keeps the pixels in [0, 1]. A line search finds the smallest c whose minimum
    fools the model: c is doubled until one does, then a binary search goes on. Each descent
    starts from the nearest success of all points tried so far. The samples go one by one and
    wait for the CPU in every step: `cw` and `fmn` find as much in far less time.

    Args:
        steps: at most so many iterations of L-BFGS-B for each c.
        search_steps: values of c.
        loss: "margin", which leads straight to the boundary, first to the one that is nearest by
            the linearisation; or "ce", the cross entropy, which is the paper's. `result.loss` is
            the margin.

    Source: Szegedy et al. 2014, section 4.1.
    """

    steps: Count = 20
    search_steps: Count = 10
    loss: Literal["margin", "ce"] = "margin"

    norm: ClassVar[Norm] = "l2"  # that it makes small
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Perturb x as little as possible; see `Attack.__call__`. Nothing here is random."""
        forward, x, goal = call.forward, call.x, Goal(call.y, call.target, "margin")
        found = nearest_boundary(forward, x, goal, norm="l2")
        closest = BestByNorm.start(x, found.logits, goal=goal, norm="l2")
        aim = found.aim(goal)
        closest.stuck = without_slope(found.gradient)
        told = PartProgress(call.progress, [self.search_steps] * len(x))
        skipped = closest.success | closest.stuck | ~closest.finite
        for row in range(len(x)):
            if not skipped[row]:
                here = torch.tensor([row], device=x.device)
                descent = _LBFGSDescent(
                    forward, index_rows(closest, here), index_rows(aim, here), self.loss
                )
                c = descent.first(index_rows(found, here))
                descent.closest.stuck |= c is None
                self._search(descent, c or 1.0, told.within)
                closest = scatter_rows(closest, here, descent.closest)
            told.end_part()
        return closest.result(call)

    def _search(self, descent: "_LBFGSDescent", c: float, progress: Progress) -> None:
        """Double c until a descent ends in a success, then halve what lies between."""
        too_low, enough = 0.0, math.inf
        for step in range(self.search_steps):
            if descent.run(c, self.steps):
                enough = c
            else:
                too_low = c
            c = 2 * c if math.isinf(enough) else (too_low + enough) / 2
            progress(step + 1, self.search_steps)


class _LBFGSDescent:
    """Descents of one sample: its tensors are (1, ...)."""

    def __init__(self, model: Classifier, closest: BestByNorm, aim: Goal, loss: LossName) -> None:
        """Start from the best success in `closest`, towards the class of `aim`."""
        self.model, self.closest, self.met = model, closest, False
        margin, free = loss == "margin", Goal(closest.goal.y, closest.goal.target, loss)
        # Once there is a success the margin is that to whichever class leads.
        self.aim, self.free = aim if margin else free, free

    def first(self, found: Boundary) -> float | None:
        """Return the c that ends just on a boundary if all were linear; None without a slope."""
        _, _, slope = value_and_gradient(self.model, self.closest.x, self.aim.objective)
        self.closest.queries += 1
        gain = (found.gradient.double() * slope.double()).sum()
        c = float(2 * found.gap.double().sum() / gain)
        return c if 0 < c < math.inf else None

    def run(self, c: float, steps: int) -> bool:
        """Descend from the nearest success, or from x; return whether the end is one."""
        self.c = c
        start = self.closest.x_adv.flatten().double().cpu().numpy()  # (D,)
        ends, limits = [(0.0, 1.0)] * len(start), {"maxiter": steps, "ftol": 0.0, "gtol": 0.0}
        found = minimize(
            self.objective, start, jac=True, method="L-BFGS-B", bounds=ends, options=limits
        )
        self.objective(found.x)
        return self.met

    def objective(self, pixels: Pixels) -> tuple[float, Pixels]:
        """Return ||r||**2 - c * value and its gradient (D,) at float64 pixels (D,)."""
        x = self.closest.x
        x_adv = torch.from_numpy(pixels).to(x).reshape(x.shape).clamp(0, 1)  # (1, ...)
        goal = self.free if self.closest.success.item() else self.aim
        logits, value, gradient = value_and_gradient(self.model, x_adv, goal.objective)
        self.met = bool(self.closest.update(x_adv, logits))
        delta = (x_adv - x).double()
        total = delta.square().sum() - self.c * value.double().sum()
        if not math.isfinite(total):
            return _BROKEN, np.zeros_like(pixels)
        slope = 2 * delta - self.c * gradient.nan_to_num(0, 0, 0)
        return float(total), slope.flatten().cpu().numpy()
