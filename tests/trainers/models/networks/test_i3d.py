import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from attacks import PGD
from trainers import load_classifier
from trainers.models.networks import i3d as i3d_module
from trainers.models.networks.i3d import pad_same


def clips(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def i3d_keys(classes):
    """Return the names and shapes of the kinetics checkpoint, written down once more."""
    units = {
        "conv3d_1a_7x7": (64, 3, 7),
        "conv3d_2b_1x1": (64, 64, 1),
        "conv3d_2c_3x3": (192, 64, 3),
    }
    for name, (c_in, *channels) in MIXED.items():
        for branch, (c_out, source, kernel) in {
            "branch_0": (channels[0], c_in, 1),
            "branch_1.0": (channels[1], c_in, 1),
            "branch_1.1": (channels[2], channels[1], 3),
            "branch_2.0": (channels[3], c_in, 1),
            "branch_2.1": (channels[4], channels[3], 3),
            "branch_3.1": (channels[5], c_in, 1),
        }.items():
            units[f"mixed_{name}.{branch}"] = (c_out, source, kernel)
    shapes = {}
    for name, (c_out, c_in, kernel) in units.items():
        shapes[f"{name}.conv3d.weight"] = (c_out, c_in, kernel, kernel, kernel)
        for norm in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.batch3d.{norm}"] = (c_out,)
    shapes["conv3d_0c_1x1.conv3d.weight"] = (classes, 1024, 1, 1, 1)
    shapes["conv3d_0c_1x1.conv3d.bias"] = (classes,)
    return shapes


# Szegedy et al. 2015, table 1: channels in, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj.
MIXED = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}


def random_state(classes=5, seed=0):
    """Return weights of the checkpoint's names, random but such that nothing fades or grows."""
    g = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in i3d_keys(classes).items():
        if name.endswith("conv3d.weight"):
            scale = (2 / torch.Size(shape[1:]).numel()) ** 0.5
            state[name] = torch.randn(shape, generator=g) * scale
        elif name.endswith(("running_var", "batch3d.weight")):
            state[name] = 0.5 + torch.rand(shape, generator=g)
        else:
            state[name] = torch.randn(shape, generator=g) * 0.1
    return state


@pytest.fixture(scope="module")
def state():
    return random_state()


@pytest.fixture(scope="module")
def i3d(state, tmp_path_factory):
    file = tmp_path_factory.mktemp("i3d") / "model_rgb.pth"
    torch.save(state, file)
    return load_classifier("i3d", weights=file)


def test_i3d_loads_the_checkpoints_names_strictly_and_has_no_others(i3d, state):
    own = i3d.state_dict()
    assert {k: tuple(v.shape) for k, v in own.items()} == i3d_keys(5)
    assert all(torch.equal(own[k], v) for k, v in state.items())
    fresh = load_classifier("i3d", num_classes=5)
    fresh.load_state_dict(state)  # torch's own strict way
    x = clips(1, 3, 9, 32, 32)
    assert torch.equal(fresh(x), i3d(x))
    counters = {k.replace("running_var", "num_batches_tracked"): torch.tensor(3) for k in state}
    fresh.load_state_dict(state | {k: v for k, v in counters.items() if k not in state})
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict({k: v for k, v in state.items() if "4d" not in k})


def test_i3d_has_the_published_number_of_parameters():
    layers = [v for k, v in i3d_keys(400).items() if "running" not in k]
    assert parameters(load_classifier("i3d")) == sum(torch.Size(s).numel() for s in layers)
    assert 12_690_000 < parameters(load_classifier("i3d")) < 12_710_000


def tf_pad(x, kernel, stride, value):
    """Pad as TensorFlow documents it, by the remainder of the division, per axis."""
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), start=2):
        size = x.shape[axis]
        total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        for count, back in ((total // 2, False), (total - total // 2, True)):
            edge = list(x.shape)
            edge[axis] = count
            block = x.new_full(edge, value)
            x = torch.cat([x, block] if back else [block, x], axis)
    return x


def reference_i3d(state, x):
    """Compute I3D once more from its weights alone, layer by layer."""

    def unit(name, x, stride=1):
        weight = state[f"{name}.conv3d.weight"]
        x = tf_pad(x, weight.shape[2:], (stride,) * 3, 0.0)
        x = F.conv3d(x, weight, stride=stride)
        norm = [state[f"{name}.batch3d.{k}"].view(-1, 1, 1, 1)
                for k in ("running_mean", "running_var", "weight", "bias")]  # fmt: skip
        return ((x - norm[0]) / (norm[1] + 1e-3).sqrt() * norm[2] + norm[3]).clamp(min=0)

    def pool(x, kernel, stride):
        return F.max_pool3d(tf_pad(x, kernel, stride, -torch.inf), kernel, stride)

    def mixed(name, x):
        name = f"mixed_{name}"
        third = unit(f"{name}.branch_2.1", unit(f"{name}.branch_2.0", x))
        second = unit(f"{name}.branch_1.1", unit(f"{name}.branch_1.0", x))
        fourth = unit(f"{name}.branch_3.1", pool(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([unit(f"{name}.branch_0", x), second, third, fourth], 1)

    x = unit("conv3d_1a_7x7", 2 * x - 1, 2)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit("conv3d_2c_3x3", unit("conv3d_2b_1x1", x))
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = mixed("3c", mixed("3b", x))
    x = pool(x, (3, 3, 3), (2, 2, 2))
    for name in ("4b", "4c", "4d", "4e", "4f"):
        x = mixed(name, x)
    x = pool(x, (2, 2, 2), (2, 2, 2))
    x = mixed("5c", mixed("5b", x))
    # Two frames and up to 7x7 places side by side are averaged, then everything.
    x = x.unfold(2, 2, 1).unfold(3, min(7, x.shape[3]), 1).unfold(4, min(7, x.shape[4]), 1)
    x = x.mean((5, 6, 7)).mean((2, 3, 4))
    return (
        x @ state["conv3d_0c_1x1.conv3d.weight"].flatten(1).T + state["conv3d_0c_1x1.conv3d.bias"]
    )


@pytest.mark.parametrize("shape", [(9, 32, 32), (10, 33, 47), (17, 50, 36), (19, 8, 61)])
def test_i3d_equals_a_recomputation_with_tensorflows_padding(i3d, state, shape):
    x = clips(2, 3, *shape)
    torch.testing.assert_close(i3d(x), reference_i3d(state, x), rtol=1e-4, atol=1e-4)


def test_i3d_averages_where_more_than_seven_places_are_left(i3d, state):
    x = clips(1, 3, 9, 16, 255)  # 8 places across
    torch.testing.assert_close(i3d(x), reference_i3d(state, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [1, 2, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_makes_room_for_just_the_windows(kernel, stride):
    for size in range(1, 20):
        x = torch.ones(1, 1, 1, 1, size)
        padded = pad_same(x, (1, 1, kernel), (1, 1, stride))
        assert torch.equal(padded, tf_pad(x, (1, 1, kernel), (1, 1, stride), 0.0))
        assert (padded.shape[-1] - kernel) // stride + 1 == math.ceil(size / stride)


def test_i3d_takes_other_classes_and_its_statistics_can_be_replaced(i3d, state, tmp_path):
    assert i3d(clips(1, 3, 9, 32, 32)).shape == (1, 5)  # the number in the weights
    seven = load_classifier("i3d", num_classes=7, image_size=(9, 32, 32))
    assert seven(clips(1, 3, 9, 32, 32)).shape == (1, 7)
    save_file(state, tmp_path / "w.safetensors")
    x = clips(1, 3, 9, 32, 32)
    same = load_classifier("i3d", weights=tmp_path / "w.safetensors", mean=[0.5] * 3, std=[0.5] * 3)
    assert torch.equal(same(x), i3d(x))  # the statistics given stand in for its own
    save_file(same.state_dict(), tmp_path / "saved.safetensors")
    assert torch.equal(load_classifier("i3d", weights=tmp_path / "saved.safetensors")(x), i3d(x))
    zero = load_classifier("i3d", weights=tmp_path / "w.safetensors", mean=[0.0] * 3, std=[1.0] * 3)
    torch.testing.assert_close(zero(2 * x - 1), i3d(x))


def recomputes(model, x):
    """Return the logits and the gradient, and how often a module in the middle was called."""
    calls = []
    hook = model.mixed_4b.register_forward_pre_hook(lambda *_: calls.append(1))
    x = x.clone().requires_grad_()
    logits = model(x)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    hook.remove()
    return logits.detach(), gradient, len(calls)


def test_large_clips_are_computed_again_with_the_same_result(i3d, monkeypatch):
    x = clips(2, 3, 9, 33, 32)
    plain = recomputes(i3d, x)
    monkeypatch.setattr(i3d_module, "_LARGE", x.numel())
    again = recomputes(i3d, x)
    assert (plain[2], again[2]) == (1, 2)
    assert torch.equal(plain[0], again[0])
    assert torch.equal(plain[1], again[1])
    assert recomputes(i3d, x[:1])[2] == 1  # a smaller batch is kept


def test_attacks_that_fold_batch_norms_get_through_large_clips(i3d, monkeypatch):
    x = clips(2, 3, 9, 32, 32)
    y = i3d(x).argmax(1)
    plain = PGD(steps=2)(i3d, x, y)
    monkeypatch.setattr(i3d_module, "_LARGE", x.numel())
    again = PGD(steps=2)(i3d, x, y)
    assert torch.equal(plain.x_adv, again.x_adv)
    assert all("forward" not in module.__dict__ for module in i3d.modules())


def test_i3d_samples_do_not_see_each_other(i3d):
    x = clips(3, 3, 9, 32, 32)
    torch.testing.assert_close(i3d(x)[1:2], i3d(x[1:2]))
