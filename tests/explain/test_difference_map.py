"""Difference maps of a planted patch, of several instances, and of other attacks."""

import pytest
import torch

from attacks import ATTACKS, CW, PGD, LearnedGenerator
from explain.perturbation.difference_map import DifferenceMap, learn_differences, mean_and_spread

GENERATOR = LearnedGenerator(steps=20)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_of_fgsm_on_a_linear_model_it_is_the_step_that_pixels_have_room_for(linear):
    x, y = random(4, 3, 5, 6), torch.tensor([0, 1, 2, 0])
    maps = DifferenceMap(attack=ATTACKS["fgsm"](eps=0.1))(linear((3, 5, 6), classes=2), x, y % 2)
    assert torch.all(maps <= 0.1 + 1e-6)
    middle = ((x > 0.1) & (x < 0.9)).all(1)  # of pixels with room on both sides
    assert middle.any()
    torch.testing.assert_close(maps[middle], torch.full_like(maps[middle], 0.1))


@pytest.mark.parametrize("shape", [(3, 3, 12, 12), (2, 3, 4, 12, 12)])
def test_a_minimum_norm_attack_changes_the_patch_that_the_model_reads_alone(patch, shape):
    x, model = random(*shape), patch()
    maps = DifferenceMap(attack=CW(steps=20, search_steps=2))(model, x)
    assert maps.shape == (shape[0], *shape[2:])
    assert (maps.amax(tuple(range(1, maps.ndim))) > 0.01).all()
    assert float(maps[:, ~model.mask(x)].max()) < 1e-6


def test_the_usual_generator_leaves_the_class_of_digits_in_few_steps():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x = torch.tensor(digits.images[:300, None] / 16, dtype=torch.float32)
    y = torch.tensor(digits.target[:300])
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    some = model(x).argmax(1)[:3]
    usual = DifferenceMap().attack
    result = usual(model, x[:3], some)
    assert result.success.all()
    torch.testing.assert_close(DifferenceMap()(model, x[:3], some), result.delta.abs().mean(1))


def test_instances_are_runs_with_seeds_of_their_own_and_their_mean_is_the_map(patch):
    x, model = random(3, 3, 12, 12), patch()
    found = learn_differences(model, x, None, attack=GENERATOR, instances=3, seed=4)
    assert found.shape == (3, 3, 3, 12, 12)
    first = GENERATOR(model, x, None, seed=4).delta.abs()
    torch.testing.assert_close(found[0], first)
    assert not torch.equal(found[1], found[2])
    maps = DifferenceMap(attack=GENERATOR, instances=3)(model, x, seed=4)
    torch.testing.assert_close(maps, found.mean((0, 2)))


def test_the_spread_is_numpys():
    maps = random(4, 2, 3, 5)
    mean, spread = mean_and_spread(maps)
    torch.testing.assert_close(mean.numpy(), maps.numpy().mean(0))
    torch.testing.assert_close(spread, torch.tensor(maps.numpy().std(0, ddof=1)))
    assert not mean_and_spread(maps[:1])[1].any()


def test_chunks_change_nothing(patch):
    x, model = random(5, 3, 12, 12), patch()
    whole = DifferenceMap(attack=GENERATOR)(model, x, seed=2)
    parts = DifferenceMap(attack=GENERATOR, chunk=2)(model, x, seed=2)
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-5)


def test_progress_goes_on_over_instances_and_chunks_whenever_an_attack_ends(patch):
    seen = []
    method = DifferenceMap(attack=PGD(steps=5), instances=2, chunk=2)
    method(patch(), random(3, 3, 12, 12), progress=lambda *told: seen.append(told))
    assert seen[-1] == (400, 400)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {100, 200, 300} <= {done for done, _ in seen}


def test_an_attack_that_needs_a_target_or_a_guide_is_refused(patch):
    x = random(2, 3, 12, 12)
    with pytest.raises(ValueError, match="needs a target"):
        DifferenceMap(attack=ATTACKS["fooling"]())(patch(), x)
    with pytest.raises(ValueError, match="guide is None"):
        DifferenceMap(attack=ATTACKS["feature"]())(patch(), x)
