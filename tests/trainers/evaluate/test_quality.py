"""Metrics against independent computations: kornia's, scipy's, and by hand."""

import kornia
import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from trainers.evaluate.quality import mean, ms_ssim, nearest, psnr, ssim

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, 40, 33, generator=generator)
    return x, (x + 0.2 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def test_psnr_is_the_mean_of_each_sample_s(pair):
    x, y = pair
    errors = np.mean((x.numpy().astype(float) - y.numpy()) ** 2, axis=(1, 2, 3))
    assert psnr(x, y).tolist() == pytest.approx((10 * np.log10(1 / errors)).tolist(), abs=1e-4)
    assert psnr(x, x).tolist() == pytest.approx([100.0] * 3)


def test_ssim_is_kornia_s_without_the_border(pair):
    x, y = pair
    theirs = kornia.metrics.ssim(x, y, 11, max_val=1.0, eps=0.0, padding="valid")
    assert torch.allclose(ssim(x, y), theirs.mean((1, 2, 3)), atol=1e-5)


def test_ssim_of_a_clip_is_the_mean_of_its_frames(pair):
    x, y = (v.unsqueeze(0).transpose(1, 2) for v in pair)  # (1, C, T=3, H, W)
    assert float(ssim(x, y)) == pytest.approx(float(ssim(*pair).mean()), abs=1e-6)


def test_small_pictures_have_small_windows():
    x = torch.rand(2, 1, 8, 8)
    assert torch.allclose(ssim(x, x), torch.ones(2))
    assert float(ssim(x, 1 - x).mean()) < 0.1


def window(x):
    """Gaussian means of the places whose window fits, of a picture (H, W)."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    for axis in (0, 1):
        x = correlate1d(x, line / line.sum(), axis=axis)
    return x[5:-5, 5:-5]


def plain_ms_ssim(a, b):
    """MS-SSIM of two pictures (H, W), as the paper says it, in scipy and float64."""
    product = 1.0
    for scale, weight in enumerate(SCALES):
        ma, mb = window(a), window(b)
        va, vb = window(a * a) - ma**2, window(b * b) - mb**2
        structure = (2 * (window(a * b) - ma * mb) + 9e-4) / (va + vb + 9e-4)
        luminance = (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
        product *= np.mean(structure * luminance if scale == 4 else structure) ** weight
        a, b = (v[: len(v) // 2 * 2, : v.shape[1] // 2 * 2] for v in (a, b))
        a, b = ((v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) / 4 for v in (a, b))
    return product


def test_ms_ssim_is_the_paper_s():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 1, 190, 177, generator=generator, dtype=torch.float64)
    y = (x + 0.3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    wanted = [plain_ms_ssim(a[0].numpy(), b[0].numpy()) for a, b in zip(x, y, strict=True)]
    assert ms_ssim(x.float(), y.float()).tolist() == pytest.approx(wanted, abs=1e-4)


def test_ms_ssim_needs_more_than_160_pixels():
    assert ms_ssim(torch.rand(1, 1, 160, 300), torch.rand(1, 1, 160, 300)) is None
    assert ms_ssim(torch.rand(1, 1, 161, 161), torch.rand(1, 1, 161, 161)) is not None


def test_retrieval_finds_the_nearest_sample():
    x = torch.eye(5).view(5, 1, 1, 5)
    assert nearest(0.1 * x, x).all()
    swapped = x[[1, 0, 2, 3, 4]]
    assert nearest(swapped, x).tolist() == [False, False, True, True, True]


def test_what_is_not_finite_is_no_number():
    assert mean(None) is None
    assert mean(torch.tensor([float("nan")])) is None
    assert mean(torch.tensor([True, False])) == 0.5
