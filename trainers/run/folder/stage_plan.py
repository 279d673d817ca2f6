"""The stages of a run of several rounds, and how long those that are to come may take."""

import re
from collections.abc import Sequence

_ROUND = re.compile(r"round \d+: ")  # what the names of one stage differ in from round to round


class StagePlan:
    """The stages of a run in their order; each takes about as long as it did a round before.

    >>> plan = StagePlan(["round 0: fit", "round 0: pgd", "round 1: fit", "round 1: pgd"])
    >>> plan.note("round 0: fit", 10.0)
    >>> plan.note("round 0: pgd", 30.0)
    >>> plan.ahead("round 1: fit", 0.5, 5.0)  # 5 s more of it, and 30 s of the next
    (0.5625, 35.0)
    """

    def __init__(self, stages: Sequence[str]) -> None:
        """Begin with nothing known.

        Args:
            stages: their names in order, those of a round with "round N: " in them.
        """
        self.stages = list(stages)
        self._seconds: dict[str, float] = {}  # of a whole stage, by name without the round
        self._share = 0.0

    def note(self, stage: str, seconds: float) -> None:
        """Remember how long a whole stage took, or will."""
        self._seconds[_kind(stage)] = seconds

    def ahead(self, stage: str, share: float, left: float | None) -> tuple[float, float | None]:
        """Tell how far the run is.

        What no round before took the time of counts as long as the mean of what is known.

        Args:
            stage: the stage that runs; of another round than was planned, too.
            share: that is done of it, 0 to 1.
            left: seconds until it ends; None where unknown.

        Returns:
            The share of the run that is done, which never falls, and the seconds left; None where
            nothing is known.
        """
        kind = _kind(stage)
        places = [n for n, name in enumerate(self.stages) if name == stage]
        places = places or [n for n, name in enumerate(self.stages) if _kind(name) == kind]
        if not places:
            return self._share, None
        if left is not None and share < 1:
            self.note(stage, left / (1 - share))
        known = list(self._seconds.values())
        usual = sum(known) / len(known) if known else 1.0
        each = [self._seconds.get(_kind(name), usual) for name in self.stages]
        rest = (1 - share) * each[places[-1]] + sum(each[places[-1] + 1 :])
        if whole := sum(each):
            self._share = max(self._share, 1 - rest / whole)
        return self._share, rest if known else None


def _kind(stage: str) -> str:
    return _ROUND.sub("", stage)
