import pytest
import torch
from torch import nn

from attacks.errors import RefusedInput
from trainers import probe_classifier
from trainers.models.networks.c3d import C3D


def clips(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def c3d_parameters(classes):
    channels = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512)] + [(512, 512)] * 3
    convolutions = sum(27 * a * b + b for a, b in channels)
    return convolutions + sum(a * b + b for a, b in [(8192, 4096), (4096, 4096), (4096, classes)])


def test_c3d_has_the_published_number_of_parameters():
    with torch.device("meta"):
        assert parameters(C3D(num_classes=101)) == c3d_parameters(101) == 78_409_573
        assert parameters(C3D()) == c3d_parameters(487)


@pytest.mark.parametrize("shape", [(16, 112, 112), (16, 16, 16), (33, 24, 50)])
def test_c3d_takes_other_sizes_too(shape):
    torch.manual_seed(0)
    model = C3D(num_classes=5, in_channels=1, width=4).eval()
    x = clips(2, 1, *shape).requires_grad_()
    logits = model(x)
    assert logits.shape == (2, 5)
    torch.testing.assert_close(logits[1:], model(x[1:]))
    (gradient,) = torch.autograd.grad(logits[0, 0], x)
    assert gradient[0].any()
    assert not gradient[1].any()


def test_c3d_is_the_published_stack_at_its_own_size():
    torch.manual_seed(0)
    model = C3D(num_classes=5, width=2).eval()
    x = clips(1, 3, 16, 112, 112)

    def conv(*names):
        return [m for name in names for m in (getattr(model, f"conv{name}"), nn.ReLU())]

    stack = nn.Sequential(
        *conv("1"), nn.MaxPool3d((1, 2, 2), (1, 2, 2)), *conv("2"), nn.MaxPool3d(2, 2),
        *conv("3a", "3b"), nn.MaxPool3d(2, 2), *conv("4a", "4b"), nn.MaxPool3d(2, 2),
        *conv("5a", "5b"), nn.MaxPool3d(2, 2, padding=(0, 1, 1)), nn.Flatten(),
        model.fc6, nn.ReLU(), model.fc7, nn.ReLU(), model.fc8,
    )  # fmt: skip
    torch.testing.assert_close(model(x), stack(x))
    assert model(x).std() > 1e-3  # He's initialisation lets something through


def test_c3d_says_which_clips_it_takes():
    model = C3D(num_classes=4, width=2)
    with pytest.raises(
        RefusedInput, match="at least 16 frames of 16x16 pixels and got 15 of 64x64"
    ):
        probe_classifier(model, (3, 15, 64, 64), 4)
