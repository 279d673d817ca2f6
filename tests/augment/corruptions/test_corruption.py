"""What all corruptions owe their caller, and the frost, which has no pictures to be compared to."""

import numpy as np
import pytest
import torch

from attacks.common.randomness import generator_for
from augment.corruptions import CORRUPTIONS, SEVERITIES, benchmark_for
from augment.corruptions.frost import COARSE, FINE, LOOKS, ice

PAPER = [
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
]  # fmt: skip
FIXED = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
NEW_EACH_FRAME = {"gaussian_noise", "shot_noise", "impulse_noise", "snow"}
every = pytest.mark.parametrize("name", PAPER)


def pictures(count, *size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").contiguous()


def test_they_are_those_of_the_paper():
    assert list(CORRUPTIONS) == PAPER
    assert all(name == each.name for name, each in CORRUPTIONS.items())


@every
def test_a_sample_depends_on_its_seed_and_id_alone(name):
    corrupt, x = CORRUPTIONS[name], pictures(5, 32, 36)
    given, state = x.clone(), torch.get_rng_state()
    together = corrupt(x, severity=4, seed=7, sample_ids=[4, 0, 9, 2, 5])
    assert torch.equal(x, given)
    assert torch.equal(torch.get_rng_state(), state)
    for row, sample_id in enumerate((4, 0, 9, 2, 5)):
        alone = corrupt(x[row : row + 1], severity=4, seed=7, sample_ids=[sample_id])
        assert float((alone[0] - together[row]).abs().max()) <= 1e-6
    for other in ({"seed": 8, "sample_ids": [4]}, {"seed": 7, "sample_ids": [3]}):
        again = corrupt(x[:1], severity=4, **other)[0]
        assert (float((again - together[0]).abs().max()) <= 1e-6) == (name in FIXED)


@every
def test_without_ids_equal_samples_fare_alike(name):
    x = pictures(2, 16, 16)
    out = CORRUPTIONS[name](x[[0, 1, 0]], severity=2)
    assert torch.equal(out[0], out[2])


@every
def test_severity_hurts_more_and_more(name):
    """Of the benchmarks' own order the weakest is milder than the strongest."""
    for size in (32, 96):
        x = pictures(6, size, size)
        ids = range(6)
        change = [
            float((CORRUPTIONS[name](x, severity=s, sample_ids=ids) - x).square().mean())
            for s in SEVERITIES
        ]
        assert change[0] > 0
        if name != "elastic_transform":  # of CIFAR-10-C its parameters are in another order
            assert change[0] < change[4], change


@every
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (8, 8), (65, 80)])
def test_any_size_is_corrupted(name, size):
    for channels in (1, 3):
        x = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(1))
        for severity in (1, 5):
            for benchmark in ("cifar10-c", "imagenet-c"):
                options = {"severity": severity, "benchmark": benchmark, "sample_ids": [0, 1]}
                out = CORRUPTIONS[name](x, **options)
                assert out.shape == x.shape
                assert out.dtype == torch.float32
                assert float(out.min()) >= 0
                assert float(out.max()) <= 1


@every
def test_frames_are_drawn_for_as_a_camera_would(name):
    """Noise and flakes are new in each frame; all else is the frame's own picture corrupted."""
    x = pictures(2, 24, 20)
    clips = torch.stack([x, x.flip(1), x], 2)  # (B, C, T, H, W)
    out = CORRUPTIONS[name](clips, severity=5, sample_ids=[1, 2])
    assert out.shape == clips.shape
    assert out.is_contiguous()
    same = torch.equal(out[:, :, 0], out[:, :, 2])
    assert same == (name not in NEW_EACH_FRAME)
    if same:
        for t in range(3):
            alone = CORRUPTIONS[name](clips[:, :, t], severity=5, sample_ids=[1, 2])
            assert float((alone - out[:, :, t]).abs().max()) <= 1e-6


def test_flakes_of_a_clip_fall_along_one_line():
    """The direction of steepest autocorrelation is the same in every frame."""
    clips = torch.zeros(1, 1, 6, 96, 96)
    out = CORRUPTIONS["snow"](clips, severity=4, sample_ids=[0])[0, 0]  # (T, H, W)
    spectrum = torch.fft.fft2(out - out.mean((1, 2), keepdim=True)).abs().square()
    along = torch.fft.ifft2(spectrum).real[:, 6, :].roll(12, 1)[:, :25]  # 6 pixels further down
    assert int(along.argmax(1).max() - along.argmax(1).min()) <= 1


def test_an_empty_batch_stays_one():
    x = torch.zeros(0, 3, 8, 8)
    assert CORRUPTIONS["fog"](x, severity=1).shape == x.shape


def test_the_benchmark_follows_the_size():
    assert benchmark_for((3, 32, 32)) == benchmark_for((64, 500)) == "cifar10-c"
    assert benchmark_for((3, 65, 65)) == "imagenet-c"
    for size, benchmark in ((32, "cifar10-c"), (80, "imagenet-c")):
        x = pictures(1, size, size)
        usual = CORRUPTIONS["contrast"](x, severity=1)
        assert torch.equal(usual, CORRUPTIONS["contrast"](x, severity=1, benchmark=benchmark))


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (torch.zeros(3, 8, 8), {}, "shape"),
        (torch.zeros(1, 2, 8, 8), {}, "C 1 or 3"),
        (torch.zeros(1, 3, 0, 8), {}, "shape"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), {}, "float32"),
        (torch.full((1, 3, 8, 8), 1.1), {}, "from 1.1 to 1.1"),
        (torch.full((1, 3, 8, 8), float("nan")), {}, "nan"),
        (torch.zeros(1, 3, 8, 8), {"severity": 0}, "1, 2, 3, 4, 5"),
        (torch.zeros(1, 3, 8, 8), {"severity": 6}, "1, 2, 3, 4, 5"),
        (torch.zeros(1, 3, 8, 8), {"severity": "1"}, "1, 2, 3, 4, 5"),
        (torch.zeros(1, 3, 8, 8), {"severity": 1.0}, "1, 2, 3, 4, 5"),
        (torch.zeros(1, 3, 8, 8), {"severity": True}, "True"),
        (torch.zeros(1, 3, 8, 8), {"benchmark": "cifar"}, "cifar10-c, imagenet-c"),
        (torch.zeros(1, 3, 8, 8), {"sample_ids": [1, 2]}, "2 entries for 1"),
    ],
)
def test_what_cannot_be_is_refused(x, options, words):
    with pytest.raises(ValueError, match=words):
        CORRUPTIONS["fog"](x, **{"severity": 1} | options)


# Of crops of the five pictures that imagecorruptions draws from, as they are and shrunk to a fifth:
# the slope of the power spectrum over the frequency, on logarithmic axes.
@pytest.mark.parametrize(("size", "texture", "slope"), [(224, COARSE, -1.67), (32, FINE, -1.01)])
def test_frost_has_the_spectrum_of_the_pictures(size, texture, slope):
    generators = [generator_for(i) for i in range(24)]
    needles = ice(torch.zeros(24, 3, size, size), generators, slope=texture[0], patch=texture[1])
    window = np.hanning(size)
    power = np.abs(np.fft.fft2(needles.numpy() * window[:, None] * window)) ** 2
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency).astype(int)
    rings = np.arange(2, size // 3)
    means = [power.mean(0)[radius == r].mean() for r in rings]
    assert np.polyfit(np.log(rings), np.log(means), 1)[0] == pytest.approx(slope, abs=0.1)


def test_frost_has_the_colours_of_the_pictures():
    """Over black: the mean of each look, and the five of them about as often."""
    out = CORRUPTIONS["frost"](torch.zeros(200, 3, 66, 66), severity=1, sample_ids=range(200)) / 0.4
    means = out.mean((2, 3))  # (N, 3)
    looks = torch.tensor(LOOKS)  # (5, 2, 3)
    distance = (means[:, None] - looks[:, 0]).abs().amax(2)  # (N, 5)
    assert float(distance.amin(1).max()) < 0.02
    nearest = distance.argmin(1)
    assert nearest.bincount(minlength=5).min() >= 20
    deviation = out.std((2, 3))
    assert float((deviation / looks[nearest, 1] - 1).abs().max()) < 0.12
    grey = CORRUPTIONS["frost"](torch.zeros(1, 1, 66, 66), severity=1, sample_ids=[0])
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert torch.allclose(grey[0, 0], 0.4 * (out[0] * weights).sum(0), atol=1e-5)


@pytest.mark.gpu
@every
def test_devices_agree(name):
    for size in (32, 96):
        x = pictures(3, size, size)
        options = {"severity": 3, "sample_ids": [0, 1, 2]}
        out = CORRUPTIONS[name](x.cuda(), **options)
        assert out.is_cuda
        assert float((out.cpu() - CORRUPTIONS[name](x, **options)).abs().mean()) < 1e-4
