"""Universal perturbations: exact on linear classifiers, and the table of transfers."""

import math

import pytest
import torch

from attacks import Perturbation, UniversalPerturbation, transfer_matrix
from attacks.universal.perturbation import _broadcasts

DUAL = {"linf": 1, "l2": 2}
NUMBER = {"linf": torch.inf, "l2": 2, "l1": 1}


@pytest.fixture
def one_side(linear):
    """A two-class linear model, and samples that it gives one class, far from 0 and 1."""
    model = linear(2, gain=0.1, dtype=torch.float64)
    x = 0.5 + 0.02 * torch.rand(40, 3, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    slope = model[1].weight[0] - model[1].weight[1]  # (D,)
    x = x + 0.02 * slope.sign().reshape(3, 6, 6)
    lead = model(x)[:, 0] - model(x)[:, 1]
    assert (lead > 0).all()
    return model, x, lead.detach(), slope.detach()


def batches(x, size=16):
    return [(part, torch.zeros(len(part), dtype=torch.int64)) for part in x.split(size)]


def test_deepfool_goes_just_as_far_as_the_farthest_sample_needs(one_side):
    """All samples lie on one side: each adds what it lacks, along one direction."""
    model, x, lead, slope = one_side
    options = UniversalPerturbation(norm="l2", eps=9.0, solver="deepfool", target_rate=1.0)
    found = options.fit(model, batches(x))
    needed = lead.max() / slope.norm()
    assert needed <= found.delta.norm() <= 1.05 * needed
    direction = -slope / slope.norm()
    torch.testing.assert_close(found.delta.flatten() / found.delta.norm(), direction)
    assert [record["fooling_rate"] for record in found.history] == [1.0]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_one_sample_takes_a_tenth_of_the_balls_l2_radius_at_most(one_side, norm):
    model, x, lead, slope = one_side
    needed = float(lead[0] / slope.norm())
    for radius, length in ((5 * needed, 0.5 * needed), (15 * needed, needed)):
        eps = radius / math.sqrt(108) if norm == "linf" else radius
        make = UniversalPerturbation(norm, eps, solver="deepfool", target_rate=1.0, passes=1)
        moved = make.fit(model, batches(x[:1])).delta.norm()
        assert length * 0.99 <= moved <= length * 1.05


@pytest.mark.parametrize("solver", ["deepfool", "gradient"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_in_a_small_ball_the_share_fooled_is_the_exact_one(one_side, norm, solver):
    """The best perturbation of a ball lowers every lead by eps times the slope's dual norm."""
    model, x, lead, slope = one_side
    size = slope.norm(DUAL[norm])
    eps = float(lead.quantile(0.4) / size)
    options = UniversalPerturbation(norm=norm, eps=eps, solver=solver, target_rate=0.99)
    found = options.fit(model, batches(x))
    assert found.delta.flatten().norm(NUMBER[norm]) <= eps * 1.0001
    fooled = (model(found.apply(x)).argmax(1) == 1).double().mean()
    assert max(record["fooling_rate"] for record in found.history) == pytest.approx(float(fooled))
    exact = (lead < eps * size).double().mean()
    # An l2 step projected to the linf ball does not point into the best of its corners.
    assert fooled >= (0.9 if norm == "l2" or solver == "gradient" else 0.5) * exact
    assert fooled <= exact


@pytest.mark.parametrize("solver", ["deepfool", "gradient"])
def test_the_fit_stops_at_the_wanted_rate(one_side, solver):
    model, x, lead, slope = one_side
    eps = 2 * float(lead.max() / slope.norm())
    make = UniversalPerturbation("l2", eps, target_rate=0.5, solver=solver, passes=50)
    found = make.fit(model, batches(x))
    rates = [record["fooling_rate"] for record in found.history]
    assert rates[-1] >= 0.5
    assert all(rate < 0.5 for rate in rates[:-1])
    assert len(rates) < 50


def test_fooled_samples_add_nothing(one_side):
    """Behind the sample that needs most, all others are fooled, in its batch and in later ones."""
    model, x, lead, _ = one_side
    make = UniversalPerturbation(norm="l2", eps=9.0, solver="deepfool", target_rate=1.0, passes=1)
    farthest_first = x[lead.argsort(descending=True)]
    alone, all_of_them = (make.fit(model, batches(v)) for v in (farthest_first[:1], farthest_first))
    assert torch.equal(alone.delta, all_of_them.delta)
    nearest_first = make.fit(model, batches(farthest_first.flip(0)))
    assert nearest_first.delta.norm() != alone.delta.norm()  # there, each had something to add


@pytest.mark.parametrize("solver", ["deepfool", "gradient"])
def test_a_target_is_approached_by_all(linear, batch, solver):
    x, _ = batch(30)
    model = linear(4, gain=0.1)
    options = UniversalPerturbation(norm="l2", eps=6.0, target=2, solver=solver)
    found = options.fit(model, batches(x))
    before, after = (model(v).argmax(1) == 2 for v in (x, found.apply(x)))
    assert after.double().mean() > max(0.75, before.double().mean() + 0.3)
    assert found.target == 2
    result = found(model, x, torch.zeros(30, dtype=torch.int64), target=torch.full((30,), 2))
    assert torch.equal(result.success, after)


def test_the_best_pass_is_kept(net, batch):
    x, y = batch(40)
    found = UniversalPerturbation(eps=0.1, passes=6, target_rate=1.0).fit(net(), [(x, y)])
    model = net().eval()
    rate = (model(found.apply(x)).argmax(1) != model(x).argmax(1)).double().mean()
    assert float(rate) == pytest.approx(max(r["fooling_rate"] for r in found.history))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_no_sample_leaves_its_ball_or_the_range(norm, batch):
    x, _ = batch(6)
    x[0], x[1] = 0, 1
    delta = torch.linspace(-1, 1, 108).reshape(3, 6, 6)
    for eps in (0.0, 1e-6, 0.1, 3.0):
        x_adv = Perturbation(delta, norm, eps).apply(x)
        size = (x_adv.double() - x.double()).flatten(1)
        size = size.norm(NUMBER[norm], dim=1)
        assert (size <= eps * (1 + 1e-5)).all()
        assert 0 <= x_adv.min() <= x_adv.max() <= 1
    small = Perturbation(delta / 1000, norm, 9.0).apply(x[2:])
    torch.testing.assert_close(small, (x[2:] + delta / 1000).clamp(0, 1))


def test_a_perturbation_may_be_one_value_a_channel_or_frame(batch):
    x, _ = batch(2, dims=3, side=4)
    flicker = Perturbation(torch.linspace(-0.1, 0.1, 4).reshape(1, 4, 1, 1), "linf", 0.2)
    change = flicker.apply(x * 0.5 + 0.25) - (x * 0.5 + 0.25)
    torch.testing.assert_close(change, flicker.delta.expand(2, 3, 4, 4, 4))
    with pytest.raises(ValueError, match=r"for samples \(1, 4, 1, 1\) and x has shape \(2, 3, 5"):
        flicker.apply(torch.zeros(2, 3, 5, 4, 4))
    with pytest.raises(ValueError, match="resize x, or fit one"):
        flicker.apply(torch.zeros(2, 3, 4, 4))
    assert not _broadcasts((3, 4), (3, 5))


class Bright(torch.nn.Module):
    """Answers 1 where the mean of a sample exceeds a level, NaN above another."""

    def __init__(self, level, broken=9.0):
        super().__init__()
        self.level, self.broken = level, broken

    def forward(self, x):
        mean = x.flatten(1).mean(1)
        logits = torch.stack([torch.full_like(mean, self.level), mean], 1)
        return logits.masked_fill((mean > self.broken)[:, None], torch.nan)


def test_the_transfer_matrix_by_hand():
    """Rows are models, columns perturbations; NaN before cannot be fooled, NaN after was not."""
    levels = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.7])
    x = levels[:, None, None, None].expand(5, 1, 2, 2)
    up, down = (Perturbation(torch.full((1, 2, 2), v), "linf", 1.0) for v in (0.25, -0.25))
    models = [Bright(0.5), Bright(0.32), Bright(0.5, broken=0.65)]
    loader = [(x[:2], None), (x[2:], None)]
    rates = transfer_matrix(models, [up, down], loader)
    # up crosses 0.5 from 0.3, 0.32 from 0.1, 0.2, 0.3; down crosses 0.5 from 0.6 and 0.7;
    # the third model says NaN to 0.7 before, to 0.85 and 0.95 after
    assert rates.tolist() == [[0.2, 0.4], [0.6, 0.0], [0.25, 0.25]]
    assert rates.dtype == torch.float64


def test_a_perturbation_fools_the_model_it_was_made_on_most(net, batch):
    x, y = batch(60)
    models = [net(seed=seed) for seed in (0, 1)]
    made = [UniversalPerturbation(eps=0.15).fit(model, [(x, y)]) for model in models]
    flags = [module.training for module in models[0].modules()]
    rates = transfer_matrix(models, made, [(x, y)])
    assert [module.training for module in models[0].modules()] == flags
    assert (rates.argmax(1) == torch.arange(2)).all()
    assert (rates > 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(norm="L2"), "norm is 'L2'"),
        (dict(solver="sgd"), "solver is 'sgd'; give one of 'gradient', 'deepfool'"),
        (dict(eps=-1.0), "eps is -1.0"),
        (dict(eps=torch.inf), "eps is inf"),
        (dict(target_rate=0.0), "target_rate is 0.0"),
        (dict(target_rate=1.1), "target_rate is 1.1"),
        (dict(passes=0), "passes is 0"),
    ],
)
def test_impossible_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        UniversalPerturbation(**options)
