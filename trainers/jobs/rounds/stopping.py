"""Which round is the best, and two rules that end them; all by held-out samples."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.cli.config import LoopFlags

Row = Mapping[str, Any]


def stop_reason(rows: Sequence[Row], loop: LoopFlags) -> str | None:
    """Say why the rounds should end here, or None.

    Args:
        rows: what was measured so far, round 0 first.
        loop: the thresholds.
    """
    last = rows[-1]
    if resists(last, loop) and not all(resists(row, loop) for row in rows):
        return (
            f"the generator now leaves {last['loss_above_threshold']:.0%} of the test samples that "
            f"could be attacked at a loss of {loop.loss_threshold:g} or more (the score of their "
            "original top classes, without the distance)"
        )
    if loop.patience and stalled([robustness(row) for row in rows], loop.patience):
        where = " on validation samples" if last["validation"] else ""
        return f"robust accuracy{where} has not grown for {loop.patience} rounds"
    if last["round"] >= loop.rounds:
        return f"all {loop.rounds} rounds are done" if loop.rounds != 1 else "the one round is done"
    return None


def resists(row: Row, loop: LoopFlags) -> bool:
    """Tell whether the generator's loss stays above the threshold for the set share of samples.

    The loss here is the score sum of eq. (1) alone: its distance term grows with lam, and says
    nothing about what the classifier answers. Only its falling short after it once succeeded is
    a reason to stop: what it never could do, for want of steps, it does not lose.

    Source: Rey-de-Castro & Rabitz 2018, section 5.3.
    """
    share = row["loss_above_threshold"]
    return share is not None and share >= loop.threshold_share


def cannot_stop(rows: Sequence[Row], loop: LoopFlags) -> bool:
    """Tell whether round 0 already ends above the threshold, so that the rule waits."""
    return len(rows) == 1 and resists(rows[0], loop)


def stalled(values: Sequence[float], patience: int) -> bool:
    """Tell whether the last `patience` values are all no better than the best before them.

    >>> stalled([0.7, 0.9, 0.8, 0.9], 2), stalled([0.7, 0.9, 0.8], 2)
    (True, False)
    """
    return len(values) > patience and max(values[-patience:]) <= max(values[:-patience])


def robustness(row: Row) -> float:
    """Return a round's worst case, on validation samples where there are any."""
    measured: float = (row["validation"] or row)["worst_case"]
    return measured


def best_round(rows: Sequence[Row]) -> int:
    """Return the number of the most robust round, the last of several.

    Without validation samples it is the last of all, for test samples choose nothing.
    """
    if rows[0]["validation"] is None:
        return len(rows) - 1
    return max(range(len(rows)), key=lambda number: (robustness(rows[number]), number))
