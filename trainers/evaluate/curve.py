"""Robust accuracy against eps, down to zero, from the smallest changes that fool each sample."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.attack import Norm
from trainers.evaluate.budgets import Budget
from trainers.evaluate.scores import AttackMeasurement
from trainers.intervals import SURE, Interval, wilson

SHARES = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 6, 8)  # of the job's eps, in the table


@dataclass(frozen=True)
class RobustnessCurve:
    """The distances from N samples to the nearest answer that is wrong, as far as it was found.

    Attributes:
        norm: of the distances.
        distances: (N,) float64; 0 where the sample is wrong by itself, infinite where no attack
            fooled it at any distance.
    """

    norm: Norm
    distances: Tensor

    @property
    def reach(self) -> float:
        """The largest finite distance: beyond it the curve says nothing new."""
        finite = self.distances[torch.isfinite(self.distances)]
        return float(finite.max()) if len(finite) else 0.0

    @property
    def never_fooled(self) -> int:
        """How many samples no distance fooled."""
        return int(torch.isinf(self.distances).sum())

    def survivors(self, eps: float) -> Tensor:
        """Tell which samples are right under every change up to eps, (N,) bool."""
        # Wrong ones are at 0, and at eps 0 too; else as `Budget.holds`.
        return (self.distances > 0) & ~Budget(self.norm, eps).holds(self.distances)

    def at(self, eps: float) -> dict[str, Any]:
        """Return eps, how it is written, the robust accuracy there and its 95 % interval."""
        right, n = int(self.survivors(eps).sum()), len(self.distances)
        named = {"eps": eps, "budget": str(Budget(self.norm, eps))}
        return {**named, "accuracy": right / n, "interval": wilson(right, n)}

    def area(self) -> tuple[float, Interval]:
        """Return the area under the curve, and the 95 % interval of this mean.

        The integral of the accuracy over eps is the mean distance. Samples that were never
        fooled count with `reach`, to which the integral then goes.
        """
        lengths = self.distances.clamp_max(self.reach)
        mean = float(lengths.mean())
        half = SURE * float(lengths.std(correction=0)) / math.sqrt(len(lengths))
        return mean, (max(0.0, mean - half), mean + half)

    def quantile_eps(self, count: int) -> list[float]:
        """Return `count` radii at which equal parts of the right samples are lost.

        They lie between the distances of the samples, at four digits. For 3: where a quarter,
        a half and three quarters are lost.
        """
        own = self.distances[(self.distances > 0) & torch.isfinite(self.distances)].sort().values
        if not len(own):
            return []
        shares = torch.arange(1, count + 1, dtype=torch.float64) / (count + 1)
        return sorted({float(f"{eps:.4g}") for eps in own.quantile(shares).tolist()})

    def table_eps(self, eps: float) -> list[float]:
        """Return 0 and multiples of eps, up to the first at which the accuracy does not fall."""
        radii = [share * eps for share in SHARES]
        while radii[-1] < self.reach:
            radii.append(2 * radii[-1])
        most = next(i for i, radius in enumerate(radii) if radius >= self.reach)
        return radii[: max(most, SHARES.index(1)) + 1]


def curve_of(measurement: AttackMeasurement, *, rows: Tensor | None = None) -> RobustnessCurve:
    """Return the curve that an attack gives which looks for the smallest change.

    Args:
        measurement: of the attack.
        rows: (M,) the samples to take; None takes all.

    Raises:
        ValueError: for an attack that is held to something else.
    """
    budget = measurement.budget
    if budget is None or budget.eps is not None:
        raise ValueError(
            f"the attack measured is held to {budget or 'nothing'}; a curve wants one that looks "
            "for the smallest change, such as FMN"
        )
    fooled = measurement.clean & ~measurement.survived
    distances = measurement.sizes[budget.norm].double().masked_fill(~fooled, torch.inf)
    distances = distances.masked_fill(~measurement.clean, 0)
    return RobustnessCurve(budget.norm, distances if rows is None else distances[rows])


def join_curves(curves: Sequence[RobustnessCurve]) -> RobustnessCurve:
    """Return the curve of several attacks together: of each sample the smallest change counts.

    Args:
        curves: of the same samples and norm, one at least.
    """
    distances = torch.stack([curve.distances for curve in curves]).amin(0)
    return RobustnessCurve(curves[0].norm, distances)


def compare_with(
    curve: RobustnessCurve, eps: float, measurement: AttackMeasurement
) -> dict[str, Any]:
    """Compare a curve at eps with a bounded attack on the same samples.

    Returns:
        eps, curve and attack (accuracies with intervals), difference (attack minus curve),
        attack_alone and curve_alone (samples that only one of them fooled), joint (the accuracy
        when a sample counts as fooled if either fooled it).
    """
    ours, theirs = curve.survivors(eps), measurement.survived
    n, both = len(ours), int((ours & theirs).sum())
    kept = int(theirs.sum())
    return {
        **curve.at(eps),
        "attack_accuracy": kept / n,
        "attack_interval": wilson(kept, n),
        "difference": (kept - int(ours.sum())) / n,
        "attack_alone": int((ours & ~theirs).sum()),
        "curve_alone": int((theirs & ~ours).sum()),
        "joint": both / n,
        "joint_interval": wilson(both, n),
    }


def curve_summary(
    curves: Mapping[str, RobustnessCurve],
    joint: RobustnessCurve,
    *,
    eps: float,
    checks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what summary.json says of a curve.

    Args:
        curves: of each attack, by name.
        joint: of all of them together.
        eps: the job's, of which the radii of the table are multiples.
        checks: what `compare_with` found.
    """
    area, interval = joint.area()
    right = joint.distances[joint.distances > 0]
    return {
        "norm": joint.norm,
        "samples": len(joint.distances),
        "attacks": {name: curve.area()[0] for name, curve in curves.items()},
        "area": area,
        "area_interval": interval,
        "area_to": joint.reach,
        "median_distance": finite_quantile(right),
        "never_fooled": joint.never_fooled,
        "points": [joint.at(radius) for radius in joint.table_eps(eps)],
        "checks": list(checks),
    }


def finite_quantile(distances: Tensor, share: float = 0.5) -> float | None:
    """Return a quantile of distances (N,); None of nothing, or where it is infinite."""
    if not len(distances):
        return None
    value = float(distances.sort().values[math.ceil(share * len(distances)) - 1])
    return value if math.isfinite(value) else None
