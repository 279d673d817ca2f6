"""The step for a number of bytes."""

import math

import pytest

from compress.quantise.rate import find_step


@pytest.mark.parametrize("wanted", [1.05, 5, 40, 900])
@pytest.mark.parametrize(
    "size",
    [
        lambda step: 20 / step,
        lambda step: 20 / step**2.5,
        lambda step: 0.8 + 1000 * math.exp(-3 * step),  # flat at both ends
        lambda step: math.ceil(4000 / (1 + 9 * step)) / 4,  # in steps
    ],
)
def test_few_trials_find_the_step(size, wanted):
    trials = []

    def counted(step):
        trials.append(step)
        return size(step)

    step = find_step(counted, wanted, start=0.4, close=0.02)
    assert abs(math.log(size(step) / wanted)) <= 0.02 or wanted < 2  # where sizes are far apart
    assert 0.9 < size(step) / wanted < 1.1
    assert len(trials) <= (16 if wanted < 2 else 14)


def test_noise_does_not_lead_it_astray():
    """Sizes of a search wobble; the nearest trial is the answer."""
    step = find_step(lambda s: 20 / s * (1 + 0.03 * math.sin(1e4 * s)), 50, start=3.0, close=0.001)
    assert 48 < 20 / step < 52


@pytest.mark.parametrize(("wanted", "nearest"), [(0.5, "0.8"), (2000, "1000")])
def test_sizes_out_of_reach_are_refused(wanted, nearest):
    with pytest.raises(ValueError, match=f"nearest that these samples can have is {nearest}"):
        find_step(lambda s: 0.8 + 1000 * math.exp(-3 * s), wanted, start=0.4, close=0.002)


@pytest.mark.parametrize("wanted", [0, -1, math.inf, math.nan])
def test_no_sizes_are_refused_at_once(wanted):
    with pytest.raises(ValueError, match="give a finite number above 0"):
        find_step(lambda s: 1 / 0, wanted, start=0.4, close=0.002)
