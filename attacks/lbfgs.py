"""The first attack of all: box-constrained L-BFGS, and a search for the least weight that does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from attacks.active import put, take
from attacks.attack import Progress
from attacks.closest import Closest
from attacks.diagnosis import is_random, without_slope
from attacks.forward import prepared
from attacks.goal import Classifier, Goal, value_and_gradient
from attacks.guard import frozen
from attacks.inputs import check_batch, own_copies
from attacks.losses import LossName, check_loss
from attacks.result import AttackResult
from attacks.threat import lengths

Pixels = npt.NDArray[np.float64]

_BROKEN = 1e30  # the objective where the logits are not finite: worse than anything


@dataclass(frozen=True)
class LBFGS:
    """Minimises the squared l2 norm minus c times the value of the goal, sample by sample.

    SciPy's L-BFGS-B keeps the pixels in [0, 1]. A line search finds the smallest c whose minimum
    fools the model: c is doubled until one does, then a binary search goes on. Each descent
    starts from the nearest success of all points tried so far. The samples go one by one and
    wait for the CPU in every step: `cw` and `fmn` find as much in far less time.

    Args:
        steps: at most so many iterations of L-BFGS-B for each c.
        search_steps: values of c.
        loss: "margin", "ce" (the paper's) or "dlr". The margin is the one that leads straight
            to the boundary.

    Source: Szegedy et al. 2014, section 4.1.
    """

    steps: int = 20
    search_steps: int = 10
    loss: LossName = "margin"

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_loss(self.loss)
        if self.steps < 1 or self.search_steps < 1:
            raise ValueError(f"steps={self.steps}, search_steps={self.search_steps}; >= 1 each")

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
            random, forward = is_random(model, x), prepared(model)
            x, y, target = own_copies(x, y, target)
            goal = Goal(y, target, "margin")
            logits, value, gradient = value_and_gradient(forward, x, goal.value)
            closest = Closest.start(x, logits, goal=goal, norm="l2")
            stuck = without_slope(gradient)
            # On a linear classifier c = 2 * gap / slope**2 ends just on the boundary.
            slope = lengths(gradient.nan_to_num(0, 0, 0), "l2").double()
            first = (-2 * value.double() / slope.square()).nan_to_num(0, 0, 0).clamp(1e-18, 1e18)
            queries = torch.ones_like(y)
            skipped = closest.success | stuck | ~closest.finite
            for row in range(len(x)):
                if not skipped[row]:
                    here = torch.tensor([row], device=x.device)
                    descent = _Descent(forward, take(closest, here), self.loss)
                    self._search(descent, float(first[row]))
                    closest = put(closest, here, descent.closest)
                    queries[row] += descent.queries
                if progress:
                    progress(row + 1, len(x))
            return closest.result(queries=queries, stuck=stuck, random=random)

    def _search(self, descent: "_Descent", c: float) -> None:
        """Double c until a descent ends in a success, then halve what lies between."""
        too_low, enough = 0.0, math.inf
        for _ in range(self.search_steps):
            if descent.run(c, self.steps):
                enough = c
            else:
                too_low = c
            c = 2 * c if math.isinf(enough) else (too_low + enough) / 2


class _Descent:
    """Descents of one sample: its tensors are (1, ...)."""

    def __init__(self, model: Classifier, closest: Closest, loss: LossName) -> None:
        """Begin with what `closest` knows."""
        self.model, self.closest, self.queries, self.met = model, closest, 0, False
        self.goal = Goal(closest.goal.y, closest.goal.target, loss)

    def run(self, c: float, steps: int) -> bool:
        """Descend from the nearest success, or from x; return whether the end is one."""
        self.c = c
        start = self.closest.x_adv.flatten().double().cpu().numpy()  # (D,)
        ends, limits = [(0.0, 1.0)] * len(start), {"maxiter": steps}
        found = minimize(
            self.objective, start, jac=True, method="L-BFGS-B", bounds=ends, options=limits
        )
        self.objective(found.x)
        return self.met

    def objective(self, pixels: Pixels) -> tuple[float, Pixels]:
        """Return ||r||**2 - c * value and its gradient (D,) at float64 pixels (D,)."""
        x = self.closest.x
        x_adv = torch.from_numpy(pixels).to(x).reshape(x.shape).clamp(0, 1)  # (1, ...)
        logits, value, gradient = value_and_gradient(self.model, x_adv, self.goal.value)
        self.met = bool(self.closest.update(x_adv, logits))
        self.queries += 1
        delta = (x_adv - x).double()
        total = delta.square().sum() - self.c * value.double().sum()
        if not math.isfinite(total):
            return _BROKEN, np.zeros_like(pixels)
        slope = 2 * delta - self.c * gradient.nan_to_num(0, 0, 0)
        return float(total), slope.flatten().cpu().numpy()
