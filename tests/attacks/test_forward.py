"""What a classifier gets from an attack: its layout, its precision."""

import pytest
import torch
from torch import nn

from attacks import PGD, DeepFool
from attacks.forward import prepared
from attacks.goal import value_and_gradient


class Seen(nn.Module):
    """A convolution that remembers how its samples lay in memory; `view` refuses channels-last."""

    def __init__(self, dims=2, *, views=False):
        super().__init__()
        self.conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(3, 4, 3, padding=1)
        self.last = torch.channels_last if dims == 2 else torch.channels_last_3d
        self.views, self.layouts = views, []

    def forward(self, x):
        self.layouts.append(x.is_contiguous(memory_format=self.last))
        features = self.conv(x)
        flat = features.view(len(x), -1) if self.views else features.flatten(1)  # (B, D)
        return flat[:, :5]


@pytest.mark.parametrize("dims", [2, 3])
def test_samples_come_in_channels_last_and_gradients_in_the_layout_of_x(batch, dims):
    x, _ = batch(dims=dims, side=4)
    model = Seen(dims)
    assert not x.is_contiguous(memory_format=model.last)
    logits, _, gradient = value_and_gradient(prepared(model), x, lambda z: z[:, 0])
    plain, _, slope = value_and_gradient(model, x, lambda z: z[:, 0])
    assert model.layouts == [True, False]
    assert gradient.is_contiguous()
    torch.testing.assert_close(logits, plain)
    torch.testing.assert_close(gradient, slope)


def test_a_model_that_views_its_features_gets_the_default_layout_from_then_on(batch):
    x, y = batch()
    model = Seen(views=True)
    forward = prepared(model)
    for _ in range(3):
        torch.testing.assert_close(forward(x), model(x))
    assert model.layouts == [True] + 6 * [False]
    for attack in (PGD(eps=0.1), DeepFool()):
        plain = Seen()
        plain.load_state_dict(model.state_dict())
        assert torch.equal(attack(model, x, y).success, attack(plain, x, y).success)


def test_other_errors_are_the_models_own(batch):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        prepared(Broken())(batch()[0])
