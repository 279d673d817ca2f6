"""Activation maps against the layers themselves."""

import pytest
import torch
from torch import nn

from explain.network.activation_maps import activation_grid


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def net(conv=nn.Conv2d):
    torch.manual_seed(0)
    return nn.Sequential(conv(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))


def test_channels_are_drawn_on_one_scale_the_most_active_first():
    model, x = net(), random(1, 3, 8, 9)
    model(x)
    with torch.no_grad():
        maps = model[1](model[0](x))[0]  # (5, 6, 7)
    grid, channels = activation_grid(model, x, layer="1", most=4, columns=2)
    assert channels == sorted(range(5), key=lambda c: -maps[c].max().item())[:4]
    assert grid.shape == (1, 2 * 7 - 1, 2 * 8 - 1)
    for place, channel in enumerate(channels):
        row, column = 7 * (place // 2), 8 * (place % 2)
        cell = grid[0, row : row + 6, column : column + 7]
        torch.testing.assert_close(cell, maps[channel] / maps.max())


def test_the_frames_of_a_clip_stand_in_a_row():
    model, x = net(nn.Conv3d), random(1, 3, 5, 8, 9)
    model(x)
    grid, _ = activation_grid(model, x, layer="0", most=1)
    assert grid.shape == (1, 6, 3 * 7)
    with torch.no_grad():
        maps = model[0](x)[0]
    best = maps[maps.flatten(1).amax(1).argmax()]
    scaled = (best - maps.min()) / (maps.max() - maps.min())
    torch.testing.assert_close(grid[0], torch.cat(list(scaled), 1))


def test_several_samples_and_layers_of_vectors_are_refused():
    model, x = net(), random(2, 3, 8, 9)
    model(x)
    with pytest.raises(ValueError, match="x has 2 samples"):
        activation_grid(model, x, layer="0")
    with pytest.raises(ValueError, match="name one with channels of pixels"):
        activation_grid(model, x[:1], layer="3")
