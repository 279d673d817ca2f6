"""Rank correlations against SciPy's."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from explain.scores.agreement import agreement, rank_correlation


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 6, 7), (3, 4, 5, 6)])
@pytest.mark.parametrize("levels", [3, 10**6])
def test_it_is_scipys_with_ties_and_without(shape, levels):
    first, second = ((random(*shape, seed=s) * levels).round() for s in (0, 1))
    second = second + first / 2
    wanted = [spearmanr(a.ravel(), b.ravel()).statistic
              for a, b in zip(first.numpy(), second.numpy(), strict=True)]  # fmt: skip
    np.testing.assert_allclose(rank_correlation(first, second), wanted, atol=1e-6)


def test_a_constant_map_has_no_order():
    maps = random(2, 4, 4)
    maps[1] = 0.5
    found = rank_correlation(maps, random(2, 4, 4, seed=1))
    assert found.isnan().tolist() == [False, True]


def test_agreement_is_a_table_of_all_pairs():
    maps = {name: random(4, 5, 5, seed=s) for s, name in enumerate("abc")}
    table = agreement(maps)
    assert table.shape == (4, 3, 3)
    torch.testing.assert_close(table.diagonal(dim1=1, dim2=2), torch.ones(4, 3))
    torch.testing.assert_close(table, table.mT)
    torch.testing.assert_close(table[:, 0, 2], rank_correlation(maps["a"], maps["c"]))


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"maps of b have shape \(2, 4, 5\)"):
        agreement({"a": random(2, 4, 4), "b": random(2, 4, 5)})
    with pytest.raises(ValueError, match="the first maps have shape"):
        rank_correlation(random(4, 4), random(4, 4))
