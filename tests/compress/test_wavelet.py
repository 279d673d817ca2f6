"""The wavelet transform against PyWavelets and closed forms."""

import itertools
import warnings

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st

from compress import dwt, idwt
from compress.wavelet.bands import bands
from compress.wavelet.lifting import analyse
from tests.slow_but import slow_but

LIFTED = {"haar": "haar", "cdf53": "bior2.2", "cdf97": "bior4.4"}
FAMILIES = ["haar", "cdf53", "cdf97", "db2", "db4", "sym4", "coif1", "bior2.2", "bior4.4", "dmey"]


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("wavelet", FAMILIES)
def test_every_size_comes_back_and_does_not_grow(wavelet):
    for n in range(1, 34):
        x = noise(2, 1, n, 34 - n, seed=n)
        for levels in (None, 3):
            c = dwt(x, wavelet=wavelet, levels=levels)
            assert c.flat.shape == (2, n * (34 - n))
            assert sum(int(np.prod(band.shape)) for band in c.bands) == n * (34 - n)
            assert (idwt(c) - x).abs().max() < 1e-5


@pytest.mark.parametrize("wavelet", ["haar", "cdf53", "cdf97", "db2", "bior4.4"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 9, 5), (2, 3, 33), (16, 8, 1), (3, 17, 31)])
def test_videos_come_back(wavelet, shape):
    x = noise(2, 3, *shape)
    for levels, time_levels in itertools.product((None, 1, 2), (None, 0, 2)):
        c = dwt(x, wavelet=wavelet, levels=levels, time_levels=time_levels)
        assert c.flat.shape == (2, 3 * int(np.prod(shape)))
        assert sum(int(np.prod(band.shape)) for band in c.bands) == int(np.prod(shape))
        assert (idwt(c) - x).abs().max() < 1e-5


@pytest.mark.parametrize("wavelet", list(LIFTED))
@pytest.mark.parametrize("n", [1, 2, 3, 8, 33, 130])
def test_lifting_and_its_matrix_are_one_transform(wavelet, n):
    x = noise(1, 2, n, 5, dtype=torch.float64)
    matrix, lifted = (dwt(x, wavelet=wavelet, lifted=flag).values for flag in (False, True))
    torch.testing.assert_close(lifted, matrix, rtol=0, atol=1e-10)
    torch.testing.assert_close(idwt(dwt(x, wavelet=wavelet), lifted=True), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("ours", "theirs"), LIFTED.items())
def test_lifting_is_pywavelets_filter_bank_away_from_the_borders(ours, theirs):
    x = noise(64, dtype=torch.float64)
    low, high = pywt.dwt(x.numpy(), theirs, "periodization")
    got = analyse(x, ours, 0).numpy()
    np.testing.assert_allclose(got[4:28], low[4:28], atol=1e-9)
    np.testing.assert_allclose(got[36:60], high[4:28], atol=1e-9)


@pytest.mark.parametrize("wavelet", ["db2", "db4", "sym4", "coif1", "bior4.4", "rbio3.1"])
@pytest.mark.parametrize("size", [(32, 32), (8, 16), (2, 4)])
def test_images_are_pywavelets_periodization(wavelet, size):
    x = noise(1, 1, *size, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of levels that its rule of thumb finds too many
        low, *details = pywt.wavedec2(x[0, 0].numpy(), wavelet, "periodization", level=1)
    c = dwt(x, wavelet=wavelet, levels=1)
    got = {band.high[1:]: c.band(band)[0, 0, 0].numpy() for band in c.bands}
    horizontal, vertical, diagonal = details[0]
    for name, want in {
        (False, False): low,
        (True, False): horizontal,
        (False, True): vertical,
        (True, True): diagonal,
    }.items():
        np.testing.assert_allclose(got[name], want, atol=1e-12)


def test_levels_are_pywavelets_pyramid():
    x = noise(1, 1, 32, 32, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        low, *details = pywt.wavedec2(x[0, 0].numpy(), "sym4", "periodization", level=3)
    c = dwt(x, wavelet="sym4", levels=3)
    np.testing.assert_allclose(c.band(c.bands[0])[0, 0, 0].numpy(), low, atol=1e-12)
    for level, (horizontal, _, _) in zip((3, 2, 1), details, strict=True):
        band = next(b for b in c.bands if b.level == level and b.high[1:] == (True, False))
        np.testing.assert_allclose(c.band(band)[0, 0, 0].numpy(), horizontal, atol=1e-12)


def test_videos_are_pywavelets_along_time_then_space():
    x = noise(1, 1, 8, 4, 4, dtype=torch.float64)
    c = dwt(x, wavelet="db2", levels=1, time_levels=1)
    want = pywt.dwtn(x[0, 0].numpy(), "db2", "periodization")
    for band in c.bands:
        name = "".join("d" if high else "a" for high in band.high)
        np.testing.assert_allclose(c.band(band)[0, 0].numpy(), want[name], atol=1e-12)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
def test_orthogonal_wavelets_keep_lengths(wavelet):
    x = noise(3, 2, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(dwt(x, wavelet=wavelet).flat.norm(dim=1), x.flatten(1).norm(dim=1))


def test_a_constant_is_one_coefficient():
    for wavelet, shape in itertools.product(LIFTED, [(1, 1, 16, 16), (1, 1, 4, 16, 16)]):
        x = torch.ones(*shape, dtype=torch.float64)
        c = dwt(x, wavelet=wavelet).flat
        assert c[0, 0].item() == pytest.approx(x.numel() ** 0.5)
        assert c[0, 1:].abs().max() < 1e-9


@pytest.mark.parametrize(
    ("shape", "lifted"),
    slow_but(
        [((1, 2, 5, 4), True), ((1, 1, 3, 4, 5), False)],
        itertools.product([(1, 2, 5, 4), (1, 1, 3, 4, 5)], [False, True]),
    ),
)
def test_gradients(shape, lifted):
    x = noise(*shape, dtype=torch.float64).requires_grad_()

    def there(x):
        return dwt(x, wavelet="cdf97", levels=2, lifted=lifted).values

    def back(values):
        c = dwt(x.detach(), wavelet="cdf97", levels=2)
        return idwt(c.with_values(values), lifted=lifted)

    assert torch.autograd.gradcheck(there, x)
    assert torch.autograd.gradcheck(back, x)
    assert torch.autograd.gradgradcheck(there, x)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 4), st.integers(0, 3)
)
def test_bands_tile_the_sample(h, w, t, levels, time_levels):
    seen = np.zeros((t, h, w), int)
    for band in bands(t, h, w, levels=levels, time_levels=time_levels):
        seen[band.where] += 1
        assert seen[band.where].shape == band.shape
    assert (seen == 1).all()


def test_the_input_is_left_alone():
    x = noise(1, 1, 8, 8)
    before = x.clone()
    c = dwt(x)
    values = c.values.clone()
    idwt(c)
    assert torch.equal(x, before)
    assert torch.equal(c.values, values)


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (torch.zeros(1, 1, 4, 4), dict(wavelet="db99"), "db99.*cdf97"),
        (torch.zeros(1, 1, 4, 4), dict(wavelet="morl"), "morl"),
        (torch.zeros(1, 4, 4), {}, r"\(1, 4, 4\).*\(B, C, H, W\)"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), {}, "int64"),
        (torch.zeros(1, 1, 0, 4), {}, "none of them 0"),
        (torch.zeros(1, 1, 4, 4), dict(levels=-1), "levels is -1"),
        (torch.zeros(1, 1, 4, 4), dict(time_levels=1), "images have no time"),
        (torch.zeros(1, 1, 4, 4), dict(wavelet="db2", lifted=True), "lifting steps"),
    ],
)
def test_bad_input(x, options, words):
    with pytest.raises(ValueError, match=words):
        dwt(x, **options)
