"""APGD: its step sizes by hand, its targets, and what it finds beside PGD."""

import math

import pytest
import torch

from attacks import APGD, PGD
from attacks.attack import lengths
from attacks.common.threat import Threat
from attacks.gradient.step_size_schedule import HalvingSchedule, SparseSchedule


def threat_around(value, *, norm, eps, size=4, rows=1):
    x = torch.full((rows, 1, 1, size), value, dtype=torch.float64)
    return Threat.around(x, norm=norm, eps=eps)


def review(rule, threat, *, peak=None, share, new_peak):
    """What the rule says of samples with these shares of rising steps."""
    return rule.checkpoint(
        threat,
        peak=threat.x if peak is None else peak,
        rising_share=torch.tensor(share),
        new_peak=torch.tensor(new_peak, dtype=torch.bool),
    )


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 99, 100, 250])
def test_checkpoints_are_those_of_the_paper(steps):
    """Checkpoints w_j = ceil(p_j N), p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06)."""
    ours = HalvingSchedule.checkpoints(steps)
    assert sum(ours.values()) == max(ours, default=0) <= steps
    assert list(ours) == [sum(list(ours.values())[: i + 1]) for i in range(len(ours))]
    if steps % 100 == 0:
        p = [0.0, 0.22]
        while p[-1] < 1:
            p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
        assert list(ours) == [math.ceil(round(q * steps, 6)) for q in p[1:] if q <= 1]


def test_the_first_steps_by_hand():
    """From 0.5 with eps 0.1 in linf: across the ball, then three quarters of a step, a quarter
    of the last change."""
    threat = threat_around(0.5, norm="linf", eps=0.1, size=2)
    start = threat.x + torch.tensor([0.0, 0.05]).double()
    rule = HalvingSchedule.start(threat, start)
    assert rule.size.item() == 0.2
    up, down = (torch.tensor([[[[1.0, sign]]]]).double() for sign in (1.0, -1.0))
    first = rule.move(threat, start, up)
    torch.testing.assert_close(first.flatten().tolist(), [0.6, 0.6])
    second = rule.move(threat, first, down)
    # The second entry aims at 0.4: 0.75 * (0.4 - 0.6) + 0.25 * (0.6 - 0.55) from 0.6.
    torch.testing.assert_close(second.flatten().tolist(), [0.6, 0.4625])


def test_when_steps_are_halved():
    """Too few rises; or no new peak since the last review, which had not halved either."""
    threat = threat_around(0.5, norm="l2", eps=0.1, rows=5)
    rule = HalvingSchedule.start(threat, threat.x)
    first = review(rule, threat, share=[0.7, 0.75, 0.8, 0.8, 0.8], new_peak=[1, 1, 1, 0, 0])
    assert first.tolist() == [True, True, False, False, False]
    torch.testing.assert_close(rule.size.flatten().tolist(), [0.1, 0.1, 0.2, 0.2, 0.2])
    second = review(rule, threat, share=[0.8] * 5, new_peak=[0, 0, 0, 0, 1])
    assert second.tolist() == [False, False, True, True, False]
    torch.testing.assert_close(rule.size.flatten().tolist(), [0.1, 0.1, 0.1, 0.1, 0.2])


def test_how_steps_in_l1_get_sparser_and_shorter():
    threat = threat_around(0.5, norm="l1", eps=0.6, rows=3, size=100)
    start = threat.x.clone()
    start[..., :30] += 0.01
    rule = SparseSchedule.start(threat, start)
    assert rule.changed.tolist() == [30, 30, 30]
    peak = threat.x.clone()
    for row, count in enumerate((28, 29, 60)):  # 28 is below 95 % of 30, 29 is not
        peak[row, ..., :count] += 0.01
    back = review(rule, threat, peak=peak, share=[0.0] * 3, new_peak=[1, 1, 1])
    assert back.tolist() == [True, False, False]
    torch.testing.assert_close(rule.size.flatten().tolist(), [0.6, 0.4, 0.4])
    for _ in range(9):
        review(rule, threat, peak=peak, share=[0.0] * 3, new_peak=[1, 1, 1])
    torch.testing.assert_close(rule.size.flatten().tolist(), [0.06, 0.06, 0.06])
    # The next step shares its length between 28 / 1.5 = 18 of the entries, the largest.
    gradient = torch.arange(300.0).reshape(3, 1, 1, 100).double()
    moved = rule.move(threat, threat.x, gradient) - threat.x
    assert (moved[0].flatten() > 0).nonzero().flatten().tolist() == list(range(82, 100))
    torch.testing.assert_close(moved[0].max().item(), 0.06 / 18)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_finds_a_peak_that_pgd_with_steps_as_long_passes_over(norm):
    """The loss is highest between the centre and the edge of the ball."""

    class Hill(torch.nn.Module):
        def forward(self, x):
            off = (x - 0.5).flatten(1)
            height = -(off - 0.013).square().sum(1) * 1e3  # (B,)
            return torch.stack([-height, height], 1)

    x, y = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    best = APGD(norm=norm, eps=0.1, steps=100, loss="margin")(Hill(), x, y)
    torch.testing.assert_close(best.x_adv, x + 0.013, atol=2e-3, rtol=0)
    rough = PGD(norm=norm, eps=0.1, steps=100, step_size=0.2, loss="margin")(Hill(), x, y)
    assert (rough.x_adv - x - 0.013).abs().max() > 4e-3


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.15), ("l1", 1.0)])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_it_climbs_at_least_as_high_as_pgd(net, batch, norm, eps, loss):
    x, _ = batch(48, dtype=torch.float64)
    model = net(dtype=torch.float64).eval()
    y = model(x).argmax(1)
    ours = APGD(norm=norm, eps=eps, steps=40, loss=loss)(model, x, y)
    theirs = PGD(norm=norm, eps=eps, steps=40, loss=loss)(model, x, y)
    assert ours.success.sum() >= theirs.success.sum()
    alike = ours.success == theirs.success
    assert ours.loss[alike].mean() >= theirs.loss[alike].mean() - 1e-3


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_early_stop_changes_no_success(net, batch, norm):
    x, _ = batch(24, dtype=torch.float64)
    model = net(dtype=torch.float64).eval()
    y, eps = model(x).argmax(1), {"linf": 0.03, "l2": 0.25, "l1": 2.0}[norm]
    options = dict(norm=norm, eps=eps, steps=12, restarts=2)
    full, early = (APGD(early_stop=e, **options)(model, x, y) for e in (False, True))
    assert {True, False} == set(full.success.tolist())
    assert torch.equal(early.success, full.success)
    assert (early.queries < full.queries).tolist() == full.success.tolist()
    resisted = ~full.success
    torch.testing.assert_close(early.x_adv[resisted], full.x_adv[resisted], atol=1e-9, rtol=0)
    assert early.history[-1].isnan().tolist() == full.success.tolist()


def test_targets_are_the_likeliest_wrong_classes_and_any_wrong_answer_counts(net, batch):
    x, _ = batch(16, classes=5, dtype=torch.float64)
    model = net(5, dtype=torch.float64).eval()
    logits = model(x)
    y = logits.argmax(1)
    two = APGD(eps=0.05, steps=5, loss="dlr", targets=2)(model, x, y)
    assert two.history.shape == (10, 16)
    assert torch.equal(two.success, model(two.x_adv).argmax(1) != y)
    # The first climb is the one to the second best class; from the same start, the same loss.
    second = logits.topk(2, 1).indices[:, 1]
    aimed = APGD(eps=0.05, steps=5, loss="ce")(model, x, y, target=second)
    two_ce = APGD(eps=0.05, steps=5, loss="ce", targets=2)(model, x, y)
    torch.testing.assert_close(two_ce.history[:5], aimed.history)
    assert two_ce.queries.tolist() == [13] * 16
    assert APGD(steps=1, targets=9)(model, x, y).history.shape == (4, 16)  # there are no more


def test_a_given_target_is_the_only_one(net, batch, same):
    x, y = batch()
    target = (y + 1) % 4
    runs = [APGD(steps=4, targets=n)(net(), x, y, target=target) for n in (0, 3)]
    assert same(*runs)


def test_restarts_never_hurt(net, batch):
    x, y = batch(12)
    one = APGD(eps=0.02, steps=3)(net(), x, y)
    many = APGD(eps=0.02, steps=3, restarts=3)(net(), x, y)
    assert torch.equal(many.history[:3], one.history)
    assert (many.success | ~one.success).all()
    alike = many.success == one.success
    assert (many.loss[alike] >= one.loss[alike]).all()
    assert (many.loss > one.loss).any()


def test_in_l1_it_begins_in_wider_balls(batch):
    """A model that writes down how far from x it was asked to look."""
    x, y = batch(3, classes=3, dtype=torch.float64)
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, points):
            if len(points) == 3:  # not the check for a random model
                seen.append(lengths(points.detach() - x, "l1").amax().item())
            return points.flatten(1)[:, :3] - points.flatten(1).mean(1, keepdim=True)

    result = APGD(norm="l1", eps=2.0, steps=10)(Watched(), x, y)
    assert result.queries.tolist() == [13] * 3  # 3 + 3 + 4 steps, and a look at each start
    for passes, radius in ((seen[:4], 6.0), (seen[4:8], 4.0), (seen[8:], 2.0)):
        assert radius - 0.1 < max(passes) <= radius + 1e-9


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(norm="L2"), "L2"),
        (dict(loss="CE"), "CE"),
        (dict(steps=0), "steps is 0; give a whole number >= 1"),
        (dict(restarts=0), "restarts is 0; give a whole number >= 1"),
        (dict(targets=-1), "targets is -1"),
    ],
)
def test_impossible_options_are_refused_at_once(options, word):
    with pytest.raises(ValueError, match=word):
        APGD(**options)
