"""Deletion and insertion against a loop over samples and steps, scikit-learn's area, and SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from sklearn.metrics import auc

from explain.gradient.saliency import Saliency
from explain.scores.deletion import area_under, blur, deletion_curve, insertion_curve


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def slow_curve(model, x, y, saliency, steps, fill, *, insert=False):
    """The probabilities of one sample, pixel by pixel in NumPy's order."""
    pixels = np.argsort(-saliency.numpy().ravel(), kind="stable")
    channels = x.shape[0]
    found = []
    for step in range(steps + 1):
        count = round(len(pixels) * step / steps)
        start, end = (fill, x) if insert else (x, fill)
        shown = start.clone().reshape(channels, -1)
        for pixel in pixels[:count]:
            shown[:, pixel] = end.reshape(channels, -1)[:, pixel]
        logits = model(shown.reshape(1, *x.shape))
        found.append(logits.softmax(1)[0, y].item())
    return found


@pytest.mark.parametrize("shape", [(3, 2, 5, 6), (2, 3, 4, 3, 5)])
@pytest.mark.parametrize("insert", [False, True])
def test_curves_are_those_of_a_plain_loop(linear, shape, insert):
    x, y = random(*shape), torch.arange(shape[0])
    model, maps = linear(shape[1:]), (random(shape[0], *shape[2:], seed=1) * 6).round()  # with ties
    function = insertion_curve if insert else deletion_curve
    curves = function(model, x, y, maps, steps=7, fill=0.25, chunk=5)
    for i, curve in enumerate(curves):
        fill = torch.full_like(x[i], 0.25)
        with torch.no_grad():
            wanted = slow_curve(model, x[i], y[i], maps[i], 7, fill, insert=insert)
        np.testing.assert_allclose(curve, wanted, rtol=1e-4)


def test_the_area_is_scikit_learns():
    curves = random(4, 11)
    wanted = [auc(np.linspace(0, 1, 11), curve) for curve in curves.numpy()]
    np.testing.assert_allclose(area_under(curves), wanted, rtol=1e-5)


def test_the_true_map_falls_faster_and_rises_faster_than_a_random_one(patch):
    model, x = patch(), 0.6 + 0.4 * random(4, 3, 12, 12)
    y = torch.ones(4).long()
    true, wrong = Saliency()(model, x, y), random(4, 12, 12, seed=3)
    lower = area_under(deletion_curve(model, x, y, true))
    assert (lower < area_under(deletion_curve(model, x, y, wrong)) - 0.2).all()
    higher = area_under(insertion_curve(model, x, y, true, fill=0.0))
    assert (higher > area_under(insertion_curve(model, x, y, wrong, fill=0.0)) + 0.2).all()


def test_insertion_begins_at_the_blur_and_ends_at_the_sample(linear):
    model, x, y = linear((3, 8, 9)), random(2, 3, 8, 9), torch.tensor([0, 2])
    curve = insertion_curve(model, x, y, random(2, 8, 9))
    with torch.no_grad():
        for column, samples in ((0, blur(x)), (-1, x)):
            wanted = model(samples).softmax(1)[torch.arange(2), y]
            torch.testing.assert_close(curve[:, column], wanted)


@pytest.mark.parametrize("shape", [(2, 3, 20, 31), (1, 3, 4, 12, 9)])
def test_the_blur_is_scipys(shape):
    x = random(*shape)
    wanted = x.numpy()
    for axis in (-1, -2):
        wanted = gaussian_filter1d(wanted, 2.0, axis=axis, mode="nearest", radius=6)
    np.testing.assert_allclose(blur(x, sigma=2.0), wanted, atol=1e-6)


def test_the_chunk_bounds_a_pass_and_changes_nothing(linear):
    sizes = []

    class Counted(type(linear((1,)))):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    model, x = Counted((3, 4, 4)), random(3, 3, 4, 4)
    y, maps, told = torch.zeros(3).long(), random(3, 4, 4), []
    small = deletion_curve(model, x, y, maps, steps=9, chunk=7, tell=told.append)
    assert max(sizes) == 7
    assert told == [7, 14, 21, 28, 30]
    torch.testing.assert_close(small, deletion_curve(model, x, y, maps, steps=9, chunk=64))


def test_what_does_not_fit_is_refused(linear):
    model, x, y = linear((3, 4, 4)), random(2, 3, 4, 4), torch.zeros(2).long()
    with pytest.raises(ValueError, match="samples without their channels have shape"):
        deletion_curve(model, x, y, random(2, 4, 5))
    with pytest.raises(ValueError, match="NaN or inf"):
        deletion_curve(model, x, y, torch.full((2, 4, 4), torch.nan))
    with pytest.raises(ValueError, match="number from 0 to 1, or 'blur'"):
        deletion_curve(model, x, y, random(2, 4, 4), fill=2.0)
