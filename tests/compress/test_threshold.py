"""Thresholds against PyWavelets, closed forms and brute force."""

import math
from functools import partial

import numpy as np
import pytest
import pywt
import torch

from compress import dwt, idwt
from compress.file_format import parse
from compress.quantise.quantise import normalise_subbands, quantise
from compress.quantise.threshold import bayes_shrink, hard, quantise_thresholded, soft, top_k


@pytest.fixture
def c():
    return dwt(torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0)), levels=2)


@pytest.mark.parametrize(("ours", "mode"), [(hard, "hard"), (soft, "soft")])
def test_hard_and_soft_are_pywavelets(c, ours, mode):
    want = pywt.threshold(c.values.numpy(), 0.7, mode)
    np.testing.assert_allclose(ours(c, 0.7).values.numpy(), want, atol=1e-6)
    each = ours(c, torch.tensor([0.0, 0.7, 9.0])).values
    assert torch.equal(each[0], c.values[0])
    np.testing.assert_allclose(each[1].numpy(), want[1], atol=1e-6)
    assert not each[2].any()


def test_top_k_keeps_the_largest(c):
    kept = top_k(c, 5).flat
    assert (kept != 0).sum(1).tolist() == [5, 5, 5]
    for row, whole in zip(kept, c.flat, strict=True):
        assert row[row != 0].abs().min() >= whole[row == 0].abs().max()
    assert not top_k(c, 0).flat.any()
    assert torch.equal(top_k(c, c.flat.shape[1]).flat, c.flat)


@pytest.mark.parametrize("method", ["hard", "soft", "bayes", "top-k"])
def test_thresholded_coefficients_are_whole_and_few(method):
    x = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    c = dwt(x, levels=2)
    units = normalise_subbands(c, 0.25)
    q = quantise_thresholded(c, 0.25, method=method, k=20)
    assert torch.equal(q.values, q.values.round())
    low, *details = c.bands
    assert torch.equal(q.band(low), units.band(low).round())
    for band in details:
        size, kept = units.band(band).abs(), q.band(band).abs()
        assert (kept <= size + 0.5).all()
        if method in ("hard", "soft"):
            whole = size.round() if method == "hard" else (size - 1).round()
            assert torch.equal(kept, torch.where(size > 1, whole, 0.0))
    if method == "top-k":
        counts = sum((q.band(band) != 0).flatten(1).sum(1) for band in details)
        assert (counts <= 20).all()


def test_a_file_of_thresholded_coefficients_has_the_bytes_asked_for(codec, photographs):
    x = photographs[300:]
    quantiser = partial(quantise_thresholded, method="hard", k=0)
    plain, thresholded = (
        codec.encode(x, bytes_per_sample=150, quantiser=way) for way in (quantise, quantiser)
    )
    assert plain != thresholded
    assert parse(thresholded).payload == pytest.approx(150, rel=0.05)
    error = (codec.decode(thresholded) - x).square().mean()
    assert (codec.decode(plain) - x).square().mean() < error < 0.05


def test_bayes_shrink_lessens_noise_and_knows_how_much():
    grid = torch.linspace(0, 1, 64)
    clean = (torch.sin(6 * grid)[:, None] * torch.cos(4 * grid)[None])[None, None]
    noise = 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    got = idwt(bayes_shrink(dwt(clean + noise, wavelet="db4", levels=4)))
    assert (got - clean).pow(2).mean() < 0.15 * noise.pow(2).mean()
    # without noise the finest diagonal band is nearly empty, and nothing is taken away
    still = idwt(bayes_shrink(dwt(clean, wavelet="db4", levels=4)))
    assert (still - clean).abs().max() < 0.02


def test_bayes_shrink_by_hand():
    c = dwt(torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)), levels=1)
    got = bayes_shrink(c)
    diagonal = next(b for b in c.bands if all(b.high[1:]))
    sigma = np.median(np.abs(c.band(diagonal).numpy())) / 0.6744897501960817
    for band in c.bands:
        part, new = c.band(band).numpy(), got.band(band).numpy()
        if not any(band.high):
            np.testing.assert_array_equal(new, part)
            continue
        spread = math.sqrt(max((part**2).mean() - sigma**2, 0))
        want = pywt.threshold(part, sigma**2 / spread, "soft") if spread else 0 * part
        np.testing.assert_allclose(new, want, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: hard(c, -1.0), "at least 0"),
        (lambda c: hard(c, math.nan), "nan"),
        (lambda c: top_k(c, 129), "0 to 128"),
    ],
)
def test_bad_input(c, call, words):
    with pytest.raises(ValueError, match=words):
        call(c)
