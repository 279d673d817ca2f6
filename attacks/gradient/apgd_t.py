"""Targeted Auto-PGD: climbs to the likeliest wrong classes, one after the other."""

from dataclasses import dataclass

from attacks.common.goal import LossName
from attacks.common.options import Natural
from attacks.gradient.apgd import APGD


@dataclass(frozen=True)
class APGDT(APGD):
    """`APGD` to each of several wrong classes; any wrong answer is a success.

    Args:
        steps: gradient steps of each climb.
        loss: "dlr" tells apart four classes or more; "margin" any number.
        targets: how many classes, the likeliest wrong ones.

    Source: Croce & Hein 2020 (AutoAttack), section 5, APGD-T.
    """

    loss: LossName = "dlr"
    targets: Natural = 9
