"""What a classifier gets from an attack: its layout, its precision."""

import pytest
import torch
from torch import nn

from attacks import PGD, DeepFool
from attacks.common.forward import wrap_forward
from attacks.common.goal import value_and_gradient


class Seen(nn.Module):
    """A convolution that remembers how its samples lay in memory, and may want the default."""

    def __init__(self, dims=2, wants=None):
        super().__init__()
        self.conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(3, 4, 3, padding=1)
        self.last = torch.channels_last if dims == 2 else torch.channels_last_3d
        self.wants, self.layouts = wants, []

    def forward(self, x):
        self.layouts.append(x.is_contiguous(memory_format=self.last))
        if self.wants:
            x = self.wants(x)
        return self.conv(x).flatten(1)[:, :5]


def viewed(x):
    return x.view(len(x), -1).view(x.shape)


def asserted(x):
    assert x.is_contiguous()
    return x


def refused(x):
    if not x.is_contiguous():
        raise ValueError("x must be contiguous")
    return x


def strided(x):
    """Silently another image in another layout."""
    return torch.as_strided(x, x.shape, torch.empty(x.shape).stride())


@pytest.mark.parametrize("dims", [2, 3])
def test_samples_come_in_channels_last_and_gradients_in_the_layout_of_x(batch, dims):
    x, _ = batch(dims=dims, side=4)
    model = Seen(dims)
    assert not x.is_contiguous(memory_format=model.last)
    forward, random, _ = wrap_forward(model, x)
    assert not random
    model.layouts.clear()
    logits, _, gradient = value_and_gradient(forward, x, lambda z: z[:, 0])
    plain, _, slope = value_and_gradient(model, x, lambda z: z[:, 0])
    assert model.layouts == [True, False]
    assert gradient.is_contiguous()
    torch.testing.assert_close(logits, plain)
    torch.testing.assert_close(gradient, slope)


@pytest.mark.parametrize("wants", [viewed, asserted, refused, strided])
def test_a_model_that_wants_the_default_layout_gets_it(batch, wants):
    x, y = batch()
    model, plain = Seen(wants=wants), Seen()
    plain.load_state_dict(model.state_dict())
    forward, random, _ = wrap_forward(model, x)
    assert not random
    model.layouts.clear()
    torch.testing.assert_close(forward(x), plain(x))
    assert model.layouts == [False]
    for attack in (PGD(eps=0.1), DeepFool()):
        assert torch.equal(attack(model, x, y).success, attack(plain, x, y).success)


def test_a_compiled_model_that_views_its_samples_is_attacked(batch):
    x, y = batch()
    model = torch.compile(Seen(wants=viewed), backend="eager")
    assert PGD(eps=0.1, steps=2)(model, x, y).x_adv.shape == x.shape


def test_other_errors_are_the_models_own(batch):
    class Broken(Seen):
        def forward(self, x):
            if not x.is_contiguous():
                raise RuntimeError("out of order")
            return super().forward(x)

    with pytest.raises(RuntimeError, match="out of order"):
        wrap_forward(Broken(), batch()[0])
