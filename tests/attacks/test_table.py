"""What every attack must do: each test runs on each row of the table in conftest.py."""

import dataclasses

import numpy as np
import pytest
import torch

from attacks import ATTACKS
from trainers.evaluate.budgets import budget_of

ROUNDED = dict(atol=1e-6, rtol=1e-5)  # of sums in another order
EXACT = dict(atol=1e-9, rtol=0)  # of float64 runs that differ in their batch alone


def test_every_attack_has_a_row(cases):
    assert {case.name for case in cases} == set(ATTACKS)


def test_the_budget_is_known_to_who_measures(ball_case):
    attack = ball_case.attack(eps=0.3)
    budget = budget_of(attack)
    assert (budget.norm, budget.eps) == (ball_case.norm, 0.3)


def test_options_are_frozen(case):
    attack = case.attack()
    name = dataclasses.fields(attack)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(attack, name, None)


def test_ball_range_shape_dtype_device(case, net, batch):
    x, y = batch()
    x[0], x[1] = 0, 1
    changes = {"eps": torch.tensor([0.0, 1e-9, 1e-3, 0.05, 0.3, 2.0])} if case.norm else {}
    result = case.attack(**changes)(net(), x, y)
    assert torch.equal(result.x, x)
    assert result.x_adv.shape == x.shape
    assert (result.x_adv.dtype, result.x_adv.device) == (x.dtype, x.device)
    assert torch.isfinite(result.x_adv).all()
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    assert torch.equal(result.delta, result.x_adv - x)
    assert not result.x_adv.requires_grad
    assert "warnings" not in result.info
    if case.norm:
        size = (result.x_adv.double() - x.double()).flatten(1)
        size = size.norm({"linf": torch.inf, "l2": 2, "l1": 1}[case.norm], dim=1)
        assert (size <= changes["eps"].double() * (1 + 1e-5)).all()
        used = (size[3:] >= changes["eps"][3:] * 0.5).sum()
        assert case.leaves or used >= 2  # by those, too, that do not stop at the first success


def test_result_fields_have_one_entry_a_sample(case, net, batch):
    x, y = batch()
    result = case.attack()(net(), x, y)
    for name, dtype in {"success": torch.bool, "queries": torch.int64, "loss": x.dtype}.items():
        value = getattr(result, name)
        assert (value.shape, value.dtype) == (y.shape, dtype), name
    assert result.history is None or result.history.shape[1:] == y.shape
    flat = result.delta.double().flatten(1)  # a float32 sum of equal values drifts
    for name, order in {"linf": torch.inf, "l2": 2, "l1": 1}.items():
        norm = flat.norm(order, dim=1).to(x.dtype)
        torch.testing.assert_close(getattr(result, name), norm, **ROUNDED)


def test_float64_is_kept(case, net, batch):
    x, y = batch(dtype=torch.float64)
    result = case.attack()(net(dtype=torch.float64), x, y)
    assert result.x_adv.dtype == result.loss.dtype == torch.float64


def test_eps_zero_is_the_identity(ball_case, net, batch):
    x, y = batch()
    result = ball_case.attack(eps=0.0)(net(), x, y)
    assert torch.equal(result.x_adv, x)
    predicted = net().eval()(x).argmax(1)
    assert torch.equal(result.success, predicted != y)


def test_pixels_within_the_tolerance_of_the_range_end_inside_it(case, net, batch):
    x, y = batch()
    x[0], x[1] = 1 + 5e-5, -5e-5
    changes = {"eps": 0.0} if case.norm else {}
    result = case.attack(**changes)(net(), x, y)
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    torch.testing.assert_close(result.x, x, atol=6e-5, rtol=0)
    if case.norm:
        assert not result.linf.any()


def test_success_equals_an_independent_evaluation(case, net, batch):
    x, y = batch(48)
    goals, model = [], net().eval()
    for target in (None, (y + 1) % 4)[case.needs_target :]:
        result = case.attack()(net(), x, y, target=target)
        with torch.no_grad():
            predicted = model(result.x_adv).argmax(1)
        assert torch.equal(
            result.success, predicted != y if target is None else predicted == target
        )
        goals.append(result.success)
    assert {True, False} == set(torch.cat(goals).tolist())  # else this would compare nothing


def test_queries_count_the_forward_passes(case, net, batch):
    x, y = batch()
    model, seen = net(), []
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    result = case.attack()(model, x, y)
    handle.remove()
    if case.leaves:
        assert sum(map(len, seen)) / len(x) >= result.queries.double().mean() >= 1
    else:  # the check for a random model, on two samples, is not counted
        whole = [torch.equal(given, x) for given in seen if len(given) == len(x)]
        # Nor is a pass of x, for `already`, where the attack itself begins elsewhere.
        not_counted = len(whole) - int(result.queries[0])
        assert not_counted in (0, min(1, sum(whole)))
        assert result.queries.tolist() == [len(whole) - not_counted] * len(x)


@pytest.mark.parametrize("classes", [2, 5])
def test_untargeted_changes_the_answer(case, linear, batch, classes):
    model = linear(classes, gain=0.3)
    x, _ = batch(12)
    y = model(x).argmax(1)
    result = case.strongest()(model, x, y)
    assert result.success.tolist() == [not case.confirms] * 12
    assert torch.equal(model(result.x_adv).argmax(1) != y, result.success)


@pytest.mark.parametrize("classes", [2, 5])
def test_targeted_reaches_the_target(case, linear, batch, classes):
    model = linear(classes, gain=0.3)
    x, _ = batch(12)
    y = model(x).argmax(1)
    target = (y + torch.arange(12) % (classes - 1) + 1) % classes
    result = case.strongest()(model, x, y, target=target)
    assert result.success.all()
    assert torch.equal(model(result.x_adv).argmax(1), target)


def test_the_label_of_a_targeted_attack_does_not_matter(case, net, batch, same):
    x, y = batch()
    target = (y + 1) % 4
    runs = [case.attack()(net(), x, label, target=target) for label in (y, (y + 2) % 4)]
    assert same(*runs)


def test_two_classes(case, net, batch):
    x, y = batch(classes=2)
    result = case.attack()(net(2), x, y)
    assert torch.isfinite(result.loss).all()
    assert result.linf.max() > 0


@pytest.mark.parametrize("shift", [-100.0, 100.0])
def test_only_differences_of_logits_matter(case, net, batch, shift):
    x, y = batch(dtype=torch.float64)
    model = net(dtype=torch.float64)
    plain = case.attack()(model, x, y)
    model.shift = shift
    assert model.eval()(x).sign().unique().tolist() == [np.sign(shift)]
    shifted = case.attack()(model, x, y)
    torch.testing.assert_close(shifted.x_adv, plain.x_adv, atol=1e-7, rtol=0)
    torch.testing.assert_close(shifted.loss, plain.loss, atol=1e-7, rtol=0)


def test_pixels_at_zero_and_one_can_move(case, linear, batch):
    x = batch()[0].round()
    model = linear(3, gain=0.3)
    y = model(x).argmax(1)
    target = (y + 1) % 3 if case.confirms else None
    result = case.strongest()(model, x, y, target=target)
    assert result.success.all()
    for end in (0, 1):
        assert result.delta[x == end].abs().max() > 1e-3


def test_samples_with_nan_count_as_not_fooled(case, net, batch, nan_below):
    if case.needs_target:
        pytest.skip("begins at noise, whatever x is")
    x, y = batch(dtype=torch.float64)
    x[[1, 4]] *= 0.1
    model = net(dtype=torch.float64)
    y = (model.eval()(x).argmax(1) + 1) % 4  # wrong labels: all but the broken are fooled
    result = case.attack()(nan_below(model), x, y)
    assert result.success.tolist() == [True, False, True, True, False, True]
    (warning,) = result.info["warnings"]
    assert "2 of 6 samples" in warning
    assert result.loss.isnan().tolist() == [False, True, False, False, True, False]
    assert torch.isfinite(result.x_adv).all()
    whole = torch.tensor([0, 2, 3, 5])
    others = case.attack()(model, x[whole], y[whole])
    torch.testing.assert_close(result.x_adv[whole], others.x_adv, **EXACT)


def test_a_target_is_not_reached_by_nan(case, net, batch, nan_below):
    x, y = batch()
    result = case.attack()(nan_below(net(), level=2.0), x, y, target=torch.zeros_like(y))
    assert not result.success.any()
    assert result.loss.isnan().all()
    if case.options.get("space") != "paper" and not case.needs_target:  # they begin elsewhere
        assert torch.equal(result.x_adv, x)


def test_infinite_logits_count_as_not_fooled(case, net, batch):
    class Infinite(torch.nn.Module):
        def forward(self, x):
            rows = x.flatten(1)[:, :3]
            return torch.stack([rows[:, 0], rows[:, 1] / 0, rows[:, 2]], 1)

    x, _ = batch()
    for target in (None, torch.ones(6, dtype=torch.int64)):
        result = case.attack()(Infinite(), x, torch.zeros(6, dtype=torch.int64), target=target)
        assert not result.success.any()
        assert torch.isfinite(result.x_adv).all()
        assert result.loss.isnan().all()
        assert "6 of 6 samples" in result.info["warnings"][0]


def test_a_class_ruled_out_by_minus_infinity_gives_no_loss(ball_case, net, batch):
    class Banned(torch.nn.Module):
        def forward(self, x):
            return net()(x).index_fill(1, torch.tensor([2]), -torch.inf)

    x, _ = batch()
    y = torch.full((6,), 2)
    for label, target in ((y, None), (y - 1, y)):  # a cross-entropy of inf either way
        result = ball_case.attack()(Banned(), x, label, target=target)
        assert not result.success.any()
        assert result.loss.isnan().all()


@pytest.mark.parametrize("channels", [1, 3])
def test_videos(case, net, batch, channels):
    x, _ = batch(3, dims=3, channels=channels, side=4)
    model = net(dims=3, channels=channels, side=4).eval()
    result = case.strongest()(model, x, model(x).argmax(1))
    assert result.x_adv.shape == (3, channels, 4, 4, 4)
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    assert (result.linf > 0).any()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_model_may_view_its_input(case, net, batch, dims):
    if case.video and dims == 2:
        pytest.skip("takes videos alone")

    class Views(torch.nn.Module):
        def forward(self, x):
            return net(dims=dims, side=4).eval()(x.view(len(x), -1).view(x.shape))

    x, y = batch(3, dims=dims, side=4)
    assert case.attack()(Views(), x, y).x_adv.is_contiguous()


def test_batch_of_one_in_any_memory_layout(case, net, batch):
    x, y = batch(1)
    plain = case.attack()(net(), x, y)
    last = torch.channels_last_3d if case.video else torch.channels_last
    strided = case.attack()(net(), x.to(memory_format=last), y)
    assert plain.x_adv.shape == x.shape
    torch.testing.assert_close(strided.x_adv, plain.x_adv, atol=1e-4, rtol=0)


def test_progress_counts_to_the_end(case, net, batch):
    x, y = batch()
    seen = []
    case.attack()(net(), x, y, progress=lambda done, total: seen.append((done, total)))
    total = seen[-1][1]
    done = [at for at, of in seen if of == total]
    assert len(done) == len(seen)
    assert done == sorted(set(done))
    assert done[-1] == total
