"""Each corruption equals its slow form, of all severities and both benchmarks' numbers."""

import numpy as np
import pytest
import torch

from attacks.common.randomness import generator_for
from augment.corruptions import CORRUPTIONS, SEVERITIES
from augment.corruptions.frost import COARSE, FINE
from tests.augment.corruptions import slow

BYTE = 1 / 255
# Pillow rounds to bytes twice; the others are equal but for float32.
TOLERANCES = {"pixelate": 1.01 * BYTE, "elastic_transform": 2e-5}
SEED, ID = 3, 11
RANDOM = ("shot_noise", "frost")  # whose draws slow.py does not follow


class Numbers:
    """The random numbers of a sample, as NumPy arrays."""

    def __init__(self, name, severity):
        self.generator = generator_for(SEED, "corruption", name, severity, ID)

    def draw(self, shape):
        return torch.rand(shape, generator=self.generator).double().numpy()

    def normal(self, shape):
        return torch.randn(shape, generator=self.generator).double().numpy()


@pytest.fixture(scope="module")
def images():
    """Bytes of a picture with edges, colours, black and white, by channels: (1, C, H, W)."""
    rng = np.random.default_rng(0)
    x = np.kron(rng.integers(0, 256, (3, 5, 6)), np.ones((1, 5, 5)))[:, :23, :26]
    x = np.clip(x + rng.integers(-20, 20, x.shape), 0, 255)
    x[:, 2:5, 3:9], x[:, 9:12, 3:9] = 0, 255
    x = torch.from_numpy(x).float()[None] / 255
    return {3: x, 1: x[:, :1].contiguous()}


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("benchmark", slow.LEVELS)
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in RANDOM])
def test_equals_the_slow_form(name, benchmark, channels, images):
    x = images[channels]
    image = x[0].permute(1, 2, 0).double().numpy()
    for severity in SEVERITIES:
        options = {"severity": severity, "seed": SEED, "sample_ids": [ID], "benchmark": benchmark}
        ours = CORRUPTIONS[name](x, **options)
        level = slow.LEVELS[benchmark][name][severity - 1]
        theirs = getattr(slow, name)(image.copy(), level, Numbers(name, severity)).clip(0, 1)
        worst = np.abs(ours[0].permute(1, 2, 0).double().numpy() - theirs).max()
        assert worst <= TOLERANCES.get(name, 3e-6), (severity, worst)
        assert not torch.equal(ours, x)


@pytest.mark.parametrize("benchmark", slow.LEVELS)
def test_the_numbers_are_those_of_the_benchmarks(benchmark):
    texture = {"cifar10-c": FINE, "imagenet-c": COARSE}[benchmark]
    for name in RANDOM:
        ours = CORRUPTIONS[name].levels[benchmark]
        theirs = slow.LEVELS[benchmark][name]
        assert list(ours) == [(*t, *texture) if name == "frost" else t for t in theirs]


@pytest.mark.parametrize("benchmark", slow.LEVELS)
def test_shot_noise_counts_photons(benchmark):
    """Mean x, variance x / n, and whole numbers of n-ths."""
    x = torch.full((40, 3, 64, 64), 0.3)
    for severity, photons in zip(SEVERITIES, slow.LEVELS[benchmark]["shot_noise"], strict=True):
        out = CORRUPTIONS["shot_noise"](
            x, severity=severity, benchmark=benchmark, sample_ids=range(40)
        )
        counts = out.double() * photons
        assert float((counts - counts.round()).abs().max()) < 1e-3
        if photons >= 12:  # else some are cut off at white
            deviation = (0.3 / photons / x.numel()) ** 0.5
            assert abs(float(out.double().mean()) - 0.3) < 5 * deviation
            assert float(out.double().var()) == pytest.approx(0.3 / photons, rel=0.02)
