"""Several instances of the learned generator: each seed gives another P, and each fools."""

import pytest
import torch

from attacks import ATTACKS, LearnedGenerator
from attacks.common.randomness import derive_seed


@pytest.fixture
def instance(net, batch):
    """Run the generator on a batch that the model has right, or on rows of it."""
    model = net().eval()
    x = batch(6)[0]
    y = model(x).argmax(1)

    def run(seed, rows=slice(None), steps=80):
        ids = torch.arange(len(x))[rows].tolist()
        attack = LearnedGenerator(steps=steps, lam=0.01, top_k=1)
        return attack(model, x[rows], y[rows], seed=seed, sample_ids=ids)

    return run


def test_instances_differ_and_each_fools(instance):
    results = [instance(seed) for seed in (0, *(derive_seed(0, k) for k in range(2)))]
    assert all(result.success.all() for result in results)
    for i, first in enumerate(results):
        for second in results[:i]:
            change = (first.x_adv - second.x_adv).abs().flatten(1).amax(1)
            assert (change > 1 / 255).all()


def test_an_instance_follows_from_seed_and_sample_alone(instance):
    whole, part = instance(9, steps=5), instance(9, slice(3, 5), steps=5)
    torch.testing.assert_close(part.x_adv, whole.x_adv[3:5], atol=1e-4, rtol=0)
    assert torch.equal(instance(9, steps=5).x_adv, whole.x_adv)


def test_without_noise_and_for_seed_0_it_begins_as_the_identity(net, batch):
    model, (x, y) = net(), batch(3)
    plain = LearnedGenerator(steps=3)(model, x, y)
    for attack, seed in ((LearnedGenerator(steps=3), 0), (LearnedGenerator(steps=3, noise=0), 7)):
        assert torch.equal(attack(model, x, y, seed=seed).x_adv, plain.x_adv)
    first = LearnedGenerator(steps=1, noise=0.0)(model, x, y, seed=1)
    torch.testing.assert_close(first.history, plain.history[:1])


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_impossible_noise_is_refused(noise):
    with pytest.raises(ValueError, match="noise is"):
        LearnedGenerator(noise=noise)


def test_videos_get_instances_too(net, batch):
    x = torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))
    results = [
        ATTACKS["generator"](steps=4)(model, x, torch.tensor([0, 1]), seed=s) for s in (1, 2)
    ]
    assert not torch.equal(results[0].x_adv, results[1].x_adv)
