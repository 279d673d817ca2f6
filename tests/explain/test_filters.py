"""The filter grid against torchvision's, and against weights cell by cell."""

import pytest
import torch
from torch import nn
from torchvision.utils import make_grid

from explain.network.filters import filter_grid
from explain.network.grid import tile


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("count", "columns"), [(6, 3), (7, 3), (2, 5)])
def test_pictures_are_laid_out_as_by_torchvision(count, columns):
    pictures = random(count, 3, 4, 6)
    theirs = make_grid(pictures, nrow=min(count, columns), padding=2, pad_value=1.0)
    assert torch.equal(tile(pictures, columns=columns, gap=2), theirs[:, 2:-2, 2:-2])


def test_each_filter_is_scaled_by_its_largest_weight_around_grey():
    model = nn.Sequential(nn.Identity(), nn.Conv2d(3, 5, 4), nn.ReLU(), nn.Conv2d(5, 2, 3))
    grid = filter_grid(model, columns=3)
    assert grid.shape == (3, 2 * 5 - 1, 3 * 5 - 1)
    for i, weight in enumerate(model[1].weight.detach()):
        row, column = 5 * (i // 3), 5 * (i % 3)
        cell = grid[:, row : row + 4, column : column + 4]
        torch.testing.assert_close(cell - 0.5, weight / weight.abs().max() / 2)


def test_filters_over_other_channels_are_grey_and_a_layer_may_be_named():
    model = nn.Sequential(nn.Conv2d(3, 5, 4), nn.Conv2d(5, 2, 3))
    grid = filter_grid(model, layer="1", columns=2)
    assert torch.equal(grid[0], grid[2])
    weight = model[1].weight.detach().mean(1)[1]
    torch.testing.assert_close(grid[0, :, 4:] - 0.5, weight / weight.abs().max() / 2)


def test_the_frames_of_a_video_filter_stand_in_a_row():
    model = nn.Conv3d(3, 2, (3, 4, 5))
    grid = filter_grid(model, columns=1)
    assert grid.shape == (3, 9, 15)
    weight = model.weight.detach()[0]
    torch.testing.assert_close(grid[:, :4, 5:10] - 0.5, weight[:, 1] / weight.abs().max() / 2)


def test_a_convolution_of_a_models_own_is_found():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(random(4, 3, 5, 5) - 0.5)

    plain = nn.Conv2d(3, 4, 5)
    own = Own()
    plain.weight = own.weight
    assert torch.equal(filter_grid(nn.Sequential(own)), filter_grid(plain))


def test_a_model_or_layer_without_filters_is_refused():
    with pytest.raises(ValueError, match="the model has none"):
        filter_grid(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="layer '1' is something else"):
        filter_grid(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), layer="1")
