"""Samples leave at their first success, and nothing else changes."""

import pytest
import torch

import attacks.common.active_set
from attacks import BIM, MIFGSM, PGD, LeastLikely

EXACT = dict(atol=1e-9, rtol=0)
MAKES = [
    lambda **o: PGD(eps=0.03, steps=20, restarts=2, **o),
    lambda **o: PGD(norm="l1", eps=2.0, steps=20, loss="dlr", **o),
    lambda **o: BIM(norm="l2", eps=0.4, steps=20, **o),
    lambda **o: MIFGSM(eps=0.03, steps=20, **o),
    lambda **o: LeastLikely(eps=0.22, steps=20, step_size=0.03, **o),
]
IDS = ["pgd", "pgd-l1", "bim-l2", "mifgsm", "least-likely"]


@pytest.fixture
def easy(net, batch):
    """A model, and samples it gets right, of which some are hard to fool."""
    model = net(dtype=torch.float64).eval()
    x, _ = batch(20, dtype=torch.float64)
    return model, x, model(x).argmax(1)


def rows_passed(attack, model, *args, **options):
    """The result, and how many samples all forward passes together were given."""
    sizes = []
    handle = model.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    result = attack(model, *args, **options)
    handle.remove()
    return result, sum(sizes)


@pytest.mark.parametrize("make", MAKES, ids=IDS)
def test_results_are_the_same_without_the_active_set(make, easy, monkeypatch):
    model, x, y = easy
    attack = make(early_stop=True)
    packed, rows = rows_passed(attack, model, x, y)
    monkeypatch.setattr(attacks.common.active_set, "unfinished_rows", lambda done: None)
    whole, all_rows = rows_passed(attack, model, x, y)
    assert 0 < packed.success.sum() < 20
    for name in ("x_adv", "loss", "history"):
        ours, theirs = getattr(packed, name), getattr(whole, name)
        torch.testing.assert_close(ours, theirs, equal_nan=True, **EXACT)
    assert torch.equal(packed.queries, whole.queries)
    assert rows < 0.9 * all_rows


@pytest.mark.parametrize("make", MAKES, ids=IDS)
def test_as_many_are_fooled_as_at_full_strength(make, easy):
    model, x, y = easy
    early, full = (make(early_stop=flag)(model, x, y) for flag in (True, False))
    assert torch.equal(early.success, full.success)
    never = ~early.success
    torch.testing.assert_close(early.x_adv[never], full.x_adv[never], **EXACT)
    assert (early.queries <= full.queries).all()
    assert torch.equal(early.queries[never], full.queries[never])


@pytest.mark.parametrize("make", MAKES, ids=IDS)
def test_queries_and_history_do_not_depend_on_the_batch(make, easy):
    model, x, y = easy
    ids = torch.arange(20)
    together = make(early_stop=True)(model, x, y, sample_ids=ids)
    for rows in (slice(0, 1), slice(1, 8), slice(8, 20)):
        part = make(early_stop=True)(model, x[rows], y[rows], sample_ids=ids[rows])
        assert torch.equal(part.queries, together.queries[rows])
        torch.testing.assert_close(part.history, together.history[:, rows], equal_nan=True, **EXACT)


def test_by_hand():
    """One pixel per sample, wrong above 0.5; steps of 0.1 from 0.6, 0.45, 0.25 and 0.05."""

    class Pixel(torch.nn.Module):
        def forward(self, x):
            v = x.flatten(1)[:, 0]
            return torch.stack([0.5 - v, v - 0.5], 1)

    x = torch.tensor([0.6, 0.45, 0.25, 0.05]).reshape(4, 1, 1, 1)
    y = torch.zeros(4, dtype=torch.int64)
    seen = []
    attack = BIM(eps=0.4, steps=4, loss="margin", early_stop=True)
    result = attack(Pixel(), x, y, progress=lambda *at: seen.append(at))
    assert result.success.tolist() == [True, True, True, False]
    assert result.x_adv.flatten().tolist() == pytest.approx([0.6, 0.55, 0.55, 0.45])
    assert result.queries.tolist() == [1, 2, 4, 5]
    assert result.loss.tolist() == pytest.approx([0.2, 0.1, 0.1, -0.1])
    expected = [
        [0.2, -0.1, -0.5, -0.9],
        [torch.nan, 0.1, -0.3, -0.7],
        [torch.nan, torch.nan, -0.1, -0.5],
        [torch.nan, torch.nan, 0.1, -0.3],
    ]
    torch.testing.assert_close(result.history, torch.tensor(expected), equal_nan=True)
    assert seen == [(i, 4) for i in (1, 2, 3, 4)]


def test_when_all_have_left_no_pass_is_made(easy):
    model, x, y = easy
    result, rows = rows_passed(PGD(early_stop=True, steps=20, restarts=3), model, x, (y + 1) % 4)
    assert result.success.all()
    assert result.queries.tolist() == [1] * 20
    look = 2 * 2  # two samples, as they are and in channels-last
    assert rows == look + 20 + 20  # one pass, and one of the clean samples for `already`
    assert result.history.shape == (60, 20)
    assert result.history[1:].isnan().all()
