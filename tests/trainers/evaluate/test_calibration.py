"""Calibration errors against slow NumPy and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.evaluate.calibration import (
    adaptive_calibration_error,
    calibration_error,
    measure_calibration,
)
from trainers.intervals import wilson


def slow_ece(confidence, right, bins):
    """Guo et al. 2017, eq. (3), bin by bin: |B_m| / n * |acc(B_m) - conf(B_m)|."""
    total = 0.0
    for m in range(bins):
        inside = [i for i, c in enumerate(confidence) if m / bins < c <= (m + 1) / bins]
        if inside:
            accuracy = np.mean([right[i] for i in inside])
            sure = np.mean([confidence[i] for i in inside])
            total += len(inside) / len(confidence) * abs(accuracy - sure)
    return total


def samples(n=500, seed=0):
    g = torch.Generator().manual_seed(seed)
    confidence = torch.rand(n, generator=g, dtype=torch.float64) * 0.9 + 0.1
    return confidence, torch.rand(n, generator=g, dtype=torch.float64) < confidence**2


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_is_that_of_slow_numpy(bins):
    confidence, right = samples()
    wanted = slow_ece(confidence.numpy(), right.numpy(), bins)
    assert wanted > 0.05
    assert calibration_error(confidence, right, bins=bins) == pytest.approx(wanted, abs=1e-12)


def test_adaptive_bins_are_numpy_s_array_split_of_the_sorted():
    confidence, right = samples(n=103)
    order = np.argsort(confidence.numpy(), kind="stable")
    parts = zip(
        np.array_split(confidence.numpy()[order], 15),
        np.array_split(right.numpy()[order], 15),
        strict=True,
    )
    wanted = sum(len(c) / 103 * abs(c.mean() - r.mean()) for c, r in parts)
    assert adaptive_calibration_error(confidence, right) == pytest.approx(wanted, abs=1e-12)


def test_the_upper_end_of_a_bin_is_in_it():
    """Bins are (low, high], as in the paper."""
    confidence, right = torch.tensor([0.2, 0.2], dtype=torch.float64), torch.tensor([True, False])
    found = measure_calibration(confidence, right, bins=5)
    assert [(row["low"], row["samples"]) for row in found.bins] == [(0.0, 2)]
    assert found.ece == pytest.approx(0.3)
    assert measure_calibration(torch.ones(3), torch.ones(3).bool()).bins[-1]["high"] == 1.0


def test_bins_hold_counts_means_and_wilson_intervals():
    confidence = torch.tensor([0.95, 0.97, 0.99, 0.31])
    found = measure_calibration(confidence, torch.tensor([True, True, False, False]), bins=10)
    low, high = found.bins
    assert (low["samples"], low["accuracy"], low["interval"]) == (1, 0.0, wilson(0, 1))
    assert (high["samples"], high["interval"]) == (3, wilson(2, 3))
    assert high["confidence"] == pytest.approx(0.97)
    assert found.ece == pytest.approx(0.25 * 0.31 + 0.75 * (0.97 - 2 / 3))


def test_what_is_not_finite_has_no_confidence():
    confidence = torch.tensor([0.9, torch.nan])
    found = measure_calibration(confidence, torch.tensor([True, False]))
    assert (found.samples, found.ece) == (1, pytest.approx(0.1))
    assert measure_calibration(torch.tensor([torch.nan]), torch.tensor([False])) is None


def test_a_calibrated_classifier_is_within_chance_and_a_cocksure_one_is_not():
    hits = 0
    for seed in range(20):
        g = torch.Generator().manual_seed(100 + seed)
        confidence = 0.5 + torch.rand(300, generator=g) / 2
        found = measure_calibration(confidence, torch.rand(300, generator=g) < confidence)
        hits += found.ece > found.chance
        sure = measure_calibration(confidence, torch.rand(300, generator=g) < confidence - 0.2)
        assert sure.ece > sure.chance
    assert hits <= 4, "about one in twenty calibrated ones lies above its 95 % quantile"


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_errors_are_shares_and_one_bin_is_the_gap_of_the_means(pairs):
    confidence = torch.tensor([c for c, _ in pairs], dtype=torch.float64)
    right = torch.tensor([r for _, r in pairs])
    for error in (calibration_error, adaptive_calibration_error):
        assert 0 <= error(confidence, right) <= 1 + 1e-9
        gap = abs(float(right.double().mean() - confidence.mean()))
        assert error(confidence, right, bins=1) == pytest.approx(gap, abs=1e-9)
