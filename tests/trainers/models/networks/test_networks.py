"""WideResNet and PreActResNet beside the papers, written as functions, and beside RobustBench."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from attacks import PGD
from attacks.errors import RefusedInput
from trainers import load_classifier
from trainers.models.networks.preact_resnet import PreActResNet18
from trainers.models.networks.registry import OURS, build_ours
from trainers.models.networks.wide_resnet import WideResNet
from trainers.models.sources.robustbench_models import import_robustbench


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def randomised(model, seed=0):
    """The model in eval mode, with norms that are not the identity."""
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            low = 0.5 if name.endswith(("weight", "var")) else -0.5
            tensor.copy_(low + torch.rand(tensor.shape, generator=draw))
    return model.eval()


def norm(state, x, name):
    keys = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys))


def block(state, x, name, *, stride, shortcut, act):
    """Norm, activation and convolution, twice, around the identity or a 1x1 convolution."""
    first = act(norm(state, x, f"{name}.bn1"))
    out = F.conv2d(first, state[f"{name}.conv1.weight"], stride=stride, padding=1)
    out = F.conv2d(act(norm(state, out, f"{name}.bn2")), state[f"{name}.conv2.weight"], padding=1)
    key = f"{name}.{shortcut}.weight"
    return out + (F.conv2d(first, state[key], stride=stride) if key in state else x)


def reference(state, x, groups, *, last, head, shortcut, act=F.relu):
    """The paper's network: groups is a list of (prefix, blocks, stride)."""
    out = F.conv2d(x, state["conv1.weight"], padding=1)
    for prefix, count, stride in groups:
        for i in range(count):
            out = block(
                state, out, f"{prefix}.{i}", stride=1 if i else stride, shortcut=shortcut, act=act
            )
    out = act(norm(state, out, last)).flatten(2).mean(2)
    return out @ state[f"{head}.weight"].T + state[f"{head}.bias"]


@pytest.mark.parametrize(
    ("name", "millions"),  # Zagoruyko & Komodakis 2016, tables 4 and 5
    [("40-1", 0.6), ("40-4", 8.9), ("16-8", 11.0), ("28-10", 36.5)],
)
def test_wide_resnets_are_as_large_as_published(name, millions):
    model = build_ours(f"wrn-{name}", num_classes=10, in_channels=3, image_size=None)
    assert round(parameters(model) / 1e6, 1) == millions


def test_preactresnet18_is_as_large_as_its_layers():
    stages = [(64, 64), (64, 128), (128, 256), (256, 512)]
    convolutions = 27 * 64 + sum(9 * (a * b + 3 * b * b) for a, b in stages)
    shortcuts = sum(a * b for a, b in stages[1:])
    norms = 2 * (sum(a + 3 * b for a, b in stages) + 512)
    assert parameters(PreActResNet18()) == convolutions + shortcuts + norms + 512 * 10 + 10


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (4, 12, 20)])
def test_a_wide_resnet_is_the_papers(shape):
    torch.manual_seed(0)
    model = randomised(WideResNet(num_classes=7, in_channels=shape[0], depth=16, widen_factor=2))
    x = torch.rand(3, *shape)
    groups = [("block1.layer", 2, 1), ("block2.layer", 2, 2), ("block3.layer", 2, 2)]
    expected = reference(
        model.state_dict(), x, groups, last="bn1", head="fc", shortcut="convShortcut"
    )
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("act", [F.relu, F.silu])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8)])
def test_a_preactresnet_is_the_papers(shape, act):
    torch.manual_seed(0)
    model = PreActResNet18(num_classes=7, in_channels=shape[0], width=8, activation=act)
    x = torch.rand(3, *shape)
    groups = [(f"layer{i}", 2, min(i, 2)) for i in (1, 2, 3, 4)]
    expected = reference(
        randomised(model).state_dict(), x, groups, last="bn", head="linear", shortcut="shortcut.0",
        act=act,
    )  # fmt: skip
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_the_silu_option_has_a_name():
    assert OURS["preactresnet18-silu"]().layer1[0].activation is F.silu
    assert OURS["preactresnet18"]().layer1[0].activation is F.relu


@pytest.mark.parametrize("name", ["wide", "preact", "preact-silu"])
def test_networks_equal_robustbenchs(name, monkeypatch):
    try:
        import_robustbench("this test")
    except RefusedInput as error:
        pytest.skip(str(error))
    from robustbench.model_zoo.architectures import resnet, wide_resnet

    torch.manual_seed(0)
    if name == "wide":
        theirs, ours = wide_resnet.WideResNet(16, 10, 4), WideResNet(depth=16, widen_factor=4)
    else:
        theirs = resnet.PreActResNet(
            resnet.PreActBlock, [2, 2, 2, 2], bn_before_fc=True, out_shortcut=True
        )
        ours = OURS["preactresnet18-silu" if name.endswith("silu") else "preactresnet18"]()
    if name.endswith("silu"):
        monkeypatch.setattr(F, "relu", F.silu)  # of theirs; ours has its own
    randomised(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrn-20-4", r"no wrn-20-4: .* 6 n \+ 4 .*16, 22, 28"),
        ("wrn-4-1", "no wrn-4-1"),
        ("wrn-16-0", "width at least 1"),
        ("wrn-28", r"unknown model 'wrn-28'; did you mean wrn-28-10"),
        ("preactresnet18-gelu", "did you mean preactresnet18-silu"),
    ],
)
def test_networks_that_do_not_exist(name, message):
    with pytest.raises(ValueError, match=message):
        load_classifier(name)


def test_an_attack_runs_on_them():
    for name in ("wrn-10-1", "preactresnet18-silu"):
        model = load_classifier(name, num_classes=4, in_channels=1, image_size=8)
        x = torch.rand(2, 1, 8, 8)
        result = PGD(steps=2)(model, x, model(x).argmax(1))
        assert (result.loss > 0).all()


def test_the_group_that_trades_keeps_and_never_runs_is_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    model = WideResNet(depth=10, widen_factor=1)
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    extra = {
        key.replace("block1", "sub_block1"): value.clone()
        for key, value in state.items()
        if "block1" in key
    }
    save_file(state | extra, tmp_path / "trades.safetensors")
    loaded = load_classifier("wrn-10-1", weights=tmp_path / "trades.safetensors")
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(loaded(x), model.eval()(x))
    assert "left module.sub_block1" in caplog.text
    save_file(state | {"module.other.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(RefusedInput, match=r"1 unexpected \(module.other.weight\)"):
        load_classifier("wrn-10-1", weights=tmp_path / "other.safetensors")
