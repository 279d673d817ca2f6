"""The scores against quantus, where both have the same definition; each test says how they differ.

quantus brings OpenCV, pandas and scikit-image along, and so is in the extra `bench`, not in `dev`.
"""

import numpy as np
import pytest
import torch
from torch import nn

from explain.gradient.integrated_gradients import IntegratedGradients
from explain.gradient.saliency import Saliency
from explain.perturbation.boxes import energy_mask, find_boxes
from explain.scores import randomisation
from explain.scores.box_iou import mask_iou
from explain.scores.deletion import blur, deletion_curve, insertion_curve
from explain.scores.pointing_game import pointing_game

pytestmark = pytest.mark.filterwarnings("ignore")  # that parameters matter; NumPy's old names
SILENT = {"normalise": False, "abs": False, "disable_warnings": True}


@pytest.fixture(scope="module")
def quantus():
    return pytest.importorskip("quantus", reason="quantus is not installed (the extra bench)")


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def arrays(x, y, maps):
    return {"x_batch": x.numpy(), "y_batch": y.numpy(), "a_batch": maps[:, None].numpy()}


@pytest.mark.parametrize("insert", [False, True])
def test_curves_are_those_of_pixel_flipping(quantus, insert):
    """quantus flips values, not pixels, so samples have one channel; it leaves out the start."""
    model, x, y = Net().eval(), random(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    maps = random(4, 8, 8, seed=1)  # no two values alike: quantus' order of these is undefined
    first, whole = (blur(x), x) if insert else (x, torch.zeros_like(x))

    def flip(arr, indices, **options):
        changed, rows = arr.copy(), np.arange(len(arr))[:, None]
        changed[rows, indices] = whole.flatten(1).numpy()[rows, indices]
        return changed

    metric = quantus.PixelFlipping(features_in_step=8, perturb_func=flip, **SILENT)
    found = metric(model=model, **arrays(first, y, maps), softmax=True, channel_first=True)
    curve = (insertion_curve if insert else deletion_curve)(model, x, y, maps, steps=8)
    np.testing.assert_allclose(curve[:, 1:], found, rtol=1e-5)


def test_deletion_is_that_of_its_own_black(quantus):
    model, x, y = Net().eval(), random(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    maps = Saliency()(model, x, y)
    metric = quantus.PixelFlipping(features_in_step=4, perturb_baseline=0.0, **SILENT)
    found = metric(model=model, **arrays(x, y, maps), softmax=True, channel_first=True)
    np.testing.assert_allclose(deletion_curve(model, x, y, maps, steps=16)[:, 1:], found, rtol=1e-5)


def test_the_pointing_game_is_quantus_but_where_maxima_are_equal(quantus):
    """Of several equal maxima quantus takes a hit by any for a hit; ours is the share of them."""
    x, y, masks = random(20, 1, 6, 6), torch.zeros(20).long(), random(20, 6, 6, seed=5) < 0.4
    metric = quantus.PointingGame(**SILENT)

    def theirs(maps):
        segments = masks[:, None].numpy()
        return metric(model=None, **arrays(x, y, maps), s_batch=segments, channel_first=True)

    maps = random(20, 6, 6, seed=2)
    hits = pointing_game(maps, masks)
    assert 0 < hits.mean() < 1
    np.testing.assert_array_equal(hits, np.array(theirs(maps), dtype=float))
    tied = (maps * 3).round()
    shares = pointing_game(tied, masks)
    assert ((shares > 0) & (shares < 1)).any()
    np.testing.assert_array_equal(shares > 0, np.array(theirs(tied), dtype=bool))


def test_the_overlap_follows_from_the_intersection_of_the_highest_pixels(quantus):
    """quantus has no overlap of boxes; of a map that fills its box the union follows."""
    x, y = random(8, 1, 9, 9), torch.zeros(8).long()
    masks, maps = torch.zeros(8, 9, 9, dtype=torch.bool), torch.zeros(8, 9, 9)
    masks[:, 2:6, 3:8] = True
    for i in range(8):
        maps[i, i // 2 : i // 2 + 3, i // 2 : i // 2 + 4] = 1.0
    metric = quantus.TopKIntersection(k=12, **SILENT)
    found = metric(
        model=None, **arrays(x, y, maps), s_batch=masks[:, None].numpy(), channel_first=True
    )
    common = 12 * np.array(found)
    assert (common > 0).any()
    wanted = common / (12 + 20 - common)
    np.testing.assert_allclose(mask_iou(maps, masks, share=1.0), wanted, rtol=1e-6)


def test_shares_of_boxes_are_the_localisation_of_the_energy(quantus):
    """quantus' share is of the values, ours of their squares, which are given to it here."""
    x, y, maps = random(6, 1, 9, 9), torch.zeros(6).long(), random(6, 9, 9, seed=4) ** 4
    inside = energy_mask(maps, share=0.5)
    metric = quantus.AttributionLocalisation(**SILENT)
    found = metric(
        model=None, **arrays(x, y, maps**2), s_batch=inside[:, None].numpy(), channel_first=True
    )
    own = [sum(box.share for box in find_boxes(map_, share=0.5, least=0)) for map_ in maps]
    np.testing.assert_allclose(own, found, rtol=1e-5)


@pytest.mark.parametrize("method", [Saliency(), IntegratedGradients(steps=5)], ids=str)
def test_the_randomisation_check_is_the_last_of_mprt(quantus, monkeypatch, method):
    """quantus draws layer by layer as `reset_parameters` does, and fails on constant maps, which
    have no rank correlation; ours draws all at once, by He, and leaves such samples out.
    """
    model, x, y = Net().eval(), random(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])

    def explain(model, inputs, targets, **options):
        return method(model, torch.as_tensor(inputs), torch.as_tensor(targets))[:, None].numpy()

    metric = quantus.MPRT(skip_layers=True, return_last_correlation=True, seed=7, **SILENT)
    found = metric(
        model=model, **arrays(x, y, method(model, x, y)), explain_func=explain, channel_first=True
    )

    def redrawn(model, x, *, seed):
        layers = quantus.helpers.model.pytorch_model.PyTorchModel(model)
        *_, (_, last) = layers.get_random_layer_generator("top_down", seed)
        return last

    monkeypatch.setattr(randomisation, "reinitialised", redrawn)
    ours = randomisation.randomisation_check(method, model, x, y, seed=7)
    np.testing.assert_allclose(ours, found, atol=1e-5)
