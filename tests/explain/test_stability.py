"""Stability of runs against a plain mean over pairs."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from attacks import LearnedGenerator
from explain.gradient.saliency import Saliency
from explain.perturbation.difference_map import DifferenceMap
from explain.scores.stability import stability


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_mean_of_scipys_correlation_over_pairs():
    runs = [random(3, 5, 6, seed=s) + random(3, 5, 6, seed=9) for s in range(4)]
    wanted = [
        np.mean([spearmanr(a[i].ravel(), b[i].ravel()).statistic
                 for a, b in itertools.combinations([run.numpy() for run in runs], 2)])
        for i in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(stability(runs), wanted, atol=1e-6)


def test_a_method_without_chance_has_1_and_a_learned_one_less(linear):
    model, x = linear((3, 6, 6)), random(2, 3, 6, 6)
    steady = [Saliency()(model, x, seed=seed) for seed in (1, 2, 3)]
    assert torch.equal(stability(steady), torch.ones(2))
    method = DifferenceMap(attack=LearnedGenerator(steps=10, noise=0.1))
    learned = [method(model, x, seed=seed) for seed in (1, 2, 3)]
    assert (stability(learned) < 1).all()


def test_a_single_run_is_refused():
    with pytest.raises(ValueError, match="two seeds or more"):
        stability([random(2, 4, 4)])
