"""Occlusion against captum, a slow NumPy loop, and a planted patch."""

import numpy as np
import pytest
import torch
from torch import nn

from explain.black_box.occlusion import Occlusion


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def small_cnn(dims=2):
    torch.manual_seed(0)
    conv, pool = (
        (nn.Conv2d, nn.AdaptiveAvgPool2d) if dims == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    )
    return nn.Sequential(
        conv(3, 6, 3, padding=1), nn.Tanh(), pool(3), nn.Flatten(), nn.Linear(6 * 3**dims, 3)
    ).requires_grad_(False)


def slow(model, x, y, *, window, stride, fill):
    """The maps of images x (B, C, H, W) by loops over windows."""

    def shares(x):
        return model(x).softmax(1)[range(len(x)), y].double().numpy()

    total, counts = np.zeros((len(x), *x.shape[2:])), np.zeros(x.shape[2:])
    for top in range(0, max(x.shape[2] - window, 0) + stride, stride):
        for left in range(0, max(x.shape[3] - window, 0) + stride, stride):
            rows, columns = slice(top, top + window), slice(left, left + window)
            hidden = x.clone()
            hidden[:, :, rows, columns] = fill
            total[:, rows, columns] += (shares(x) - shares(hidden))[:, None, None]
            counts[rows, columns] += 1
    return torch.from_numpy(total / counts).float().clamp_min(0)


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (4, 3), (5, 5), (20, 7)])
def test_it_is_the_mean_fall_over_the_windows_that_hide_a_pixel(window, stride):
    model, x, y = small_cnn(), random(3, 3, 9, 11), torch.tensor([0, 2, 1])
    maps = Occlusion(window=window, stride=stride, fill=0.3, chunk=10)(model, x, y)
    expected = slow(model, x, y, window=window, stride=stride, fill=0.3)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 8, 10), (2, 3, 5, 8, 10)])
def test_it_equals_captums(shape):
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    dims = len(shape) - 2
    model, x, y = small_cnn(dims), random(*shape), torch.tensor([2, 1])
    theirs = captum.Occlusion(lambda x: model(x).softmax(1)).attribute(
        x, sliding_window_shapes=(3, *[3] * dims), strides=(3, *[2] * dims), target=y, baselines=0.5
    )
    maps = Occlusion(window=3, stride=2)(model, x, y)
    torch.testing.assert_close(maps, theirs[:, 0].clamp_min(0).float(), rtol=1e-4, atol=1e-6)


def test_shares_are_those_of_each_side():
    model, x = small_cnn(), random(1, 3, 10, 10)
    assert torch.equal(Occlusion(window=0.3, stride=0.2)(model, x), Occlusion(3, 2)(model, x))
    assert torch.equal(Occlusion(window=1.0, stride=1.0)(model, x), Occlusion(10, 10)(model, x))
    # Of a video with few frames a share of them is one at least.
    clip = random(1, 3, 2, 10, 10)
    assert Occlusion(window=0.3, stride=0.2)(small_cnn(3), clip).shape == (1, 2, 10, 10)


def test_windows_that_do_not_touch_the_patch_change_nothing(patch):
    model, x = patch(), random(3, 3, 12, 12) / 2 + 0.5
    maps = Occlusion(window=2, stride=1, fill=0.0)(model, x, torch.ones(3, dtype=torch.int64))
    near = torch.zeros(12, 12, dtype=torch.bool)
    near[1:7, 4:10] = True  # the patch and a pixel around
    assert (maps[:, near] > 0).all()
    assert not maps[:, ~near].any()


def test_no_pass_is_larger_than_a_chunk():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.sizes = small_cnn(), []

        def forward(self, x):
            self.sizes.append(len(x))
            return self.model(x)

    model = Counts()
    Occlusion(window=3, stride=3, chunk=5)(model, random(4, 3, 9, 9))
    # After what the call itself asks: the samples as they are, then each under 9 windows.
    assert model.sizes[-9:] == [4, *[5] * 7, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 3, "stride": 4}, "stride 4 is 4 pixels of a side of 9, longer than the window"),
        ({"window": 0.1, "stride": 0.5}, "give a stride no longer than the window"),
        ({"window": 0}, "window is 0; give a whole number >= 1 or a number in"),
        ({"window": 1.5}, "window is 1.5; give a whole number >= 1 or a number in"),
        ({"fill": 2.0}, "fill is 2.0"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Occlusion(**options)(small_cnn(), random(1, 3, 9, 9))
