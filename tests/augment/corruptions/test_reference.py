"""The corruptions of ImageNet-C against imagecorruptions, fed with the same random numbers."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from augment.corruptions import CORRUPTIONS, SEVERITIES
from benchmarks.corruption_reference import corrupt, load, our_numbers

# In bytes. Both of glass blur and snow round or cut to bytes on the way, pixelate twice.
TOLERANCES = {"glass_blur": 1.01, "snow": 1.01, "pixelate": 1.01}
CLOSE = 0.01
SLOW = ("glass_blur",)  # a second for each picture


@pytest.fixture(scope="module")
def reference():
    try:
        return load()
    except ImportError as error:
        pytest.skip(f"imagecorruptions cannot be imported ({error}); pip install imagecorruptions")


@pytest.fixture(scope="module")
def images():
    first, second = load_sample_images().images
    return [first[100:324, 150:374], second[50:147, 300:431], second[200:270, 100:180]]


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "frost"])
def test_equals_imagecorruptions(name, severity, reference, images):
    for number, image in enumerate(images[1:] if name in SLOW else images):
        x = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
        options = {"severity": severity, "seed": 5, "sample_ids": [number]}
        ours = CORRUPTIONS[name](x[None], **options, benchmark="imagenet-c")[0]
        given = our_numbers(name, x, severity, seed=5, sample_id=number)
        theirs = corrupt(reference, name, image, severity, given)
        worst = np.abs(ours.permute(1, 2, 0).numpy() * 255 - theirs.clip(0, 255)).max()
        assert worst <= TOLERANCES.get(name, CLOSE), worst


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "frost"])
def test_draws_are_alike_in_distribution(name, severity, reference, images):
    """Means and deviations over many draws, of the reference's own numbers."""
    image = np.ascontiguousarray(images[2])
    x = torch.from_numpy(image).permute(2, 0, 1).float()[None] / 255
    count = 120 if name == "frost" else 30
    np.random.seed(0)  # noqa: NPY002 - the reference draws from it
    theirs = np.stack([corrupt(reference, name, image, severity) for _ in range(count)])
    options = {"severity": severity, "sample_ids": range(count), "benchmark": "imagenet-c"}
    ours = CORRUPTIONS[name](x.expand(count, -1, -1, -1), **options).permute(0, 2, 3, 1).numpy()
    bound = 16 if name == "frost" else 1  # bytes; means of 120 frosts differ by 4.6 in the mean
    for moment in (np.mean, np.std):
        mine, other = (moment(a, axis=(1, 2)).mean(0) for a in (ours * 255, theirs))  # (3,)
        assert np.abs(mine - other).max() < bound, (mine, other)
