"""The Square Attack: where its squares lie, what they hold, and how many queries it takes."""

import pytest
import torch

from attacks import Square
from attacks.attack import lengths
from attacks.black_box import squares
from attacks.common.threat import Threat
from tests.slow_but import slow_but


def draws(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double()


def threat_around(*shape, norm, eps):
    return Threat.around(0.3 + 0.4 * draws(*shape, seed=9), norm=norm, eps=eps)


def test_the_squares_shrink_as_in_the_paper():
    """p = 0.8 is halved at 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000 queries."""
    x = torch.zeros(1, 3, 100, 100)
    halvings = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    for queries in (10_000, 5000):
        attack = Square(queries=queries)
        for number, halving in enumerate(halvings):
            last = halving * queries // 10_000  # with the area of before
            for query, halved in ((last, number), (last + 1, number + 1)):
                area = 0.8 / 2**halved * 100**2
                assert abs(attack.side(query, x) - area**0.5) <= 0.5
    assert Square(queries=100, shrink_over=10_000).side(99, x) == 45
    assert Square(queries=100).side(99, x) == 4
    small = torch.zeros(1, 3, 20, 20)
    assert Square(queries=100).side(99, small) == 1
    assert Square(queries=100, norm="l2").side(99, small) == 3  # odd, with room for two signs
    assert Square(p_init=1.0).side(1, torch.zeros(1, 1, 8, 20)) == 8


def test_a_square_may_lie_anywhere():
    x = torch.zeros(2000, 1, 4, 5)
    windows = squares.Windows.anywhere(x, size=2, numbers=draws(2000, 2).float())
    mask = windows.mask(x)
    assert mask.shape == (2000, 1, 4, 5)
    assert (mask.flatten(1).sum(1) == 4).all()
    corners = {(int(r.argmax()), int(c.argmax())) for r, c in zip(
        mask[:, 0].any(2).int(), mask[:, 0].any(1).int(), strict=True)}  # fmt: skip
    assert corners == {(row, column) for row in range(3) for column in range(4)}
    edge = squares.Windows.anywhere(x[:1], size=2, numbers=torch.full((1, 2), 1 - 2**-24))
    assert edge.mask(x[:1])[0, 0, 2:, 3:].all()


def test_a_window_shows_its_pattern_or_the_transposed():
    x = torch.zeros(2, 3, 5, 6)
    pattern = torch.arange(4.0).reshape(2, 2) + 1
    windows = squares.Windows.at(x, size=2, first=torch.tensor([[1.0, 3.0], [3.0, 0.0]]))
    shown = windows.fill(pattern, x, turned=torch.tensor([False, True]))
    assert shown.shape == (2, 1, 5, 6)
    assert shown[0, 0, 1:3, 3:5].tolist() == [[1, 2], [3, 4]]
    assert shown[1, 0, 3:5, 0:2].tolist() == [[1, 3], [2, 4]]
    assert shown.sum().item() == 20


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_a_bump_has_two_signs_and_length_one(size):
    bump = squares._bump(size, torch.zeros(1))
    torch.testing.assert_close(bump.norm().item(), 1.0)
    assert (bump[: size // 2] > 0).all()
    assert (bump[size // 2 :] < 0).all()
    if size == 5:  # the sum of 1 / (k + 1)^2 from the distance to the centre on, by hand
        edge, middle = 1 / 4 + 1 / 9, 1 + 1 / 4 + 1 / 9
        expected = torch.tensor([[1 / 9, edge, edge, edge, 1 / 9]] * 2)
        expected[1, 2] = middle
        torch.testing.assert_close(bump[:2] / bump[1, 2], expected / middle)


def test_linf_starts_with_stripes_and_then_paints_squares():
    threat = threat_around(3, 2, 6, 7, norm="linf", eps=0.1)
    delta = squares.start(threat, lambda n: draws(3, n)) - threat.x
    torch.testing.assert_close(delta.abs(), torch.full_like(delta, 0.1))
    assert (delta.sign() == delta.sign()[:, :, :1]).all()  # each column of one sign
    assert (delta.sign() != delta.sign()[..., :1]).any()
    numbers = draws(3, squares.PLACES + 2, seed=1)
    new = squares.proposal(threat, threat.x + delta, size=3, numbers=numbers) - threat.x
    inside = squares.Windows.anywhere(threat.x, size=3, numbers=numbers[:, :2]).mask(threat.x)
    torch.testing.assert_close(new.abs(), torch.full_like(new, 0.1))
    assert torch.equal(torch.where(inside, 0, new), torch.where(inside, 0, delta))
    within = new.sign() * inside
    for sample in within:
        for channel in sample:
            assert set(channel.unique().tolist()) in ({0.0, 1.0}, {0.0, -1.0})


@pytest.mark.parametrize("shape", [(4, 3, 9, 9), (4, 1, 12, 8), (4, 2, 3, 9, 9)])
@pytest.mark.parametrize(("norm", "eps"), [("l2", 1.0), ("l1", 3.0)])
def test_l2_and_l1_move_what_they_have_from_one_square_to_another(norm, eps, shape):
    threat = threat_around(*shape, norm=norm, eps=eps)
    x_adv = squares.start(threat, lambda n: draws(4, n))
    torch.testing.assert_close(lengths(x_adv - threat.x, norm), torch.full((4,), eps).double())
    for seed in range(5):
        numbers = draws(4, squares.PLACES + shape[1], seed=seed)
        new = squares.proposal(threat, x_adv, size=3, numbers=numbers)
        size = lengths(new - threat.x, norm)
        assert (size <= eps * (1 + 1e-9)).all()
        assert (size >= eps * 0.7).all()  # all is spent, but for what the range cuts off
        here, there = (
            squares.Windows.anywhere(threat.x, size=3, numbers=numbers[:, i : i + 2]).mask(x_adv)
            for i in (0, 2)
        )
        changed = (new != x_adv) & (here | there)
        assert changed.any()
        if norm == "l2":
            delta, gone = new - threat.x, there & ~here
            assert not delta[gone.expand_as(delta)].any()
            rest = (~(here | there)).expand_as(delta)
            torch.testing.assert_close(new[rest], x_adv[rest])
        x_adv = new


def test_the_frames_of_a_video_share_their_squares(net, batch):
    x, y = batch(2, dims=3, side=4)
    result = Square(eps=0.05, queries=6, early_stop=False)(net(dims=3, side=4), x * 0.8 + 0.1, y)
    torch.testing.assert_close(result.delta, result.delta[:, :, :1].expand_as(result.delta))


def test_it_needs_no_gradient(linear, batch):
    inner = linear(3, gain=0.3)

    def scores(x):
        return inner(x.detach()).round(decimals=3)

    model = torch.nn.Module()
    model.forward = scores
    x, _ = batch(12)
    y = inner(x).argmax(1)
    assert Square(eps=0.3, queries=100)(model, x, y).success.all()


def test_queries_of_a_sample_end_with_its_success(net, batch):
    """Which the history of margins shows, where no sample leaves."""
    x, _ = batch(8, dtype=torch.float64)
    model = net(dtype=torch.float64).eval()
    y = model(x).argmax(1)
    options = dict(eps=0.12, queries=40)
    result = Square(**options)(model, x, y)
    assert {True, False} == set(result.success.tolist())
    full = Square(early_stop=False, **options)(model, x, y)
    assert torch.equal(full.success, result.success)
    assert full.queries.tolist() == [40] * 8
    for row in range(8):
        found = (full.history[:, row] > 0).nonzero()
        expected = int(found[0]) + 1 if len(found) else 40
        assert result.queries[row] == expected


@pytest.mark.parametrize(
    ("norm", "eps"), slow_but([("linf", 0.02)], [("linf", 0.02), ("l2", 0.15)])
)
def test_it_comes_close_to_the_worst_case_of_a_linear_model(linear, batch, norm, eps):
    model, x = linear(2, gain=0.4, dtype=torch.float64), batch(4, dtype=torch.float64)[0]
    x = 0.25 + x / 2
    y = model(x).argmax(1)
    slope = model[1].weight.detach()
    slope = (slope[1 - y] - slope[y]).norm(1 if norm == "linf" else 2, dim=1)
    clean = model(x).detach()
    margin = clean.gather(1, 1 - y[:, None]) - clean.gather(1, y[:, None])
    gain = [
        (Square(norm=norm, eps=eps, queries=n, early_stop=False)(model, x, y).loss - margin[:, 0])
        / (eps * slope)
        for n in (100, 1500)
    ]
    assert (gain[1] > gain[0]).all()
    # The smallest squares in l2 are 3 pixels wide, too coarse for weights that are noise.
    assert (gain[1] > {"linf": 0.75, "l2": 0.5}[norm]).all(), gain
    assert (gain[1] <= 1 + 1e-9).all()


def test_history_is_the_best_loss_so_far(net, batch):
    x, y = batch()
    history = Square(eps=0.05, queries=30, early_stop=False)(net(), x, y).history
    assert history.shape == (30, 6)
    assert (history.diff(dim=0) >= 0).all()
    assert (history[-1] > history[0]).any()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("early_stop", [True, False])
def test_queries_made_ahead_change_nothing_but_the_number_of_passes(net, batch, norm, early_stop):
    x, _ = batch(6, dtype=torch.float64)
    model, passes = net(dtype=torch.float64).eval(), []
    y = model(x).argmax(1)
    eps = {"linf": 0.1, "l2": 0.8, "l1": 4.0}[norm]
    inner = model.forward

    def counted(x):
        passes.append(len(x))
        return inner(x)

    model.forward = counted
    results, seen = [], []
    for size in (1, 1000):  # no room for what lies ahead, and room for all of it
        attack = Square(norm, eps, queries=101, early_stop=early_stop, batch_size=size)
        results.append(attack(model, x, y, seed=2))
        seen.append(list(passes))
        passes.clear()
    one, ahead = results
    assert len(set(one.success.tolist())) == 2, "some resist"
    assert torch.equal(one.success, ahead.success)
    assert torch.equal(one.queries, ahead.queries)
    torch.testing.assert_close(one.x_adv, ahead.x_adv, rtol=0, atol=0)
    still = ~one.history.isnan() & ~ahead.history.isnan()
    torch.testing.assert_close(one.history[still], ahead.history[still])
    assert len(seen[1]) < 0.8 * len(seen[0]), "fewer passes"
    assert max(seen[1]) == 6 * 8 or early_stop


def test_a_model_that_breaks_ahead_is_reported_only_if_the_search_got_there(batch):
    """It breaks once something was kept; a pass ahead must not notice before."""
    x = batch(2, dtype=torch.float64)[0] * 0.2 + 0.4

    class Model(torch.nn.Module):
        def forward(self, x):
            lead = x[:, 0, 0, 0] - 0.45  # raised by a square there
            lead = lead.where(x[:, 1, 1, 1] < 0.55, torch.nan)
            return torch.stack([-lead, lead], 1)

    model = Model()
    y = torch.zeros(2, dtype=torch.int64)
    for early_stop in (True, False):
        one, ahead = (
            Square(eps=0.2, queries=64, early_stop=early_stop, batch_size=size)(model, x, y)
            for size in (1, 1000)
        )
        assert torch.equal(one.x_adv, ahead.x_adv)
        assert torch.equal(one.queries, ahead.queries)
        assert one.info == ahead.info


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(norm="L2"), "L2"),
        (dict(loss="MSE"), "MSE"),
        (dict(queries=0), "queries is 0"),
        (dict(p_init=0.0), "p_init is 0.0"),
        (dict(p_init=1.5), "p_init is 1.5"),
        (dict(shrink_over=0), "shrink_over is 0"),
        (dict(batch_size=0), "batch_size is 0"),
    ],
)
def test_impossible_options_are_refused_at_once(options, word):
    with pytest.raises(ValueError, match=word):
        Square(**options)
