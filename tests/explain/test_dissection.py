"""Network dissection against slow NumPy, and on units that were planted."""

import numpy as np
import pytest
import torch
from torch import nn

from explain.network.dissection import Dissection, dissect


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Channels(nn.Module):
    """A layer whose units are the channels of the image, in two places."""

    def __init__(self):
        super().__init__()
        self.units = nn.Identity()

    def forward(self, x):
        return self.units(x).amax((2, 3))


def test_a_unit_that_marks_a_concept_has_the_iou_1_and_is_its_detector():
    masks = random(6, 2, 10, 10) < 0.2
    dead = torch.zeros(6, 1, 10, 10)
    x = torch.cat([masks[:, 1:].float(), random(6, 1, 10, 10, seed=1), dead], 1)
    found = dissect(Channels(), "units", [(x[:4], masks[:4]), (x[4:], masks[4:])], chunk=3)
    assert found.iou[0, 1] == 1
    assert not found.iou[2].any()  # a unit that is always 0 marks nothing
    assert found.detectors(least=0.3).tolist() == [1, -1, -1]
    assert found.histogram(least=0.3).tolist() == [0, 1]
    torch.testing.assert_close(found.shares, masks.float().mean((0, 2, 3)))


@pytest.mark.parametrize("quantile", [0.005, 0.1])
@pytest.mark.parametrize("size", [8, 16])
def test_thresholds_and_overlaps_are_numpys(quantile, size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    x = random(20, 3, 8, 8)
    masks = random(20, 4, size, size, seed=1) < 0.3
    model(x)
    batches = [(x[i : i + 6], masks[i : i + 6]) for i in range(0, 20, 6)]
    found = dissect(model, "1", batches, quantile=quantile, chunk=4)
    with torch.no_grad():
        maps = model[:2](x)
    values = maps.transpose(0, 1).flatten(1).numpy()
    kept = round(quantile * values.shape[1])
    thresholds = np.sort(values, axis=1)[:, -kept]
    np.testing.assert_allclose(found.thresholds, thresholds, rtol=1e-6)
    scaled = nn.functional.interpolate(maps, (size, size), mode="bilinear")
    for unit in range(5):
        active = scaled[:, unit].numpy() >= thresholds[unit]
        for concept in range(4):
            there = masks[:, concept].numpy()
            wanted = (active & there).sum() / (active | there).sum()
            assert found.iou[unit, concept].item() == pytest.approx(wanted, abs=1e-6)


def test_the_histogram_counts_units_above_the_bound_by_their_best_concept():
    iou = torch.tensor([[0.05, 0.2], [0.3, 0.1], [0.04, 0.01], [0.0, 0.041]])
    found = Dissection(torch.zeros(4), iou, torch.zeros(2))
    assert found.detectors().tolist() == [1, 0, -1, 1]
    assert found.histogram().tolist() == [1, 2]


def test_a_layer_without_maps_and_batches_that_end_are_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    batches = [(random(2, 3, 2, 2), random(2, 1, 2, 2) < 1)]
    with pytest.raises(ValueError, match=r"give a layer with \(B, U, H, W\)"):
        dissect(model, "0", batches)
    with pytest.raises(ValueError, match="end with the first look"):
        dissect(model, "0", iter(batches))
