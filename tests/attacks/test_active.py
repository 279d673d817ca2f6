"""The active set: who stays, in what sizes, and that nothing found is lost."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.common.active_set import (
    ActiveSet,
    index_rows,
    padded_size,
    scatter_rows,
    unfinished_rows,
)
from attacks.common.best_by_loss import BestByLoss
from attacks.common.goal import Goal


@given(st.integers(0, 5000))
def test_a_bucket_holds_its_count_and_wastes_at_most_an_eighth(count):
    size = padded_size(count)
    assert count <= size <= 1.125 * count
    assert padded_size(size) == size


def test_there_are_few_buckets():
    assert len({padded_size(count) for count in range(1, 257)}) == 48


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_unfinished_rows_are_all_that_are_not_done_and_no_row_twice(flags):
    done = torch.tensor(flags)
    keep = unfinished_rows(done)
    left = (~done).nonzero().flatten().tolist()
    if keep is None:
        assert padded_size(len(left)) >= len(flags)
        return
    assert keep[: len(left)].tolist() == left
    assert len(set(keep.tolist())) == len(keep) == padded_size(len(left)) < len(flags)
    assert done[keep[len(left) :]].all()


@dataclass
class State:
    goal: Goal
    counts: torch.Tensor
    note: str | None = None


def test_take_and_put_reach_every_tensor():
    goal = Goal(torch.tensor([0, 1, 2]), loss="margin")
    state = State(goal, torch.tensor([[1.0], [2.0], [3.0]]), "text")
    rows = torch.tensor([2, 0])
    part = index_rows(state, rows)
    assert part.goal.y.tolist() == [2, 0]
    assert (part.goal.loss, part.goal.target, part.note) == ("margin", None, "text")
    part.counts = part.counts * 10
    whole = scatter_rows(state, rows, part)
    assert whole.counts.flatten().tolist() == [10, 2, 30]
    assert whole.goal.y.tolist() == [0, 1, 2]
    assert state.counts.flatten().tolist() == [1, 2, 3]  # as it was


def test_each_sample_keeps_what_it_had_when_it_left():
    """Eight samples count steps, sample i until it has i + 1."""
    active = ActiveSet(State(Goal(torch.arange(8)), torch.zeros(8)), torch.arange(8))
    sizes = []
    for _ in range(9):
        state = active.now
        sizes.append(len(active.rows))
        state.counts = torch.where(state.counts > state.goal.y, state.counts, state.counts + 1)
        active.drop(state.counts > state.goal.y)
    assert sizes == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert active.everything().counts.tolist() == list(range(1, 9))


def test_values_of_the_active_are_spread_over_all():
    active = ActiveSet(Goal(torch.arange(4)), torch.arange(4))
    assert active.spread(torch.arange(4.0), absent=-1).tolist() == [0, 1, 2, 3]
    active.drop(torch.tensor([True, False, True, False]))
    assert active.rows.tolist() == [1, 3]
    assert active.spread(torch.tensor([5.0, 6.0]), absent=-1).tolist() == [-1, 5, -1, 6]


@pytest.mark.parametrize("keep_first", [False, True])
def test_the_first_success_stays_if_asked(keep_first):
    x, goal = torch.zeros(1, 1, 1, 1), Goal(torch.tensor([0]), loss="margin")
    best = BestByLoss.start(x)
    seen = []
    for v in (-2.0, -1.0, 1.0, 3.0, torch.nan):
        logits = torch.tensor([[0.0, v]])
        best.update(x + v, goal, logits=logits, value=goal.objective(logits), keep_first=keep_first)
        seen.append(best.x_adv.item())
    last = 1.0 if keep_first else 3.0
    assert seen == [-2, -1, 1, last, last]
    assert best.finite.item() == keep_first  # a sample that has left is not looked at
