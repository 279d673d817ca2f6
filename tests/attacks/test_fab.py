"""FAB beyond what all minimum-norm attacks owe: its steps, its radius, its targets."""

import pytest
import torch

from attacks import FAB, PGD, DeepFool
from attacks.attack import lengths

NORMS = ["linf", "l2", "l1"]


class Line(torch.nn.Module):
    """Class 1 leads by 2 a + b - 2 for an image (a, b), and writes down where it was asked."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().flatten().tolist())
        a, b = x.flatten(1).unbind(1)
        lead = 2 * a + b - 2
        return torch.stack([-lead, lead], 1)


def test_the_first_steps_by_hand():
    """The nearest boundary point from (0.4, 0.2) is (0.8, 0.4), half a diagonal of 2 : 1 away."""
    x, y = torch.tensor([[[[0.4, 0.2]]]], dtype=torch.float64), torch.tensor([0])
    model = Line()
    result = FAB(norm="l2", steps=3)(model, x, y)
    looks = torch.tensor(model.seen[2:])  # after those for randomness
    clean, way = torch.tensor([0.4, 0.2]), torch.tensor([0.4, 0.2])
    torch.testing.assert_close(looks[0], clean)
    torch.testing.assert_close(looks[1], clean)  # for the gradient
    torch.testing.assert_close(looks[2], clean + 1.05 * way)
    torch.testing.assert_close(looks[3], clean + 0.9 * 1.05 * way)  # back by beta
    # From 0.945 of the way: 1.05 of the rest, mixed with 1.05 of the way from the start, by
    # alpha = 0.055 / 1.055.
    alpha = 0.055 / 1.055
    second = (1 - alpha) * (0.945 + 1.05 * 0.055) + alpha * 1.05
    torch.testing.assert_close(looks[4], clean + second * way)
    assert result.queries.item() == 7
    torch.testing.assert_close(result.x_adv.flatten().float(), looks[4::2].amin(0))


@pytest.mark.parametrize("norm", NORMS)
def test_a_radius_takes_the_first_success_within_and_none_beyond(net, batch, norm):
    x, _ = batch(16, dtype=torch.float64)
    model = net(dtype=torch.float64).eval()
    y = model(x).argmax(1)
    free = FAB(norm=norm, steps=10, targets=3)(model, x, y)
    size = lengths(free.delta, norm)
    radius = size.median().item() * 1.0001
    bound = FAB(norm=norm, steps=10, targets=3, eps=radius)(model, x, y)
    assert free.success.all()
    assert torch.equal(bound.success, size <= radius)
    assert (lengths(bound.delta, norm) <= radius).all()
    assert torch.equal(bound.x_adv[~bound.success], x[~bound.success])
    margin = model(bound.x_adv)
    own = torch.nn.functional.one_hot(y, 4).bool()
    expected = margin.masked_fill(own, -torch.inf).amax(1) - margin[own]
    torch.testing.assert_close(bound.loss, expected.detach())
    assert (bound.queries[bound.success] < free.queries[bound.success]).any()
    assert torch.equal(bound.queries[~bound.success], free.queries[~bound.success])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_finds_changes_as_small_as_deepfool_and_smaller_than_pgd_needs(net, batch, norm):
    x, _ = batch(24, dtype=torch.float64)
    model = net(dtype=torch.float64).eval()
    y = model(x).argmax(1)
    ours = lengths(FAB(norm=norm, steps=30)(model, x, y).delta, norm)
    theirs = lengths(DeepFool(norm=norm)(model, x, y).delta, norm)
    assert ours.median() <= theirs.median()
    assert (ours <= theirs * 1.03).all()
    assert ours.median() <= theirs.median()
    # PGD in a ball a little smaller hardly finds any of these.
    within = PGD(norm=norm, eps=0.97 * ours, steps=50, restarts=2, loss="margin")(model, x, y)
    assert within.success.double().mean() < 0.15


def test_targets_are_tried_one_after_the_other():
    """The second best class is 0.3 away, the third 0.1."""

    class Three(torch.nn.Module):
        def forward(self, x):
            a, b = (x.flatten(1) - 0.5).unbind(1)
            return torch.stack([torch.zeros_like(a), 0.1 * a - 0.03, b - 0.1], 1)

    x, y = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    for targets, expected, queries in ((1, 0.3, 41), (2, 0.1, 81), (9, 0.1, 81)):
        result = FAB(norm="l2", steps=20, targets=targets)(Three(), x, y)
        assert result.l2.item() == pytest.approx(expected, rel=1e-2)
        assert result.queries.item() == queries


def test_a_targeted_run_ends_at_its_target(net, batch):
    x, y = batch(16, classes=5, dtype=torch.float64)
    model = net(5, dtype=torch.float64).eval()
    target = model(x).argmin(1)
    for norm in NORMS:
        result = FAB(norm=norm, steps=40)(model, x, y, target=target)
        assert torch.equal(model(result.x_adv).argmax(1) == target, result.success)
        assert result.success.double().mean() > 0.8


def test_eps_may_differ_between_samples(net, batch):
    x, _ = batch(4)
    model = net().eval()
    y = model(x).argmax(1)
    result = FAB(norm="linf", steps=10, eps=torch.tensor([0.0, 0.5, 0.0, 0.5]))(model, x, y)
    assert result.success.tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(norm="L2"), "L2"),
        (dict(steps=0), "steps is 0"),
        (dict(targets=-1), "targets is -1"),
        (dict(alpha_max=1.5), "alpha_max is 1.5"),
        (dict(eta=0.9), "eta is 0.9"),
        (dict(beta=1.0), "beta is 1.0"),
        (dict(beta=0.0), "beta is 0.0"),
    ],
)
def test_impossible_options_are_refused_at_once(options, word):
    with pytest.raises(ValueError, match=word):
        FAB(**options)


def test_a_negative_radius_is_refused(net, batch):
    with pytest.raises(ValueError, match="eps"):
        FAB(eps=-0.1)(net(), *batch())


@pytest.mark.parametrize("norm", NORMS)
def test_without_targets_the_nearest_boundary_of_all_classes_is_found(norm):
    """Of a linear classifier: by how much a class lacks, over its dual norm; the least of all."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(6, 20, generator=generator, dtype=torch.float64)
    x = 0.4 + 0.2 * torch.rand(12, 1, 4, 5, generator=generator, dtype=torch.float64)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 6).double())
    with torch.no_grad():
        model[1].weight.copy_(weight)
        model[1].bias.copy_(-0.5 * weight.sum(1))  # undecided about grey
    logits = model(x).detach()
    y = logits.argmax(1)
    gaps = (logits.gather(1, y[:, None]) - logits)[:, :, None]  # (B, K, 1)
    slopes = weight[None] - weight[y][:, None]  # (B, K, D)
    dual = {"linf": slopes.abs().sum(2), "l2": slopes.norm(dim=2), "l1": slopes.abs().amax(2)}[norm]
    way = (gaps[..., 0] / dual).masked_fill(torch.nn.functional.one_hot(y, 6).bool(), torch.inf)
    result = FAB(norm=norm, steps=20, targets=0)(model, x, y)
    inside = way.amin(1) < (0.3 if norm == "linf" else 0.35)  # else the ends of [0, 1] are met
    assert inside.sum() >= 6
    found = lengths(result.delta, norm)[inside]
    torch.testing.assert_close(found, way.amin(1)[inside], rtol=2e-2, atol=0)
    assert (found >= way.amin(1)[inside]).all()


@pytest.mark.parametrize(("targets", "classes"), [(0, 1), (2, 2)])
def test_each_restart_but_the_first_begins_up_to_half_the_radius_away(net, batch, targets, classes):
    x, _ = batch(dtype=torch.float64)
    model, starts, done = net(dtype=torch.float64).eval(), [], []
    y = model(x).argmax(1)
    model.register_forward_hook(lambda _, given, __: starts.append(given[0].detach()))
    attack = FAB(norm="l2", eps=1e-3, steps=1, targets=targets, restarts=3)
    result = attack(model, x, y, seed=5, progress=lambda *step: done.append(step))
    begun = [s for s in starts if len(s) == len(x)][1::2]  # of each step the first pass
    assert len(begun) == 3 * classes
    assert done[-1] == (3 * classes, 3 * classes)
    away = torch.stack([lengths(s - x, "l2") for s in begun]).reshape(classes, 3, len(x))
    assert (away[:, 0] == 0).all()
    assert (away[:, 1:] > 0).all()
    assert (away[:, 1:] <= 0.5e-3 * (1 + 1e-9)).all()
    assert (result.queries == 1 + 2 * 3 * classes).all()
    free = FAB(norm="l2", steps=8, restarts=1)(model, x, y)
    more = FAB(norm="l2", steps=8, restarts=3)(model, x, y)
    assert (more.l2 <= free.l2).all()
