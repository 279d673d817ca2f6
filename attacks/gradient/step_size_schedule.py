"""APGD's step sizes: ever halved, with momentum, in linf and l2; ever sparser in l1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.threat import Threat

FRESH = 0.75  # weight of all steps in linf and l2 but the first
RISING = 0.75  # share of steps that have to raise the value for the size to stay
THINNER = 1.5  # a step in l1 changes as many entries as the best point, over this
SPARSER = 0.95  # a best point got sparser when it changes less than this share of the entries
SHORTER, SHORTEST = 1.5, 10  # what divides a step in l1, and the radius at most


@dataclass
class HalvingSchedule:
    """The steps of a batch in linf or l2, each sample for itself.

    Attributes:
        size: of the next step, (B, 1, ..., 1).
        before: the point before the last step, (B, ...).
        halved: whether the last checkpoint halved the size, bool (B,).
        fresh: weight of the next step; the rest repeats the last change.

    Source: Croce & Hein 2020 (AutoAttack), algorithm 1 and the two conditions before it.
    """

    size: Tensor
    before: Tensor
    halved: Tensor
    fresh: float = 1.0

    @classmethod
    def start(cls, threat: Threat, x_adv: Tensor) -> "HalvingSchedule":
        """Begin at x_adv with steps across the whole ball."""
        # As if halved before: the first checkpoint asks only how often the value rose.
        halved = torch.ones(len(x_adv), dtype=torch.bool, device=x_adv.device)
        return cls(2 * threat.eps, x_adv, halved)

    @staticmethod
    def checkpoints(steps: int) -> dict[int, int]:
        """Return the steps that end in a checkpoint, with how many each one covers.

        >>> HalvingSchedule.checkpoints(100)
        {22: 22, 41: 19, 57: 16, 70: 13, 80: 10, 87: 7, 93: 6, 99: 6}
        """
        gap, least, shrink = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
        checkpoints, step = {}, gap
        while step <= steps:
            checkpoints[step] = gap
            gap = max(gap - shrink, least)
            step += gap
        return checkpoints

    def move(self, threat: Threat, x_adv: Tensor, gradient: Tensor) -> Tensor:
        """Return the next point: a projected step, and a part of the change before it."""
        ahead = threat.project(x_adv + threat.ascent(gradient, length=self.size))
        change = self.fresh * (ahead - x_adv) + (1 - self.fresh) * (x_adv - self.before)
        self.before, self.fresh = x_adv, FRESH
        return threat.project(x_adv + change)

    def checkpoint(
        self, threat: Threat, *, peak: Tensor, rising_share: Tensor, new_peak: Tensor
    ) -> Tensor:
        """Halve the steps of samples that stopped getting anywhere.

        Args:
            threat: what is allowed.
            peak: the best points so far, (B, ...).
            rising_share: of the steps since the last checkpoint, those that raised the value, (B,).
            new_peak: whether the best value has grown since the last checkpoint, bool (B,).

        Returns:
            Which samples start again from their peak, bool (B,).
        """
        self.halved = (rising_share <= RISING) | (~self.halved & ~new_peak)
        self.size = torch.where(self.halved.reshape(self.size.shape), self.size / 2, self.size)
        return self.halved


@dataclass
class SparseSchedule:
    """The steps of a batch in l1, each sample for itself.

    Attributes:
        size: of the next step, (B, 1, ..., 1).
        changed: how many entries the best point changed at the last checkpoint, (B,).

    Source: Croce & Hein 2021 (Mind the Box), algorithm 1.
    """

    size: Tensor
    changed: Tensor

    @classmethod
    def start(cls, threat: Threat, x_adv: Tensor) -> "SparseSchedule":
        """Begin at x_adv with steps as long as the radius."""
        return cls(threat.eps, _changed(threat, x_adv))

    @staticmethod
    def checkpoints(steps: int) -> dict[int, int]:
        """Return the steps that end in a checkpoint, with how many each one covers.

        >>> SparseSchedule.checkpoints(50)[48]
        2
        """
        gap = max(int(0.04 * steps), 1)
        return dict.fromkeys(range(gap, steps + 1, gap), gap)

    def move(self, threat: Threat, x_adv: Tensor, gradient: Tensor) -> Tensor:
        """Return the next point: equal parts of a step for the largest gradients, projected."""
        count = (self.changed / THINNER).floor()
        step = threat.ascent(gradient, at=x_adv, length=self.size, count=count)
        return threat.project(x_adv + step)

    def checkpoint(
        self, threat: Threat, *, peak: Tensor, rising_share: Tensor, new_peak: Tensor
    ) -> Tensor:
        """Take long steps again where the best point got sparser, and shorter ones elsewhere.

        Args and Returns as of `HalvingSchedule.checkpoint`; `rising_share` does not matter here.
        """
        changed = _changed(threat, peak)
        sparser = changed < SPARSER * self.changed
        shorter = (self.size / SHORTER).maximum(threat.eps / SHORTEST)
        self.size = torch.where(sparser.reshape(shorter.shape), threat.eps, shorter)
        self.changed = changed
        return sparser


def _changed(threat: Threat, x_adv: Tensor) -> Tensor:
    """Return how many entries of each sample differ from the clean one, (B,)."""
    return (x_adv != threat.x).flatten(1).sum(1).to(x_adv)
