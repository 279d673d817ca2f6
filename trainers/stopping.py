"""When further rounds bring nothing: two rules, both on held-out samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.run.config import LoopFlags

Row = Mapping[str, Any]


def stop_reason(rows: Sequence[Row], loop: LoopFlags) -> str | None:
    """Say why the rounds should end here, or None.

    Args:
        rows: what was measured so far, round 0 first.
        loop: the thresholds.
    """
    last = rows[-1]
    if resists(last, loop) and not resists(rows[0], loop):
        return (
            f"the generator now leaves {last['loss_above_threshold']:.0%} of the test samples "
            f"at a loss of {loop.loss_threshold:g} or more"
        )
    if loop.patience and stalled([robustness(row) for row in rows], loop.patience):
        return f"robust accuracy has not grown for {loop.patience} rounds"
    if last["round"] >= loop.rounds:
        return f"all {loop.rounds} rounds are done" if loop.rounds != 1 else "the one round is done"
    return None


def resists(row: Row, loop: LoopFlags) -> bool:
    """Tell whether the generator's loss stays above the threshold for the set share of samples.

    Only its falling short where it once succeeded is a reason to stop: on tiny samples, whose
    every pixel matters, the loss may never be that low.
    """
    share = row["loss_above_threshold"]
    return share is not None and share >= loop.threshold_share


def robustness(row: Row) -> float:
    """Return the mean accuracy over the test attacks."""
    values = row["robust_accuracy"].values()
    return float(sum(values) / len(values))


def stalled(values: Sequence[float], patience: int) -> bool:
    """Tell whether the last `patience` values are all no better than the best before them.

    >>> stalled([0.7, 0.9, 0.8, 0.9], 2), stalled([0.7, 0.9, 0.8], 2)
    (True, False)
    """
    return len(values) > patience and max(values[-patience:]) <= max(values[:-patience])
