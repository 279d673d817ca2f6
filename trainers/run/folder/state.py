"""The state of a run, as its status.json tells it and as it is."""

import os
from collections.abc import Mapping
from typing import Any

STATES = ("running", "waiting", "interrupted", "failed", "refused", "finished")


def state_of(status: Mapping[str, Any] | None) -> str:
    """Return the state of a run; one whose process is gone was interrupted.

    Args:
        status: what its status.json holds, which may be anything; None where that is damaged.

    Returns:
        Usually one of STATES, or "" where there is none.
    """
    status = status or {}
    state = status.get("state")
    if not isinstance(state, str):
        return ""
    gone = state == "running" and not is_alive(status.get("pid"))
    return "interrupted" if gone else state


def is_alive(pid: object) -> bool:
    """Tell whether a process of this machine runs, whosever it is."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)  # asks, and does nothing
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
