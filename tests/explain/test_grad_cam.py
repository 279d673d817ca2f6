"""Grad-CAM against captum, class activation maps, and squares of two colours."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explain.gradient.grad_cam import GradCAM, last_spatial


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def small_cnn():
    torch.manual_seed(0)
    features = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(inplace=True)
    )
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


class Colours(nn.Module):
    """Tells red from blue, wherever they are: the logits are means of a rectified layer."""

    def __init__(self, dims):
        super().__init__()
        self.conv = (nn.Conv2d, nn.Conv3d)[dims - 2](3, 2, 1, bias=False)
        weight = torch.tensor([[1.0, -1, -1], [-1, -1, 1]])
        self.conv.weight = nn.Parameter(weight.view(2, 3, *[1] * dims))

    def forward(self, x):
        return F.relu(self.conv(x)).flatten(2).mean(2)


@pytest.mark.parametrize("shape", [(1, 3, 12, 12), (1, 3, 4, 12, 12)])
def test_each_class_points_at_its_colour(shape):
    x, red, blue = torch.zeros(shape), (slice(1, 4), slice(2, 5)), (slice(7, 10), slice(8, 11))
    x[(0, 0, ..., *red)] = 0.9
    x[(0, 2, ..., *blue)] = 1.0
    for y, colour in enumerate((red, blue)):
        maps = GradCAM(layer="conv")(Colours(len(shape) - 2), x, torch.tensor([y]))
        assert (maps[(0, ..., *colour)] > 0).all()
        maps[(0, ..., *colour)] = 0
        assert not maps.any()


@pytest.mark.parametrize("layer", ["0.0", "0.1", "0.2", "0.3"])
def test_it_equals_captums(layer):
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    model, x, y = small_cnn(), random(3, 3, 17, 13), torch.tensor([0, 2, 1])
    model.get_submodule("0")[3].inplace = False  # in place it overwrites what captum reads
    theirs = captum.LayerGradCam(model, model.get_submodule(layer)).attribute(
        x, target=y, relu_attributions=True
    )
    theirs = captum.LayerAttribution.interpolate(theirs, (17, 13), "bilinear")
    maps = GradCAM(layer=layer)(small_cnn(), x, y)
    torch.testing.assert_close(maps, theirs[:, 0].detach())


def test_behind_a_mean_it_is_the_class_activation_map():
    """Of Zhou et al. 2016: the weights of the linear layer, over the number of positions."""
    model, x, y = small_cnn(), random(3, 3, 9, 9), torch.tensor([0, 2, 1])
    seen = model[0](x)  # (B, 4, 2, 2)
    cam = torch.einsum("bc,bchw->bhw", model[3].weight[y], seen).relu() / 4
    expected = F.interpolate(cam[:, None], (9, 9), mode="bilinear")[:, 0].detach()
    torch.testing.assert_close(GradCAM()(model, x, y), expected)


def test_the_last_layer_with_several_positions_is_taken():
    assert last_spatial(small_cnn(), random(1, 3, 9, 9)) == "0"
    assert last_spatial(small_cnn(), random(1, 3, 20, 20)) == "0"
    assert last_spatial(Colours(3), random(1, 3, 2, 4, 4)) == "conv"


def test_of_a_layer_that_is_called_twice_the_last_call_counts():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
            self.act, self.other = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.act(self.second(self.act(self.first(x)))).mean((2, 3))

    class Once(Twice):
        def forward(self, x):
            return self.other(self.second(self.act(self.first(x)))).mean((2, 3))

    x, y = random(2, 3, 8, 8), torch.tensor([0, 1])
    expected = GradCAM(layer="other")(Once(), x, y)
    assert expected.any()
    torch.testing.assert_close(GradCAM(layer="act")(Twice(), x, y), expected)


def test_a_network_that_sees_frames_as_a_batch_has_a_map_of_each():
    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = Colours(2).conv

        def forward(self, x):
            frames = x.transpose(1, 2).flatten(0, 1)  # (B T, C, H, W)
            seen = F.relu(self.conv(frames)).flatten(2).mean(2)
            return seen.view(len(x), x.shape[2], 2).mean(1)

    x, y = random(2, 3, 5, 8, 6), torch.tensor([0, 1])
    expected = GradCAM(layer="conv")(Colours(3), x, y)
    assert expected.any()
    for layer in ("conv", None):
        torch.testing.assert_close(GradCAM(layer=layer)(Frames(), x, y), expected)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("9", "layer is '9'; the model's layers are"),
        ("2", r"layer '2' returns \(2, 4\)"),
        ("0.0+0.2", "give one name"),
    ],
)
def test_layers_that_have_no_map_are_refused(layer, words):
    with pytest.raises(ValueError, match=words):
        GradCAM(layer=layer)(small_cnn(), random(2, 3, 9, 9))


def test_models_without_positions_and_layers_without_effect_are_refused(linear):
    x = random(2, 3, 9, 9)
    with pytest.raises(ValueError, match="no layer of Linear returns channels"):
        GradCAM()(linear((3, 9, 9)), x)

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.idle, self.cnn = nn.ReLU(), nn.Conv2d(3, 3, 1), small_cnn()

        def forward(self, x):
            self.idle(x)
            return self.cnn(x)

    with pytest.raises(ValueError, match="layer 'unused' was not called"):
        GradCAM(layer="unused")(Idle(), x)
    with pytest.raises(ValueError, match="no gradient flows from the logits to layer 'idle'"):
        GradCAM(layer="idle")(Idle(), x)


def test_a_compiled_model_is_explained_as_it_was_before():
    x, y = random(2, 3, 9, 9), torch.tensor([0, 2])
    compiled = torch.compile(small_cnn(), backend="eager")
    compiled(x)
    torch.testing.assert_close(GradCAM()(compiled, x, y), GradCAM()(small_cnn(), x, y))
