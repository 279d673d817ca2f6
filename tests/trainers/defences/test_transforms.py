"""Each transform against an independent one: torchvision, scipy, PyWavelets, plain NumPy."""

import math

import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter, median_filter
from torchvision.io import decode_jpeg, encode_jpeg

from compress import dwt, idwt
from trainers.defences import DEFENCES
from trainers.defences.bit_depth import BitDepth
from trainers.defences.crop_ensemble import CropEnsemble
from trainers.defences.gaussian_blur import GaussianBlur
from trainers.defences.jpeg import JPEG
from trainers.defences.median_blur import MedianBlur
from trainers.defences.resize_pad import ResizePad
from trainers.defences.total_variation import TotalVariation, divergence, gradient
from trainers.defences.wavelet_denoising import WaveletDenoising

PLANE = [n for n, kind in DEFENCES.items() if not kind.random and n != "wavelet"]


def smooth(*shape, seed=0):
    """Samples with edges, gradients and a little noise, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((*shape[:-2], 4, 4))
    up = coarse.repeat(-(-shape[-2] // 4), -2).repeat(-(-shape[-1] // 4), -1)
    values = up[..., : shape[-2], : shape[-1]] + 0.05 * rng.standard_normal(shape)
    return torch.from_numpy(values.clip(0, 1)).float()


LUMINANCE = """
    16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56
    14 17 22 29 51 87 80 62  18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92
    49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""  # ITU-T T.81, table K.1


@pytest.mark.parametrize("quality", [5, 10, 75, 95])
def test_jpeg_quantises_the_cosine_transform_of_blocks(quality):
    x = smooth(8, 1, 64, 64)
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    base = np.array(LUMINANCE.split(), float).reshape(8, 8)
    table = np.floor((base * scale + 50) / 100).clip(1, 255)
    blocks = (x * 255).round().numpy().reshape(8, 8, 8, 8, 8).swapaxes(2, 3) - 128.0
    whole = np.rint(dctn(blocks, axes=(-2, -1), norm="ortho") / table) * table
    levels = idctn(whole, axes=(-2, -1), norm="ortho").swapaxes(2, 3).reshape(x.shape) + 128
    difference = np.abs(JPEG(quality=quality)(x).numpy() * 255 - np.rint(levels.clip(0, 255)))
    blocks = difference.reshape(8, 8, 8, 8, 8).max((2, 4))
    # libjpeg computes in whole numbers, so a coefficient may go to the other side of a half.
    assert (blocks <= 2).mean() > 0.85
    assert difference.mean() < 0.5


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [10, 75])
def test_jpeg_is_torchvisions(channels, quality):
    x = smooth(3, channels, 21, 34)
    for image, ours in zip(x, JPEG(quality=quality)(x), strict=True):
        theirs = decode_jpeg(encode_jpeg((image * 255).round().byte(), quality))
        difference = (ours * 255 - theirs).abs()
        assert difference.max() <= 2  # two builds of the same library may round apart
        assert difference.mean() < 0.05


def test_jpeg_refuses_other_channels():
    with pytest.raises(ValueError, match="1 or 3 channels, and the samples have 2"):
        JPEG()(torch.rand(1, 2, 8, 8))


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_bit_depth_takes_the_nearest_level(bits):
    x = torch.rand(2, 3, 5, 7)
    levels = np.linspace(0, 1, 2**bits)
    distance = np.abs(x.numpy()[..., None] - levels)
    np.testing.assert_allclose(BitDepth(bits=bits)(x), levels[distance.argmin(-1)], atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_median_blur_is_scipys(size):
    x = torch.rand(2, 3, 9, 12)
    theirs = median_filter(x.numpy(), size=(1, 1, size, size), mode="nearest")
    np.testing.assert_array_equal(MedianBlur(size=size)(x), theirs)


@pytest.mark.parametrize("sigma", [0.5, 1.3])
def test_gaussian_blur_is_scipys(sigma):
    x = torch.rand(2, 3, 16, 12)
    theirs = gaussian_filter(x.numpy(), sigma=(0, 0, sigma, sigma), mode="nearest")
    np.testing.assert_allclose(GaussianBlur(sigma=sigma)(x), theirs, atol=1e-6)


def chambolle(image, weight, steps):
    """Chambolle's fixed point on one image (H, W), pixel by pixel."""
    height, width = image.shape
    p = np.zeros((2, height, width))

    def smoothed():
        out = image.astype(float).copy()
        for i in range(height):
            for j in range(width):
                out[i, j] -= p[0, i, j] + p[1, i, j]
                out[i, j] += p[0, i - 1, j] if i else 0.0
                out[i, j] += p[1, i, j - 1] if j else 0.0
        return out

    for _ in range(steps):
        z = smoothed()
        for i in range(height):
            for j in range(width):
                down = z[i + 1, j] - z[i, j] if i + 1 < height else 0.0
                right = z[i, j + 1] - z[i, j] if j + 1 < width else 0.0
                by = 1 + 0.25 / weight * math.hypot(down, right)
                p[:, i, j] = (p[:, i, j] - 0.25 * np.array([down, right])) / by
    return smoothed()


def test_total_variation_is_chambolles():
    x = smooth(2, 2, 8, 11)
    ours = TotalVariation(weight=0.1, steps=12)(x)
    for image, z in zip(x.flatten(0, 1).numpy(), ours.flatten(0, 1).numpy(), strict=True):
        np.testing.assert_allclose(z, chambolle(image, 0.1, 12).clip(0, 1), atol=1e-5)


def test_total_variation_comes_to_the_minimum():
    x, weight = smooth(1, 1, 12, 12).double(), 0.08

    def objective(z):
        length = torch.linalg.vector_norm(gradient(z), dim=0)
        return float(((z - x) ** 2).sum() / 2 + weight * length.sum())

    z = TotalVariation(weight=weight, steps=3000)(x)
    least, generator = objective(z), torch.Generator().manual_seed(0)
    assert least < objective(x) - 0.1
    for scale in (1e-1, 1e-2, 1e-3):  # the objective is convex
        for _ in range(20):
            noise = scale * torch.randn(x.shape, generator=generator, dtype=x.dtype)
            assert objective(z + noise) > least


def test_divergence_is_the_adjoint_of_the_gradient():
    z, p = torch.rand(3, 5, 7).double(), torch.rand(2, 3, 5, 7).double()
    p[0, :, -1], p[1, :, :, -1] = 0, 0  # where differences are 0
    torch.testing.assert_close((gradient(z) * p).sum(), (z * divergence(p)).sum())


@pytest.mark.parametrize("threshold", ["bayes", "universal"])
def test_wavelet_denoising_is_pywavelets(threshold):
    x = smooth(2, 2, 32, 16)
    ours = WaveletDenoising(threshold=threshold, levels=2, wavelet="haar")(x)
    for image, z in zip(x.flatten(0, 1).numpy(), ours.flatten(0, 1).numpy(), strict=True):
        low, *details = pywt.wavedec2(image.astype(float), "haar", level=2)
        noise = np.median(np.abs(details[-1][2])) / 0.6744897501960817

        def shrunk(band, noise=noise):
            size = noise * math.sqrt(2 * math.log(x[0, 0].numel()))
            if threshold == "bayes":
                spread = (band**2).mean() - noise**2
                size = noise**2 / math.sqrt(spread) if spread > 0 else math.inf
            return np.sign(band) * np.maximum(np.abs(band) - size, 0)

        clean = [low, *(tuple(map(shrunk, level)) for level in details)]
        np.testing.assert_allclose(z, pywt.waverec2(clean, "haar").clip(0, 1), atol=1e-5)


def test_the_gradient_of_wavelet_denoising_takes_thresholds_for_constant():
    x = (smooth(2, 1, 16, 16) / 2 + 0.25).requires_grad_()
    weights = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    out = WaveletDenoising(wavelet="haar")(x)
    assert 0 < float(out.min()) <= float(out.max()) < 1  # where nothing is clipped
    (slope,) = torch.autograd.grad((out * weights).sum(), x)
    kept = dwt(out, wavelet="haar", levels=2).values.abs() > 1e-5
    assert 0.1 < kept.double().mean() < 0.9
    c = dwt(weights, wavelet="haar", levels=2)  # which is orthonormal
    torch.testing.assert_close(slope, idwt(c.with_values(c.values * kept)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PLANE)
def test_frames_of_a_video_are_images(name):
    x = torch.rand(2, 3, 4, 8, 10)
    frames = [DEFENCES[name]()(frame) for frame in x.unbind(2)]
    torch.testing.assert_close(DEFENCES[name]()(x), torch.stack(frames, 2))


def test_resize_pad_is_interpolation_within_zeros():
    torch.manual_seed(0)
    x = torch.rand(400, 2, 6, 9) + 0.1
    out = ResizePad(smallest=0.8, largest=1.5)(x)
    assert out.shape[2:] == (9, 14)
    sides, places = set(), set()
    for image, padded in zip(x, out, strict=True):
        rows, columns = (padded[0].sum(d).nonzero()[:, 0] for d in (1, 0))
        height, width = len(rows), len(columns)
        assert rows.tolist() == list(range(rows[0], rows[0] + height))
        plain = F.interpolate(image[None], (height, width), mode="bilinear")[0]
        inside = padded[:, rows[0] : rows[0] + height, columns[0] : columns[0] + width]
        torch.testing.assert_close(inside, plain, rtol=0, atol=1e-5)
        sides.add(height)
        places.add((height, int(rows[0])))
    assert sides == {5, 6, 7, 8, 9}
    assert places == {(side, place) for side in sides for place in range(9 - side + 1)}


def test_crops_are_interpolated_boxes():
    torch.manual_seed(0)
    x = torch.rand(60, 2, 8, 8)
    out = CropEnsemble(side=0.75)(x)  # boxes of 6 pixels at 3 places along each side
    seen = set()
    for image, crop in zip(x, out, strict=True):
        found = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if torch.allclose(
                F.interpolate(image[None, :, i : i + 6, j : j + 6], (8, 8), mode="bilinear")[0],
                crop,
                atol=1e-5,
            )
        ]
        assert len(found) == 1
        seen |= set(found)
    assert len(seen) == 9


@pytest.mark.parametrize("name", DEFENCES)
def test_what_a_defence_owes(name):
    defence, x = DEFENCES[name](), torch.rand(3, 3, 16, 16)
    before = x.clone()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, other = defence(x), defence(x)
        torch.manual_seed(1)
        again = defence(x)
    assert torch.equal(first, again)
    assert torch.equal(first, other) is not defence.random
    assert torch.equal(x, before)
    assert first.dtype == x.dtype
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    wanted = x.requires_grad_()
    (slope,) = torch.autograd.grad(defence.surrogate(wanted).sum(), wanted)
    assert torch.isfinite(slope).all()
    assert (slope != 0).double().mean() > 0.1
    (through,) = torch.autograd.grad(defence(wanted).sum(), wanted)  # it may be zero, not missing
    assert bool(through.any()) is not defence.masks_gradient


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("jpeg", {"quality": 0}, "quality is 0; give a whole number from 1 to 100"),
        ("bit-depth", {"bits": 9}, "bits is 9; give a whole number from 1 to 8"),
        ("median-blur", {"size": 4}, "size is 4; give a whole number odd, from 1 to 99"),
        ("resize-pad", {"smallest": 2.0}, "smallest is 2 and largest 1.10702"),
        ("crop-ensemble", {"side": 1.5}, "side is 1.5; give a number in"),
    ],
)
def test_impossible_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        DEFENCES[name](**options)
