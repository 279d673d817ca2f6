import pytest
import torch

from attacks import PGD
from attacks.errors import RefusedInput
from trainers import load_classifier

SMALL = ["c3d-small", "lrcn"]


def clips(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (3, 16, 64, 64), (3, 9, 24, 33)])
def test_small_models_take_clips_of_any_size(name, shape):
    model = load_classifier(name, num_classes=5, in_channels=shape[0], image_size=shape[1:])
    x = clips(3, *shape)
    assert model(x).shape == (3, 5)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))  # samples do not see each other


@pytest.mark.parametrize(("name", "count"), [("c3d-small", 182_388), ("lrcn", 106_388)])
def test_small_models_are_small(name, count):
    assert parameters(load_classifier(name, num_classes=4)) == count


@pytest.mark.parametrize("name", SMALL)
def test_every_frame_has_a_gradient_in_eval_mode(name):
    model = load_classifier(name, num_classes=4).requires_grad_(False)
    x = clips(2, 3, 16, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    assert (gradient.abs().sum((1, 3, 4)) > 0).all()  # (B, T)


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_the_frames_counts(name):
    torch.manual_seed(0)
    model = load_classifier(name, num_classes=4)
    x = clips(1, 3, 16, 16, 16)
    assert not torch.allclose(model(x), model(x.flip(2)), atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_an_attack_runs_on_clips(name):
    model = load_classifier(name, num_classes=4)
    x = clips(2, 3, 16, 16, 16)
    y = model(x).argmax(1)
    result = PGD(steps=2)(model, x, y)
    assert result.x_adv.shape == x.shape
    assert (result.loss > 0).all()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("c3d-small", (3, 16, 16), r"takes clips \(B, C, T, H, W\).*smallcnn"),
        ("c3d-small", (3, 3, 16, 16), "at least 4 frames of 8x8 pixels and got 3 of 16x16"),
        ("lrcn", (3, 16, 7, 16), "at least 1 frames of 8x8 pixels and got 16 of 7x16"),
    ],
)
def test_samples_of_no_use_are_refused(name, shape, message):
    with pytest.raises(RefusedInput, match=message):
        load_classifier(name, num_classes=4, in_channels=shape[0], image_size=shape[1:])


def test_lrcn_calls_its_cnn_once_on_the_frames_in_a_row():
    model = load_classifier("lrcn", num_classes=4)
    seen = []
    model.cnn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = clips(2, 3, 5, 16, 16)
    model(x)
    (frames,) = seen
    assert frames.shape == (10, 3, 16, 16)
    assert torch.equal(frames[5 + 3], x[1, :, 3])
