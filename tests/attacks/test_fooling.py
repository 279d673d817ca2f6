"""Fooling images: the ascent, the evolution, and what both owe their caller."""

import pytest
import torch

from attacks.common.goal import Goal
from attacks.fooling.evolution import Evolution, mutate
from attacks.fooling.fooling import FoolingImage

BOTH = [FoolingImage(steps=30), FoolingImage("evolution", steps=120, population=8)]
TARGET = torch.tensor([0, 1, 2, 3, 1])


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def ids(attack):
    return attack.method


@pytest.mark.parametrize("attack", BOTH, ids=ids)
def test_noise_becomes_the_target_with_confidence(attack, linear, batch):
    x, y = batch(5)
    model = linear(4, gain=0.2)
    result = attack(model, x, y, target=TARGET)
    assert result.success.all()
    score = model(result.x_adv).softmax(1)[torch.arange(5), TARGET]
    torch.testing.assert_close(result.info["confidence"], score.detach())
    assert (score >= attack.confidence).all()
    assert (model(x).softmax(1)[torch.arange(5), TARGET] < attack.confidence).any()


@pytest.mark.parametrize("attack", BOTH, ids=ids)
def test_only_the_shape_of_x_counts(attack, linear, batch):
    x, y = batch(3)
    one, other = (
        attack(linear(4), start, y, target=TARGET[:3], sample_ids=[5, 6, 7]).x_adv
        for start in (x, 1 - x)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("attack", BOTH, ids=ids)
def test_without_a_target_nothing_is_tried(attack, batch):
    x, y = batch()
    with pytest.raises(ValueError, match="needs a target"):
        attack(None, x, y)


@pytest.mark.parametrize("attack", BOTH, ids=ids)
def test_a_sample_stops_at_its_confidence_and_costs_no_more(attack, linear, batch):
    x, y = batch(5)
    result = attack(linear(4, gain=0.2), x, y, target=TARGET)
    cost = attack.population or 1
    steps = (result.queries - 1) // cost
    assert (result.queries == 1 + cost * steps).all()
    loss, goal = result.history, -torch.tensor(attack.confidence).log()
    for i, count in enumerate(steps.tolist()):
        assert (loss[: count - 1, i] > goal).all()
        assert (loss[count - 1 :, i] <= goal).all()
        assert (loss[count - 1 :, i] == loss[count - 1, i]).all()  # at rest
    assert len(set(steps.tolist())) > 1


@pytest.mark.parametrize("attack", BOTH, ids=ids)
def test_the_best_image_only_gets_better(attack, net, batch):
    x, y = batch(5)
    history = attack(net(), x, y, target=TARGET).history
    assert (history.diff(dim=0) <= 0).all()
    assert (history[-1] < history[0]).all()


def test_one_step_of_the_ascent_by_hand(linear):
    """Uniform noise, then a step of the given mean length along the gradient, and the decay."""
    model, x = linear(2, gain=0.01, dtype=torch.float64), torch.zeros(1, 3, 6, 6).double()
    noise = FoolingImage(steps=1)(model, x, TARGET[:1], target=TARGET[1:2], sample_ids=[3]).x_adv
    attack = FoolingImage(steps=2, step_size=0.01, decay=0.1)
    moved = attack(model, x, TARGET[:1], target=TARGET[1:2], sample_ids=[3]).x_adv
    weight = model[1].weight
    slope = (weight[1] - weight[0]).reshape(x.shape)  # of log p of class 1, up to a factor > 0
    step = 0.01 * slope / slope.square().mean().sqrt()
    expected = (0.5 + 0.9 * (noise - 0.5) + step).clamp(0, 1)
    torch.testing.assert_close(moved, expected.detach())


def test_more_decay_ends_nearer_to_grey(net, batch):
    x, y = batch(5)
    far = [
        FoolingImage(steps=40, confidence=1.0, decay=decay)(net(), x, y, target=TARGET).x_adv
        for decay in (0.0, 0.3)
    ]
    plain, decayed = ((image - 0.5).square().mean() for image in far)
    assert decayed < plain / 2


def test_the_polynomial_mutation_has_its_distribution():
    """Its density is (n + 1) / 2 * (1 - |d|)^n: mean |d| is 1 / (n + 2), with n = 15."""
    change = mutate(torch.full((200_000,), 0.5), torch.rand(200_000, generator=seeded(0))) - 0.5
    assert change.abs().mean().item() == pytest.approx(1 / 17, rel=0.01)
    assert change.mean().abs() < 1e-3
    assert mutate(torch.tensor([0.0, 1.0]), torch.tensor([0.2, 0.8])).tolist() == [0, 1]


def test_children_mix_two_parents_and_mutate_as_often_as_told():
    goal = Goal(torch.tensor([0]), torch.tensor([1]))
    members = torch.arange(1.0, 9.0).reshape(1, 8, 1, 1, 1).expand(1, 8, 1, 50, 50) / 10
    start = Evolution(goal, members, torch.zeros(1, 8), mutation=0.0)
    children = start._offspring(0.0, [seeded(0)])[0]
    parents = [child.unique(return_counts=True) for child in children]
    assert {len(values) for values, _ in parents} <= {1, 2}
    pairs = [counts / 2500 for values, counts in parents if len(values) == 2]
    assert len(pairs) >= 4
    assert all(0.45 < share[0] < 0.55 for share in pairs)
    taken = torch.cat([values for values, _ in parents])
    assert taken.mean() < 0.4  # the fitter come first, and are taken more often
    changed = start._offspring(0.3, [seeded(0)])[0] != children
    assert 0.28 < changed.float().mean() < 0.32


def test_the_fittest_survive_and_of_equals_the_older(linear):
    model = linear(2, gain=0.3)
    goal = Goal(torch.tensor([0, 0]), torch.tensor([1, 0]))
    streams = [seeded(1), seeded(2)]
    noise = torch.rand(2, 5, 3, 6, 6, generator=seeded(0))
    start = Evolution(goal, noise, torch.full((2, 5), -torch.inf), mutation=0.2)
    going = torch.tensor([False, False])
    start.step(model, 0, streams, going)
    before = start.fitness
    assert torch.equal(before, before.sort(dim=1, descending=True).values)
    value = goal.objective(model(start.image))
    torch.testing.assert_close(start.value, value.detach())
    start.step(model, 1, streams, torch.tensor([False, True]))
    assert (start.fitness[0] >= before[0]).all()
    assert torch.equal(start.fitness[1], before[1])


def test_an_image_without_finite_logits_is_never_the_fittest(linear, batch):
    class Dark(torch.nn.Module):
        def forward(self, x):
            broken = x.flatten(1).mean(1) > 0.5
            return linear(4)(x).masked_fill(broken[:, None], torch.nan)

    x, y = batch(5)
    climbed, bred = (attack(Dark(), x, y, target=TARGET) for attack in BOTH)
    assert bred.success.all()
    assert "warnings" not in bred.info
    stuck = climbed.loss.isnan()  # those that began where there is no way on
    assert 0 < stuck.sum() < 5
    assert torch.equal(climbed.success, ~stuck)
    assert torch.equal(climbed.info["confidence"].isnan(), stuck)
    assert f"{stuck.sum()} of 5 samples met a zero or non-finite" in climbed.info["warnings"][1]


def test_the_evolution_needs_no_gradient(linear, batch):
    class Steps(torch.nn.Module):
        def forward(self, x):
            return linear(4, gain=0.2)((x * 8).round() / 8).detach()

    x, y = batch(5)
    assert BOTH[1](Steps(), x, y, target=TARGET).success.all()
    with pytest.raises(ValueError, match="no gradient"):
        BOTH[0](Steps(), x, y, target=TARGET)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(method="genetic"), "method is 'genetic'; give one of 'gradient', 'evolution'"),
        (dict(population=4), "population is no option of method='gradient'"),
        (dict(method="evolution", decay=0.0), "decay is no option of method='evolution'"),
        (dict(steps=0), "steps is 0; give a whole number >= 1 or None"),
        (dict(step_size=0.0), "step_size is 0.0"),
        (dict(decay=1.5), "decay is 1.5; give a number from 0 to 1"),
        (dict(method="evolution", population=1), "population is 1; give a whole number >= 2"),
        (dict(method="evolution", mutation=0.0), "mutation is 0.0"),
        (dict(confidence=0.4), "confidence is 0.4; give a number from 0.5 to 1"),
    ],
)
def test_impossible_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        FoolingImage(**options)
