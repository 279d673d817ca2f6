"""SciPy's L-BFGS-B in a box, sample by sample: the reference."""

import math
from collections.abc import Callable
from itertools import count

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from attacks.attack import Progress
from attacks.common.progress import PartProgress
from attacks.common.threat import Threat
from attacks.feature.box_descent import BoxMinimum

Pixels = npt.NDArray[np.float64]
# Of sample number i, from x (1, ...) to value (1,) and gradient like x.
SampleObjective = Callable[[int, Tensor], tuple[Tensor, Tensor]]

_BROKEN = 1e30  # the objective where it is not finite: worse than anything


def minimise_in_box(
    objective: SampleObjective, threat: Threat, *, steps: int, progress: Progress
) -> BoxMinimum:
    """Minimise an objective of each sample in a ball of linf and [0, 1].

    Args:
        objective: returns the value and gradient of one sample.
        threat: the box.
        steps: iterations of L-BFGS-B, at most; it ends sooner where the objective has converged.
        progress: called with (steps done, steps in all), those of all samples.

    Source: Byrd et al. 1995; Sabour et al. 2016.
    """
    found, told = [], PartProgress(progress, [steps] * len(threat.x))
    for row in range(len(threat.x)):
        found.append(_LBFGSB(objective, threat, row).run(steps, told.within))
        told.end_part()
    length = max(len(one.history) for one in found)
    history = threat.x.new_full((length, len(found)), torch.nan)
    for row, one in enumerate(found):
        history[: len(one.history), row] = one.history[:, 0]
    columns = ((one.x, one.value, one.gradient, one.queries) for one in found)
    x, value, gradient, queries = (torch.cat(parts) for parts in zip(*columns, strict=True))
    return BoxMinimum(x, value, gradient, history, queries)


class _LBFGSB:
    """The search of one sample: its tensors are (1, ...)."""

    def __init__(self, objective: SampleObjective, threat: Threat, row: int) -> None:
        """Start from the clean sample."""
        self.objective, self.row = objective, row
        self.low, self.high = (end[row : row + 1] for end in threat.box)
        self.x = threat.x[row : row + 1]
        self.best, self.least = self.x, math.inf
        self.values: list[float] = []
        self.slope: Tensor | None = None

    def run(self, steps: int, progress: Progress) -> BoxMinimum:
        """Minimise, and return the best point evaluated."""
        taken = count(1)
        ends = np.stack([_flat(self.low), _flat(self.high)], 1)
        minimize(
            self._evaluate, _flat(self.x), jac=True, method="L-BFGS-B", bounds=ends,
            options={"maxiter": steps, "maxfun": 10 * steps},
            callback=lambda _: progress(next(taken), steps),
        )  # fmt: skip
        assert self.slope is not None  # it was evaluated
        history = self.x.new_tensor(self.values)[:, None]  # (evaluations, 1)
        queries = torch.tensor([len(self.values)], device=self.x.device)
        return BoxMinimum(self.best, self.x.new_tensor([self.least]), self.slope, history, queries)

    def _evaluate(self, pixels: Pixels) -> tuple[float, Pixels]:
        """Return the objective and its gradient (D,) at float64 pixels (D,)."""
        x = torch.from_numpy(pixels.copy()).to(self.x).reshape(self.x.shape)
        x = x.clamp(self.low, self.high)  # float32 may round out of the box
        values, gradient = self.objective(self.row, x)
        self.slope = gradient if self.slope is None else self.slope
        value = float(values)
        self.values.append(value)
        if not math.isfinite(value):
            return _BROKEN, np.zeros_like(pixels)
        if value < self.least:
            self.best, self.least = x, value
        return value, _flat(gradient.nan_to_num(0, 0, 0))


def _flat(x: Tensor) -> Pixels:
    """Return a sample (1, ...) as float64 (D,)."""
    flat: Pixels = x.double().flatten().cpu().numpy()
    return flat
