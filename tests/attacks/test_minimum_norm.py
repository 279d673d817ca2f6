"""What every attack without a ball owes: the nearest success, close to the exact distance."""

import pytest
import torch

from attacks import CW, FAB, FMN, LBFGS, DeepFool
from attacks.attack import lengths
from attacks.minimum_norm.nearest_boundary import shortest_step
from tests.slow_but import slow_but

# The attack of a norm, and how much longer than exact its answers may be.
ATTACKS = {
    "deepfool-linf": (DeepFool(norm="linf"), "linf", 1.021),
    "deepfool-l2": (DeepFool(norm="l2"), "l2", 1.021),
    "deepfool-l1": (DeepFool(norm="l1"), "l1", 1.021),
    "fmn-linf": (FMN(norm="linf"), "linf", 1.01),
    "fmn-l2": (FMN(norm="l2"), "l2", 1.01),
    "fmn-l1": (FMN(norm="l1"), "l1", 1.01),
    "cw": (CW(), "l2", 1.01),
    "lbfgs": (LBFGS(), "l2", 1.01),
    "fab-linf": (FAB(norm="linf", steps=30), "linf", 1.01),
    "fab-l2": (FAB(norm="l2", steps=30), "l2", 1.01),
    "fab-l1": (FAB(norm="l1", steps=30), "l1", 1.01),
}
DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}


@pytest.fixture(params=slow_but(ATTACKS.keys() - {"lbfgs"}, ATTACKS))
def row(request):
    return ATTACKS[request.param]


def inside(count, *, spread):
    """Samples in float64 whose pixels keep 0.5 - spread away from 0 and 1."""
    noise = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    return 0.5 + spread * (2 * noise - 1)


def gaps(model, x, y):
    """How far each logit is behind that of y, (B, K), and the slopes of that, (K, D) each."""
    logits = model(x).detach()
    weight = model[1].weight.detach()
    return logits.gather(1, y[:, None]) - logits, weight[None] - weight[y][:, None]


@pytest.mark.parametrize("classes", [2, 5])
def test_exact_distance_of_a_linear_classifier(row, linear, classes):
    attack, norm, factor = row
    # Weights of one pixel stand out, so that the l1 way is not stopped by the range either.
    model, x = linear(classes, gain=0.4, dtype=torch.float64), inside(6, spread=0.05)
    y = model(x).argmax(1)
    gap, slope = gaps(model, x, y)
    far = gap / slope.norm(DUAL[norm], dim=2)
    exact = far.masked_fill(torch.nn.functional.one_hot(y, classes).bool(), torch.inf).amin(1)
    assert (exact < {"linf": 0.4, "l2": 4.0, "l1": 0.4}[norm]).all()
    result = attack(model, x, y)
    assert result.success.all()
    ratio = lengths(result.delta, norm) / exact
    assert (ratio > 1 - 1e-9).all()
    assert (ratio < factor).all(), ratio


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("ends", [0.3, 0.6], ids=["some-at-the-ends", "most-at-the-ends"])
def test_exact_distance_within_the_range(row, linear, classes, ends):
    """Where pixels at the ends of the range make the way longer, and other classes nearer."""
    attack, norm, factor = row
    model = linear(classes, gain=0.4, dtype=torch.float64)
    x = (inside(12, spread=0.5 / (1 - ends))).clamp(0, 1)
    y = model(x).argmax(1)
    gap, slope = gaps(model, x, y)
    steps = [
        lengths(shortest_step(x, slope[:, k].reshape(x.shape), gap[:, k], norm), norm)
        for k in range(classes)
    ]
    own = torch.nn.functional.one_hot(y, classes).bool()
    exact = torch.stack(steps, 1).masked_fill(own, torch.inf).amin(1)
    free = (gap / slope.norm(DUAL[norm], dim=2)).masked_fill(own, torch.inf).amin(1)
    assert (exact > 1.03 * free).any()  # the range matters
    result = attack(model, x, y)
    assert result.success.all()
    ratio = lengths(result.delta, norm) / exact
    assert (ratio > 1 - 1e-9).all()
    assert (ratio < (factor if classes == 2 else 1.05)).all(), ratio


def test_a_target_of_two_is_as_far_as_the_other_class(row, linear):
    attack, norm, factor = row
    model, x = linear(2, gain=0.4, dtype=torch.float64), inside(6, spread=0.05)
    y = model(x).argmax(1)
    free, aimed = attack(model, x, y), attack(model, x, y, target=1 - y)
    assert aimed.success.all()
    torch.testing.assert_close(
        lengths(aimed.delta, norm), lengths(free.delta, norm), rtol=factor - 1, atol=0
    )


def test_a_sample_wrong_from_the_start_stays_as_it_is(row, net, batch):
    x, _ = batch()
    model = net()
    y = (model.eval()(x).argmax(1) + torch.tensor([0, 1, 0, 1, 2, 3])) % 4
    result = row[0](model, x, y)
    assert result.success.all()
    assert (result.l2 == 0).tolist() == [False, True, False, True, True, True]
    clean = model(x)
    expected = clean.scatter(1, y[:, None], -torch.inf).amax(1) - clean.gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(result.loss[[1, 3, 4, 5]], expected[[1, 3, 4, 5]].detach())


def test_a_sample_never_fooled_stays_as_it_is(row, batch):
    class Flat(torch.nn.Module):
        """Class 0, whatever is shown, and hardly a slope."""

        def forward(self, x):
            rest = 1e-6 * x.flatten(1)[:, :2] - 1
            return torch.cat([torch.zeros_like(rest[:, :1]), rest], 1)

    x, y = batch()[0], torch.zeros(6, dtype=torch.int64)
    result = row[0](Flat(), x, y)
    assert not result.success.any()
    assert torch.equal(result.x_adv, x)
    torch.testing.assert_close(result.loss, torch.full((6,), -1.0), atol=1e-5, rtol=0)


def test_a_flat_model_is_reported(row, batch):
    class Constant(torch.nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :3] * 0) + torch.tensor([3.0, 1.0, 2.0])

    x, y = batch()[0], torch.zeros(6, dtype=torch.int64)
    result = row[0](Constant(), x, y)
    assert not result.success.any()
    assert torch.equal(result.x_adv, x)
    assert "6 of 6 samples met a zero" in result.info["warnings"][0]


def test_success_survives_other_batches(row, net, batch):
    """The nearest success is not one by rounding only."""
    x, _ = batch(16)
    model = net().eval()
    y = model(x).argmax(1)
    result = row[0](model, x, y)
    assert result.success.any()
    for size in (1, 3, 16):
        answers = torch.cat([model(part).argmax(1) for part in result.x_adv.split(size)])
        assert torch.equal(answers != y, result.success)
