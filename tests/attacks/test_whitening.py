import itertools

import pytest
import torch
import torch.nn.functional as F

from attacks.generator.whitening import patch_moments, whitening_matrix


def smooth(*shape, seed=0):
    """Samples whose neighbouring pixels are alike, in float64."""
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double()
    return (x + x.roll(1, -1) + x.roll(1, -2)) / 3


def moments_by_unfold(x, kernel, stride=1):
    patches = F.unfold(x, kernel, padding=kernel // 2, stride=stride)  # (B, D, positions)
    patches = torch.cat([patches, torch.ones_like(patches[:, :1])], 1)
    return patches @ patches.mT / patches.shape[2]


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_moments_are_those_of_unfold(kernel, channels):
    x = smooth(3, channels, 7, 9)
    ours = patch_moments(x, kernel=kernel)
    torch.testing.assert_close(ours, moments_by_unfold(x, kernel), atol=1e-12, rtol=0)


def test_moments_of_large_images_are_of_a_regular_sample():
    x = smooth(1, 2, 500, 420)  # (every = 2)
    ours = patch_moments(x, kernel=3)
    torch.testing.assert_close(ours, moments_by_unfold(x, 3, stride=2), atol=1e-12, rtol=0)
    torch.testing.assert_close(ours, moments_by_unfold(x, 3), atol=3e-3, rtol=0)


def test_moments_of_videos_follow_a_flattened_kernel():
    """Entry by entry: the mean product of two taps of the convolution."""
    x = smooth(1, 2, 3, 4, 5)
    padded = F.pad(x[0], (1,) * 6)  # (C, T + 2, H + 2, W + 2)
    taps = [
        padded[c, t : t + 3, i : i + 4, j : j + 5]
        for c, t, i, j in itertools.product(range(2), range(3), range(3), range(3))
    ]
    rows = torch.stack([*taps, torch.ones_like(taps[0])]).flatten(1)
    ours = patch_moments(x, kernel=3)[0]
    torch.testing.assert_close(ours, rows @ rows.T / rows.shape[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(2, 3, 12, 12), (2, 1, 6, 6, 6)])
def test_whitened_moments_are_the_identity(shape):
    moments = patch_moments(smooth(*shape), kernel=3)
    assert (torch.linalg.cond(moments) > 50).all()  # there is something to whiten
    basis = whitening_matrix(moments, ridge=0)
    white = basis @ moments @ basis
    level = white.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    eye = torch.eye(white.shape[1], dtype=white.dtype)
    torch.testing.assert_close(white / level, eye.expand_as(white), atol=1e-9, rtol=0)
    assert (level > 0).all()


def test_whitener_is_symmetric_with_unit_diagonal_in_the_mean_square():
    basis = whitening_matrix(patch_moments(smooth(2, 3, 8, 8), kernel=3))
    torch.testing.assert_close(basis, basis.mT)
    square = basis.diagonal(dim1=1, dim2=2).square().mean(1)
    torch.testing.assert_close(square, torch.ones(2).double())


def test_ridge_is_a_share_of_the_mean_eigenvalue():
    moments = patch_moments(smooth(1, 1, 9, 9), kernel=3)
    basis = whitening_matrix(moments, ridge=0.1)
    eye = torch.eye(10, dtype=torch.float64)
    white = basis @ (moments + 0.1 * moments.diagonal(dim1=1, dim2=2).mean() * eye) @ basis
    torch.testing.assert_close(white / white[0, 0, 0], eye[None], atol=1e-9, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_samples_have_a_finite_whitener(value):
    basis = whitening_matrix(patch_moments(torch.full((1, 3, 6, 6), value), kernel=3))
    assert torch.isfinite(basis).all()


def test_moments_of_nothing_have_a_finite_whitener():
    assert torch.isfinite(whitening_matrix(torch.zeros(1, 4, 4))).all()
