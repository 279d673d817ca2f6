"""Classifiers that read what they are known to read."""

import pytest
import torch
from torch import nn


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Patch(nn.Module):
    """Reads one region alone: the logit of class 1 is its mean brightness less that of class 0.

    region: (top, left, side) in pixels; of videos also (first, last) of the frames.
    """

    def __init__(self, top=2, left=5, side=4, frames=None):
        super().__init__()
        self.top, self.left, self.side, self.frames = top, left, side, frames
        self.gain = nn.Parameter(torch.tensor(4.0))
        self.act, self.seen = nn.ReLU(), nn.Identity()

    def mask(self, x):
        mask = torch.zeros(x.shape[2:], dtype=torch.bool)  # (H, W) or (T, H, W)
        rows = slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)
        mask[(..., *rows) if self.frames is None else (slice(*self.frames), *rows)] = True
        return mask

    def forward(self, x):
        seen = self.seen(x * self.mask(x).to(x)).flatten(1).sum(1) / self.mask(x).sum() / x.shape[1]
        logit = self.gain * (self.act(seen) - 0.25)
        return torch.stack([-logit, logit], 1)


class Linear(nn.Module):
    """Logits W x + b of samples of one shape."""

    def __init__(self, shape, classes=3, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = torch.tensor(shape).prod()
        self.weight = nn.Parameter(torch.randn(classes, int(size), generator=generator))
        self.shape = shape

    def forward(self, x):
        return x.flatten(1) @ self.weight.T

    def of(self, y):
        """The weights of classes y (B,), (B, C, ...)."""
        return self.weight[y].view(-1, *self.shape)


@pytest.fixture(scope="session")
def patch():
    return Patch


@pytest.fixture(scope="session")
def linear():
    return Linear
