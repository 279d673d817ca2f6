"""The curve over eps against a linear classifier, whose distances are known."""

import math

import pytest
import torch
from torch import nn

from attacks import APGD, FMN, PGD
from augment import Dataset
from trainers import evaluate_attack
from trainers.evaluate.curve import (
    RobustnessCurve,
    compare_with,
    curve_of,
    curve_summary,
    join_curves,
)
from trainers.intervals import wilson

SIDE = 4
LEVELS = [0.05, 0.2, 0.32, 0.44, 0.47, 0.55, 0.61, 0.7, 0.83, 0.95, 0.4, 0.6]
LABELS = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]  # the last two are wrong by themselves
DISTANCES = [abs(level - 0.5) for level in LEVELS[:10]] + [0, 0]  # in linf; times 4 in l2
TRUTH = torch.tensor(DISTANCES, dtype=torch.float64)


class Threshold(nn.Module):
    """Class 1 when the mean is above one half: |mean - 0.5| is the distance in linf."""

    def forward(self, x):
        score = x.flatten(1).mean(1) - 0.5
        return torch.stack([-score, score], 1)


@pytest.fixture(scope="module")
def ds():
    x = torch.tensor(LEVELS).view(-1, 1, 1, 1).expand(-1, 1, SIDE, SIDE).contiguous()
    names = [f"s{i}" for i in range(len(x))]
    return Dataset(x, torch.tensor(LABELS), names, name="levels", classes=["dark", "bright"])


@pytest.mark.parametrize(("norm", "factor"), [("linf", 1), ("l2", SIDE)])
def test_one_run_gives_the_exact_curve(ds, norm, factor):
    curve = curve_of(evaluate_attack(FMN(norm=norm), Threshold(), ds))
    assert curve.distances.tolist() == pytest.approx([factor * d for d in DISTANCES], rel=0.03)
    for eps in (0.0, 0.02, 0.1, 0.25, 0.4, 0.6):
        point = curve.at(factor * eps)
        right = sum(d > eps for d in DISTANCES)
        assert point["accuracy"] == pytest.approx(right / 12)
        assert point["interval"] == wilson(right, 12)
    assert curve.area()[0] == pytest.approx(factor * sum(DISTANCES) / 12, rel=0.03)


def test_the_area_is_the_integral_of_the_accuracy():
    curve, steps = RobustnessCurve("linf", TRUTH), 2000
    width = curve.reach / steps
    sums = sum(curve.at((i + 0.5) * width)["accuracy"] for i in range(steps)) * width
    area, (low, high) = curve.area()
    assert area == pytest.approx(sums, abs=1e-3)
    assert low < area < high
    half = 1.959964 * TRUTH.std(correction=0) / math.sqrt(12)
    assert high - area == pytest.approx(float(half), rel=1e-5)


def test_apgd_finds_what_the_curve_says(ds):
    curve = curve_of(evaluate_attack(FMN(norm="linf"), Threshold(), ds))
    for eps in (0.09, 0.25, 0.4):
        found = compare_with(curve, eps, evaluate_attack(APGD(eps=eps, steps=10), Threshold(), ds))
        assert found["difference"] == 0
        assert found["attack_alone"] == found["curve_alone"] == 0
        assert found["joint"] == found["accuracy"] == found["attack_accuracy"]


def test_a_weaker_attack_shows_in_the_comparison(ds):
    weak = evaluate_attack(PGD(eps=0.25, steps=1, step_size=1e-4, random_start=False),
                           Threshold(), ds)  # fmt: skip
    found = compare_with(RobustnessCurve("linf", TRUTH), 0.25, weak)
    assert (found["curve_alone"], found["attack_alone"]) == (6, 0)
    assert found["difference"] == pytest.approx(6 / 12)
    short = RobustnessCurve("linf", torch.where(TRUTH > 0, TRUTH + 0.2, 0))  # misses some
    strong = evaluate_attack(APGD(eps=0.25, steps=10), Threshold(), ds)
    found = compare_with(short, 0.25, strong)
    assert found["attack_alone"] == 4
    assert found["joint"] == found["attack_accuracy"] < found["accuracy"]


def test_of_several_attacks_the_smallest_change_counts():
    one = RobustnessCurve("linf", torch.tensor([0.1, 0.5, torch.inf, 0], dtype=torch.float64))
    two = RobustnessCurve("linf", torch.tensor([0.3, 0.2, torch.inf, 0], dtype=torch.float64))
    joint = join_curves([one, two])
    assert joint.distances.tolist() == [0.1, 0.2, math.inf, 0]
    assert (joint.never_fooled, joint.reach) == (1, 0.2)
    assert joint.at(9)["accuracy"] == 0.25
    summary = curve_summary({"a": one, "b": two}, joint, eps=0.1, checks=[])
    assert summary["points"][0]["accuracy"] == 0.75
    assert [row["eps"] for row in summary["points"]][:5] == pytest.approx(
        [0, 0.025, 0.05, 0.075, 0.1]
    )
    assert summary["points"][-1]["eps"] >= 0.2
    assert summary["median_distance"] == 0.2, "of those right: 0.1, 0.2 and never"


def test_radii_to_check_lie_where_equal_parts_are_lost():
    curve = RobustnessCurve("linf", torch.linspace(0.01, 1, 100).double())
    assert curve.quantile_eps(3) == pytest.approx([0.2575, 0.505, 0.7525], abs=1e-3)
    assert curve.quantile_eps(0) == []
    assert RobustnessCurve("linf", torch.zeros(3).double()).quantile_eps(3) == []


def test_a_curve_wants_an_attack_that_looks_for_the_smallest_change(ds):
    with pytest.raises(ValueError, match=r"held to linf 0\.1; a curve wants one"):
        curve_of(evaluate_attack(PGD(eps=0.1, steps=1), Threshold(), ds))
