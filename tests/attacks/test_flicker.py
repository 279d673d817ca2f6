"""Flicker: the pattern, what it costs, and closed forms on linear classifiers of videos."""

import numpy as np
import pytest
import torch
from torch import nn

import attacks.common.active_set
from attacks import Flicker
from attacks.common.goal import Goal
from attacks.common.optimizers import Adam
from attacks.video.flicker_loss import (
    add_pattern,
    bounded_margin,
    cost_and_slope,
    roughness,
    shift_pattern,
    thickness,
)

EXACT = dict(atol=1e-9, rtol=0)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture
def sample_dims():
    return 3


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_the_cost_against_loops(frames):
    """In the paper's units, twice ours: beta1 / (3T) |d|^2 and so on, frame T before frame 1."""
    pattern, beta1, beta2 = drawn(3, 3, frames, 1, 1), 0.3, 0.7
    cost, _ = cost_and_slope(pattern, beta1=beta1, beta2=beta2)
    for row, value in zip(2 * pattern.numpy()[..., 0, 0], cost, strict=True):
        total = 0.0
        for c in range(3):
            for t in range(frames):
                before, here, after = row[c, t - 1], row[c, t], row[c, (t + 1) % frames]
                total += beta1 * here**2
                total += beta2 * ((here - before) ** 2 + (before - 2 * here + after) ** 2)
        assert value.item() == pytest.approx(total / (3 * frames))


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_the_slope_of_the_cost(frames):
    pattern = drawn(2, 3, frames, 1, 1).requires_grad_()

    def cost(p):
        d = 2 * p
        second = d.roll(1, 2) - 2 * d + d.roll(-1, 2)
        per_value = 0.3 * d**2 + 0.7 * ((d.roll(1, 2) - d) ** 2 + second**2)
        return per_value.flatten(1).mean(1)

    (expected,) = torch.autograd.grad(cost(pattern).sum(), pattern)
    _, slope = cost_and_slope(pattern.detach(), beta1=0.3, beta2=0.7)
    torch.testing.assert_close(slope, expected)


def test_thickness_and_roughness_by_hand():
    pattern = torch.tensor([[0.1, -0.1, 0.0, 0.2], [0.0, 0.0, 0.0, 0.0]]).reshape(1, 2, 4, 1, 1)
    assert thickness(pattern).item() == pytest.approx(100 * 0.4 / 8)
    assert roughness(pattern).item() == pytest.approx(100 * (0.1 + 0.2 + 0.1 + 0.2) / 8)


def test_adam_is_the_one_of_torch():
    gradients, weight = drawn(30, 4, 3), nn.Parameter(torch.zeros(4, 3).double())
    theirs, ours = torch.optim.Adam([weight], lr=0.01), torch.zeros(4, 3).double()
    adam = Adam.like(ours)
    for number, gradient in enumerate(gradients, 1):
        weight.grad = gradient
        theirs.step()
        ours = ours - adam.step(gradient, number=number, lr=0.01)
    torch.testing.assert_close(ours, weight.detach())


def test_rolling_moves_each_clip_by_its_own_shift_and_back():
    pattern, shifts = drawn(4, 3, 5, 1, 1), torch.tensor([0, 1, 4, -2])
    moved = shift_pattern(pattern, shifts)
    for row in range(4):
        assert torch.equal(moved[row], pattern[row].roll(int(shifts[row]), 1))
    assert torch.equal(shift_pattern(moved, -shifts), pattern)
    assert torch.equal(shift_pattern(pattern[:1], shifts)[2], pattern[0].roll(4, 1))


def test_pixels_at_the_ends_follow_until_they_are_cut_off():
    x = torch.tensor([0.0, 1.0, 0.5]).reshape(1, 1, 1, 1, 3)
    for value, expected in ((0.0, [1, 1, 1]), (0.1, [1, 0, 1]), (-0.1, [0, 1, 1])):
        _, pass_mask = add_pattern(x, torch.full((1, 1, 1, 1, 1), value))
        assert pass_mask.flatten().tolist() == expected


def test_all_pixels_of_a_frame_get_one_value(net, batch):
    model, (x, y) = net(dtype=torch.float64), batch(dtype=torch.float64)
    x = 0.4 + 0.2 * x
    result = Flicker(eps=0.3, steps=30, lr=0.02)(model, x, y)
    pattern = result.info["pattern"]
    assert pattern.shape == (6, 3, 6)
    assert pattern.unique().numel() > 30
    whole = pattern[..., None, None].expand_as(x)
    torch.testing.assert_close(result.delta, whole, atol=1e-15, rtol=0)
    for name in ("thickness", "roughness"):  # nothing was clipped
        torch.testing.assert_close(result.info[name], result.info[f"{name}_clipped"])
    loops = [100 * np.abs(p - np.roll(p, 1, 1)).mean() for p in pattern.numpy()]
    assert result.info["roughness"].tolist() == pytest.approx(loops)
    assert result.info["thickness"].tolist() == pytest.approx(
        [100 * np.abs(p).mean() for p in pattern.numpy()]
    )


def test_clipping_shows_in_what_is_reported(net, batch):
    x, y = batch()
    result = Flicker(eps=0.5, steps=20, lr=0.05)(net(), x.round(), y)
    moved = result.info["thickness"] > 0
    assert moved.any()
    clipped = result.info["thickness_clipped"][moved]
    assert (clipped < 0.8 * result.info["thickness"][moved]).all()
    size = 100 * result.delta.abs().flatten(1).mean(1)
    torch.testing.assert_close(result.info["thickness_clipped"], size)


def linear_of_means(*, frames=4, seed=3, gain=4.0):
    """A two-class linear video model in float64, and how its lead moves with a pattern (C, T)."""
    weight = gain * drawn(3, frames, 5, 5, seed=seed) / 25
    layer = nn.Linear(weight.numel(), 2).double()
    with torch.no_grad():
        layer.weight[0], layer.weight[1] = weight.flatten() / 2, -weight.flatten() / 2
        layer.bias.copy_(-0.5 * layer.weight.sum(1))
    return nn.Sequential(nn.Flatten(), layer), weight.sum((2, 3))


@pytest.mark.parametrize("space", ["prob", "logit"])
def test_it_comes_near_the_thinnest_pattern_that_flips_a_linear_model(space):
    """The lead falls by <slope, pattern>; the l2-smallest pattern lies along the slope."""
    model, slope = linear_of_means()
    x = 0.5 + 0.05 * drawn(8, 3, 4, 5, 5, seed=5)
    logits = model(x)
    y, lead = logits.argmax(1), (logits[:, 0] - logits[:, 1]).abs().detach()
    attack = Flicker(
        space=space, eps=1.0, beta1=1.0, beta2=0.0, lam=10.0, margin=1e-3, steps=400, lr=2e-3
    )
    result = attack(model, x, y)
    assert result.success.all()
    size = result.info["pattern"].flatten(1).norm(dim=1)
    exact = lead / slope.norm()
    assert (size >= exact * (1 - 1e-6)).all()
    assert (size <= exact * 1.1 + 0.003).all()
    direction = result.info["pattern"].flatten(1) / size[:, None]
    assert ((direction @ slope.flatten()).abs() / slope.norm() > 0.9).all()


def test_a_rough_pattern_costs_by_beta2_a_thick_one_by_beta1():
    """The paper's trade-off, in both columns."""
    model, _ = linear_of_means(frames=6)
    x = 0.5 + 0.05 * drawn(8, 3, 6, 5, 5, seed=5)
    y = model(x).argmax(1)
    thick, rough = (
        Flicker(eps=1.0, lam=10.0, beta1=b1, beta2=1 - b1, margin=1e-3, steps=300)(model, x, y)
        for b1 in (0.0, 1.0)
    )
    assert thick.success.all()
    assert rough.success.all()
    assert thick.info["roughness"].mean() < 0.8 * rough.info["roughness"].mean()
    assert thick.info["thickness"].mean() > 1.1 * rough.info["thickness"].mean()


def test_pressed_at_successes_alone_it_ends_thinner_and_fools_as_soon():
    model, slope = linear_of_means()
    x = 0.5 + 0.05 * drawn(8, 3, 4, 5, 5, seed=5)
    logits = model(x)
    plain, pressed = (
        Flicker(eps=1.0, beta1=1.0, beta2=0.0, press=press)(model, x, logits.argmax(1))
        for press in (1.0, 30.0)
    )
    assert torch.equal(plain.info["first_success"], pressed.info["first_success"])
    assert plain.success.all()
    assert pressed.success.all()
    exact = (logits[:, 0] - logits[:, 1]).abs().detach() / slope.norm()
    far = exact > 0.05  # many steps away
    assert far.any()
    excess = [r.info["pattern"].flatten(1).norm(dim=1) / exact - 1 for r in (plain, pressed)]
    assert (excess[1] > -1e-6).all()
    assert excess[1][far].mean() < 0.5 * excess[0][far].mean()
    before = int(plain.info["first_success"].min()) + 1
    assert torch.equal(plain.history[:before], pressed.history[:before])


@pytest.mark.parametrize("press", [1.0, 7.0])
def test_a_single_run_is_that_of_torchs_adam_on_the_objective(press):
    """Step by step by torch's own Adam; where the goal is met the cost weighs `press` times."""
    model, _ = linear_of_means()
    x = 0.5 + 0.02 * drawn(1, 3, 4, 5, 5, seed=6)
    y = model(x).argmax(1)
    attack = Flicker(eps=1.0, steps=60, press=press, lam=3.0)
    pattern = nn.Parameter(torch.zeros(1, 3, 4, 1, 1).double())
    adam, history, met = torch.optim.Adam([pattern], lr=1.0), [], []
    for step in range(60):
        adam.param_groups[0]["lr"] = attack.rate(step / 60)
        logits = model(x + pattern)
        d = 2 * pattern
        second = d.roll(1, 2) - 2 * d + d.roll(-1, 2)
        cost = 3 * 0.5 * (d**2 + (d - d.roll(1, 2)) ** 2 + second**2).mean()
        miss = bounded_margin(logits, Goal(y), space="logit", margin=0.05).sum()
        history.append((cost + miss).item())
        met.append(bool((logits.argmax(1) != y).item()))
        (pattern.grad,) = torch.autograd.grad(miss + (press if met[-1] else 1) * cost, pattern)
        adam.step()
    assert True in met
    assert attack(model, x, y).history[:, 0].tolist() == pytest.approx(history, abs=1e-6)


@pytest.mark.parametrize("early_stop", [False, True])
def test_one_clip_a_run_gives_the_same(net, batch, early_stop):
    model, (x, y) = net(dtype=torch.float64), batch(dtype=torch.float64)
    attack = Flicker(eps=0.2, steps=25, lr=0.01, early_stop=early_stop)
    whole = attack(model, x, y)
    for i in range(6):
        alone = attack(model, x[i : i + 1], y[i : i + 1])
        for name in ("x_adv", "loss", "queries"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(whole, name)[i], **EXACT)
        torch.testing.assert_close(
            alone.history[:, 0], whole.history[:, i], equal_nan=True, **EXACT
        )
        for name in ("pattern", "first_success", "thickness"):
            torch.testing.assert_close(alone.info[name][0], whole.info[name][i], **EXACT)


@pytest.fixture
def mixed(net, batch):
    """A model, and clips of which some are wrong, some are right, and some are hard to fool."""
    model, (x, y) = net(dtype=torch.float64).eval(), batch(16, dtype=torch.float64)
    y[4:] = model(x[4:]).argmax(1)
    return model, x, y


@pytest.mark.parametrize("early_stop", [False, True])
def test_clips_that_are_done_leave_and_nothing_else_changes(mixed, early_stop, monkeypatch):
    model, x, y = mixed
    attack = Flicker(eps=0.05, steps=20, lr=0.01, early_stop=early_stop)
    sizes = []
    handle = model.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    packed = attack(model, x, y)
    handle.remove()
    monkeypatch.setattr(attacks.common.active_set, "unfinished_rows", lambda done: None)
    whole = attack(model, x, y)
    for name in ("x_adv", "loss", "history", "queries"):
        ours, theirs = getattr(packed, name), getattr(whole, name)
        torch.testing.assert_close(ours, theirs, equal_nan=True, **EXACT)
    first = packed.info["first_success"]
    right = model(x).argmax(1) == y
    assert torch.equal(first == 0, ~right)
    assert 0 < packed.success.sum() < 16
    assert torch.equal(first >= 0, packed.success)
    assert not packed.delta[first == 0].any()
    assert min(sizes) < 16
    left = (first >= 0) if early_stop else (first == 0)
    assert torch.equal(packed.queries == 21, ~left | (first == 19))  # the cap, and a last look
    assert (packed.queries <= 21).all()
    if early_stop:
        assert torch.equal(packed.queries[left], first[left] + 2)


def test_the_first_success_is_kept_only_when_asked_for(mixed):
    model, x, y = mixed
    early, full = (
        Flicker(eps=0.3, steps=60, lr=0.01, early_stop=flag)(model, x, y) for flag in (True, False)
    )
    assert torch.equal(early.success, full.success)
    assert torch.equal(early.info["first_success"], full.info["first_success"])
    both = early.success & (early.info["first_success"] > 0)
    costs = [
        cost_and_slope(r.info["pattern"][both][..., None, None], beta1=0.5, beta2=0.5)[0]
        for r in (early, full)
    ]
    assert (costs[1] <= costs[0] + 1e-12).all()
    assert costs[1].mean() < 0.9 * costs[0].mean()


def test_no_value_goes_where_no_pixel_can_follow(net, batch):
    model, (x, y) = net(), batch()
    x[:, 0] = x[:, 0] * 0.02  # a dark channel: it cannot get darker by more than 0.02
    x[:, 1] = 1  # a white one: no brighter
    result = Flicker(eps=0.4, steps=40, lr=0.05)(model, x, y)
    pattern = result.info["pattern"]
    assert pattern[:, 0].min() >= -0.0201
    assert pattern[:, 1].max() <= 0
    assert pattern[:, 0].max() > 0.05
    assert pattern[:, 1].min() < -0.05


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(space="score"), "space is 'score'; give one of 'prob', 'logit'"),
        (dict(steps=0), "steps is 0"),
        (dict(lr=0.0), "lr is 0.0"),
        (dict(margin=1.0), r"margin is 1.0; give a number in \(0, 1\)"),
        (dict(lam=-1.0), "lam is -1.0"),
        (dict(press=0.5), "press is 0.5"),
        (dict(beta1=-0.1), "beta1 is -0.1"),
        (dict(beta2=torch.inf), "beta2 is inf"),
    ],
)
def test_impossible_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        Flicker(**options)
