"""The active set: samples that are done leave the batch, and their results stay.

Only `unfinished_rows` waits for the device, so it is asked every few steps. The sizes that a batch
shrinks to come from a ladder: a compiled step sees few shapes.
"""

from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def is_check_step(step: int) -> bool:
    """Return whether done samples are dropped before a step: often at first, when many are done.

    >>> [step for step in range(33) if is_check_step(step)]
    [0, 1, 2, 4, 8, 16, 24, 32]
    """
    return step in (1, 2, 4) or step % 8 == 0


def padded_size(count: int) -> int:
    """Return the smallest size of a ladder with eight rungs an octave that holds a count.

    At most an eighth of the work is wasted: with rungs at powers of two and between them, 33
    samples that resist to the end would cost as much as 48.

    >>> [padded_size(count) for count in (0, 1, 16, 17, 33, 49, 250)]
    [0, 1, 16, 18, 36, 52, 256]
    """
    rung = max(1, 1 << max(count - 1, 0).bit_length() >> 4)
    return -(-count // rung) * rung


def unfinished_rows(done: Tensor) -> Tensor | None:
    """Return the rows to go on with: all that are not done, and some done that fill the bucket.

    Args:
        done: bool (A,).

    Returns:
        Row numbers, int64 (A',), those not done first; None when the bucket is no smaller.
    """
    size = padded_size(int((~done).sum()))
    if size >= len(done):
        return None
    return torch.argsort(done.byte(), stable=True)[:size]  # (A',)


def index_rows(state: T, rows: Tensor) -> T:
    """Return a copy of some rows of a state.

    Args:
        state: a tensor (B, ...), or a dataclass of states; anything else is kept as it is.
        rows: row numbers, int64 (A,).
    """
    part: T = _mapped(lambda tensor: tensor[rows], state)
    return part


def scatter_rows(state: T, rows: Tensor, part: T) -> T:
    """Return a copy of a state (B, ...) in which `part` (A, ...) stands in some rows (A,)."""
    whole: T = _mapped(lambda tensor, new: tensor.index_copy(0, rows, new), state, part)
    return whole


def _mapped(change: Any, state: Any, *others: Any) -> Any:
    """Return a state with its tensors changed, each together with its like in other states."""
    if isinstance(state, Tensor):
        return change(state, *others)
    if not is_dataclass(state) or isinstance(state, type):
        return state
    names = [field.name for field in fields(state)]
    parts = {n: (getattr(state, n), *(getattr(o, n) for o in others)) for n in names}
    return replace(state, **{name: _mapped(change, *group) for name, group in parts.items()})


class ActiveSet(Generic[T]):
    """The state of a batch, and of those of its samples that are still worked on.

    Attributes:
        now: the state of the active samples, to be worked on; a dataclass that `index_rows` knows,
            with a row for each sample in all its tensors.
        rows: which samples these are, int64 (A,). Some may be done, and fill the bucket: a
            state must not let go of what a done sample has found.
    """

    def __init__(self, state: T, rows: Tensor) -> None:
        """Begin with all samples, numbered by rows, int64 (B,)."""
        self.now = self._all = state
        self.rows = rows
        self._count = len(rows)

    def drop(self, done: Tensor) -> None:
        """Let samples go that are done, bool (A,), if that makes the batch smaller."""
        keep = unfinished_rows(done)
        if keep is not None:
            self._all, self.now = self.everything(), index_rows(self.now, keep)
            self.rows = self.rows[keep]  # (A',)

    def everything(self) -> T:
        """Return the state of all samples, each as it was when it left."""
        whole = len(self.rows) == self._count
        return self.now if whole else scatter_rows(self._all, self.rows, self.now)

    def spread(self, values: Tensor, *, absent: float) -> Tensor:
        """Return the active samples' values (A,) as (B,), with `absent` for the others."""
        if len(self.rows) == self._count:
            return values
        everyone = values.new_full((self._count,), absent)
        return everyone.index_copy(0, self.rows, values)
