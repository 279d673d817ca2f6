"""Perturbations of few wavelet coefficients, against classifiers whose best ones are known."""

import pytest
import torch

from attacks import WaveletSparse
from compress import dwt, idwt


class Linear(torch.nn.Module):
    """Class 1 where the sum of weight * x is above a level."""

    def __init__(self, weight, level):
        super().__init__()
        self.weight, self.level = torch.nn.Parameter(weight), level

    def forward(self, x):
        value = (x * self.weight).flatten(1).sum(1) - self.level
        return torch.stack([-value, value], 1)


def coefficient(place, wavelet, value=1.0):
    """Return the 8x8 picture that one coefficient makes."""
    c = dwt(torch.zeros(1, 1, 8, 8), wavelet=wavelet, levels=2)
    values = torch.zeros_like(c.flat)
    values[0, place] = value
    return idwt(c.with_values(values))


@pytest.mark.parametrize("wavelet", ["haar", "cdf97"])
def test_one_coefficient_is_found_where_one_is_enough(wavelet):
    weight = (
        coefficient(27, wavelet) + 0.3 * coefficient(5, wavelet) + 0.2 * coefficient(60, wavelet)
    )
    x = torch.full((1, 1, 8, 8), 0.5)
    model = Linear(weight, (weight * x).sum().item() + 0.3)
    result = WaveletSparse(wavelet=wavelet, levels=2)(model, x, torch.tensor([0]))
    assert result.success.all()
    assert result.info["nonzeros"].tolist() == [1]
    # what changed is that coefficient, where the range allows it
    change = dwt(result.delta, wavelet=wavelet, levels=2).flat[0]
    assert change.abs().argmax() == 27
    assert change.abs().max() > 5 * change.abs().sort().values[-2]


def test_the_count_is_that_of_the_perturbation(net, batch):
    model = net().eval()
    x, _ = batch(16)
    x = 0.25 + 0.5 * x  # away from the ends of the range, which would add coefficients
    y = model(x).argmax(1)
    result = WaveletSparse(lr=0.05, steps=200)(model, x, y)
    assert result.success.float().mean() > 0.5
    count = (dwt(result.delta).flat.abs() > 1e-5).sum(1)
    inside = (result.x_adv > 0).flatten(1).all(1) & (result.x_adv < 1).flatten(1).all(1)
    assert inside[result.success].any()
    assert torch.equal(count[inside], result.info["nonzeros"][inside])
    assert (result.info["nonzeros"][~result.success] == 0).all()


def test_pruning_leaves_out_coefficients_and_fools_as_many(net, batch):
    model = net().eval()
    x, _ = batch(16)
    y = model(x).argmax(1)
    whole, pruned = (WaveletSparse(prune=n, steps=30)(model, x, y) for n in (0, 12))
    assert torch.equal(whole.success, pruned.success)
    assert (pruned.info["nonzeros"] <= whole.info["nonzeros"]).all()
    assert pruned.info["nonzeros"].sum() < whole.info["nonzeros"].sum()


def test_it_is_sparser_than_an_attack_that_does_not_try(net, batch):
    from attacks import DeepFool

    model = net().eval()
    x, _ = batch(16)
    y = model(x).argmax(1)
    ours, other = WaveletSparse()(model, x, y), DeepFool()(model, x, y)
    assert ours.success.all()
    dense = (dwt(other.delta).flat.abs() > 1e-3 * other.delta.abs().max()).sum(1)
    assert ours.info["nonzeros"].float().mean() < 0.2 * dense.float().mean()


def test_what_is_wrong_from_the_start_stays(net, batch):
    model = net().eval()
    x, _ = batch(4)
    y = (model(x).argmax(1) + 1) % 4
    result = WaveletSparse(steps=3)(model, x, y)
    assert torch.equal(result.x_adv, x)
    assert result.info["nonzeros"].tolist() == [0] * 4


@pytest.mark.parametrize(
    "options",
    [dict(steps=0), dict(prune=-1), dict(lr=0.0), dict(lr=float("nan")), dict(wavelet="x")],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        WaveletSparse(**options)
