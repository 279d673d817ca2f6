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
    unmoved = last["loss_above_threshold"]
    if unmoved is not None and unmoved >= loop.threshold_share:
        return (
            f"the generator leaves {unmoved:.0%} of the test samples at a loss of "
            f"{loop.loss_threshold:g} or more"
        )
    if loop.patience and stalled([robustness(row) for row in rows], loop.patience):
        return f"robust accuracy has not grown for {loop.patience} rounds"
    if last["round"] >= loop.rounds:
        return f"all {loop.rounds} rounds are done" if loop.rounds != 1 else "the one round is done"
    return None


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
