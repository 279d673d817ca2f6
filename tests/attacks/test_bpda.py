"""BPDA: which gradient takes the place of none, and that the forward pass stays the model's."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from attacks import PGD, AutoAttack
from attacks.common.bpda import stand_ins
from attacks.common.frozen import frozen
from attacks.common.goal import detached_logits, value_and_gradient

SIDE = 4


class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Curved(nn.Module):
    """A classifier with another gradient at each point."""

    def __init__(self):
        super().__init__()
        weight = torch.randn(2, SIDE * SIDE, 5, generator=torch.Generator().manual_seed(0))
        self.first, self.second = (nn.Parameter(each) for each in weight)

    def forward(self, x):
        return (x.flatten(1) @ self.first).sin() + x.flatten(1).square() @ self.second


def compare(model, reference, x, *, bpda):
    """Gradients of a model with stand-ins, and of the reference that says what they should be."""
    with frozen(model):
        plain = detached_logits(model, x)
        with stand_ins(model, x, bpda):
            logits, _, slope = value_and_gradient(model, x, lambda z: z[:, 0])
            assert torch.equal(detached_logits(model, x), plain)
        assert torch.equal(logits, plain)  # to the last bit
    assert not any("forward" in vars(module) for module in model.modules())
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(reference(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(slope, expected)
    assert slope.any()


def straight(function, slope=1.0):
    """Return a function of the same values, whose gradient is a multiple of the identity's."""
    return lambda x: function(x).detach() + slope * (x - x.detach())


def by_eight_bits(x):
    return (x * 255).to(torch.uint8).to(x.dtype) / 255


ROUNDING = {
    "round": lambda x: torch.round(x * 16) / 16,
    "method": lambda x: (x * 16).round() / 16,
    "decimals": lambda x: torch.round(x, decimals=1),
    "floor": lambda x: (x * 16).floor() / 16,
    "ceil": lambda x: torch.ceil(x * 16) / 16,
    "trunc": lambda x: (x * 16).trunc() / 16,
    "fix": lambda x: torch.fix(x * 16) / 16,
    "in place": lambda x: (x * 16).round_() / 16,
    "floor_divide": lambda x: x * 16 // 1 / 16,
    "rounding_mode": lambda x: torch.div(x, 1 / 16, rounding_mode="floor") / 16,
    "eight bits": by_eight_bits,
    "eight bits over a number": lambda x: (x * 255).byte() / 255,
    "some bits": lambda x: ((x * 255).int() // 16 * 16).float() / 255,
    "long": lambda x: (x * 9).long().type(torch.get_default_dtype()) / 9,
    "sign": lambda x: torch.sign(x - 0.5),
}


@pytest.mark.parametrize("name", ROUNDING)
def test_functions_that_round_are_the_identity_backwards(name):
    x, head = torch.rand(3, 1, SIDE, SIDE), Curved()
    function = ROUNDING[name]

    class Rounds(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, x):
            return self.head(function(x))

    reference = lambda x: head(straight(function)(x))  # noqa: E731
    compare(Rounds(), reference, x, bpda="identity")


def by_numpy(x):
    return torch.from_numpy(np.round(x.numpy() * 16) / 16)  # which torch refuses with a gradient


def by_pillow(x):
    """A JPEG of each sample."""
    files = []
    for sample in x.detach():
        file = io.BytesIO()
        Image.fromarray((sample[0].numpy() * 255).astype(np.uint8)).save(file, "JPEG")
        files.append(np.array(Image.open(file)) / np.float32(255))
    return torch.from_numpy(np.stack(files))[:, None]


@torch.no_grad()
def without_grad(x):
    return (x * 16).floor() / 16


MODULES = {
    "numpy": by_numpy,
    "pillow": by_pillow,
    "no_grad": without_grad,
    "detach": lambda x: x.detach() * 0.9,
    "threshold": lambda x: (x > 0.5).to(x.dtype),
    "zero gradient": lambda x: x * 0 + without_grad(x),
}


@pytest.mark.parametrize("bpda", ["identity", "identity:0", "surrogate:0", "0"])
@pytest.mark.parametrize("name", MODULES)
def test_modules_without_a_gradient_are_the_identity_backwards(name, bpda):
    x, head = torch.rand(3, 1, SIDE, SIDE), Curved()
    reference = lambda x: head(straight(lambda x: MODULES[name](x.detach()))(x))  # noqa: E731
    compare(nn.Sequential(Layer(MODULES[name]), head), reference, x, bpda=bpda)


def test_the_innermost_module_is_replaced():
    """Around it the gradient is the model's own."""
    x, head = torch.rand(3, 1, SIDE, SIDE), Curved()
    inner = nn.Sequential(Layer(torch.sqrt), Layer(without_grad), Layer(torch.square))
    reference = lambda x: head(straight(without_grad)(x.sqrt()).square())  # noqa: E731
    compare(nn.Sequential(inner, head), reference, x, bpda="identity")


def test_torchs_own_layers_keep_their_gradient():
    """A ReLU may well be zero on the samples that are tried."""
    x, head = torch.rand(3, 1, SIDE, SIDE), Curved()
    x[:2] -= 2
    compare(nn.Sequential(nn.ReLU(), head), lambda x: head(x.relu()), x, bpda="identity")


class Scaled(Layer):
    def surrogate(self, x):
        return 3 * x


def test_a_surrogate_gives_its_gradient_and_the_identity_does_for_the_rest():
    x, head = torch.rand(3, 1, SIDE, SIDE), Curved()
    model = nn.Sequential(Scaled(without_grad), Layer(by_numpy), head)
    both = lambda x, s: head(straight(lambda x: by_numpy(x.detach()))(straight(without_grad, s)(x)))  # noqa: E731
    compare(model, lambda x: both(x, 3.0), x, bpda="surrogate")
    compare(model, lambda x: both(x, 3.0), x, bpda="surrogate:0+1")
    compare(model, lambda x: both(x, 1.0), x, bpda="identity")


class Narrow(Layer):
    def surrogate(self, x):
        return x[..., :1]


@pytest.mark.parametrize(
    ("layer", "bpda", "word"),
    [
        (Layer(without_grad), "identity:1.2", r"bpda names the layer '1.2'.*layers are 0, 1"),
        (Layer(without_grad), "jpeg", r"'jpeg'; allowed: identity, surrogate"),
        (Layer(without_grad), "surrogate", r"no module of the model has a method surrogate\(x\)"),
        (Layer(without_grad), "1", r"\(2, 1, 4, 4\) in the place of a layer that returns \(2, 5\)"),
        (Narrow(without_grad), "surrogate", r"\(2, 1, 4, 1\) in the place"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(layer, bpda, word):
    x, y = torch.rand(3, 1, SIDE, SIDE), torch.zeros(3, dtype=torch.int64)
    model = nn.Sequential(layer, Curved())
    with pytest.raises(ValueError, match=word):
        PGD(bpda=bpda)(model, x, y)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_model_without_a_gradient_names_the_remedy():
    x, y = torch.rand(3, 1, SIDE, SIDE), torch.zeros(3, dtype=torch.int64)
    model = nn.Sequential(Layer(without_grad), Curved())
    with pytest.raises(ValueError, match="give the attack bpda=identity"):
        PGD()(model, x, y)
    assert PGD(bpda="identity")(model, x, y).success.any()


class Blocks(nn.Module):
    """Convolutions and norms, which are folded, around a layer without a gradient."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.layer, self.head = Layer(without_grad), nn.Linear(8 * SIDE * SIDE, 4)
        self.norm.running_mean.uniform_(-1, 1)

    def forward(self, x):
        return self.head(self.layer(self.norm(self.first(x)).tanh()).flatten(1))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_quick_passes_and_compiled_models_know_the_stand_ins(compiled):
    torch.manual_seed(0)
    model, x = Blocks().eval(), torch.rand(6, 1, SIDE, SIDE)
    y = model(x).argmax(1)
    open_ = Blocks().eval()
    open_.load_state_dict(model.state_dict())
    open_.layer.function = straight(without_grad)
    given = torch.compile(model, backend="eager") if compiled else model
    given(x)  # which compiles it as it is
    ours = PGD(eps=0.1, steps=3, bpda="identity")(given, x, y)
    theirs = PGD(eps=0.1, steps=3)(open_, x, y)
    torch.testing.assert_close(ours.x_adv, theirs.x_adv)
    assert torch.equal(ours.success, theirs.success)


def test_every_attack_with_gradients_gets_through_a_layer_that_rounds(any_case, net, batch):
    if not hasattr(any_case.attack(), "bpda") and not any_case.needs_target:
        pytest.skip("takes no gradient")

    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net(dtype=torch.float64)

        def forward(self, x):
            return self.inner((x * 256).round() / 256)

    x, _ = batch(dtype=torch.float64)
    x = (x * 256).round() / 256
    y = Rounded().eval()(x).argmax(1)
    plain, ours = (any_case.attack(**o)(Rounded(), x, y) for o in ({}, dict(bpda="identity")))
    assert "zero or non-finite gradient" in " ".join(plain.info.get("warnings", [])) or (
        any_case.name in ("generator", "keyframe")  # which do not look for it
    )
    assert "warnings" not in ours.info
    assert any_case.name == "autoattack" or (ours.linf > 0).any()


def test_autoattack_gives_its_members_the_stand_ins():
    torch.manual_seed(0)
    model, x = Blocks().eval(), torch.rand(6, 1, SIDE, SIDE)
    y = model(x).argmax(1)
    for version in ("standard", "plus", "rand", "custom"):
        sloped = [
            m.bpda
            for n, m in AutoAttack(version=version, bpda="identity").members().items()
            if n != "square"
        ]
        assert set(sloped) == {"identity"}
    attack = AutoAttack(version="custom", eps=0.3, steps=5, targets=1, queries=1, bpda="identity")
    assert attack(model, x, y).info["members"]["apgd-ce"] >= 1
