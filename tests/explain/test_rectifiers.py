"""Guided backpropagation and deconvolution against captum, closed forms, and each kind of ReLU."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explain.gradient.deconvolution import Deconvolution
from explain.gradient.guided_backprop import GuidedBackprop
from explain.gradient.saliency import Saliency

METHODS = pytest.mark.parametrize("method", [GuidedBackprop(), Deconvolution()], ids=["g", "d"])
X, Y = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 1])


class Net(nn.Module):
    """Two convolutions, each behind which comes a rectifier, and a linear layer."""

    def __init__(self, rectify):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
        self.head, self.rectify = nn.Linear(64, 3), rectify

    def forward(self, x):
        x = self.rectify(30 * self.first(x - 0.5))  # large enough for the 6 of a ReLU6
        x = self.rectify(self.second(x))
        return self.head(x.flatten(1))


def ignoring_the_result(function):
    """A function that works in place, of which the model does not use what it returns."""

    def rectify(x):
        function(x)
        return x

    return rectify


RELUS = {
    "nn.ReLU inplace": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu inplace": lambda x: F.relu(x, inplace=True),
    "F.relu_": ignoring_the_result(F.relu_),
    "torch.relu": torch.relu,
    "torch.relu_": ignoring_the_result(torch.relu_),
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": ignoring_the_result(lambda x: x.relu_()),
    "aten": torch.ops.aten.relu.default,
    "clamp": lambda x: x.clamp(min=0),
    "torch.clamp": lambda x: torch.clamp(x, 0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_min_": ignoring_the_result(lambda x: x.clamp_min_(0)),
    "clip": lambda x: torch.clip(x, 0.0, None),
}
RELU6S = {
    "nn.ReLU6 inplace": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 inplace": lambda x: F.relu6(x, inplace=True),
    "F.hardtanh": lambda x: F.hardtanh(x, 0, 6),
    "F.hardtanh_": ignoring_the_result(lambda x: F.hardtanh_(x, 0, 6)),
    "clamp": lambda x: x.clamp(0, 6),
    "clamp_": ignoring_the_result(lambda x: x.clamp_(max=6, min=0)),
}


@METHODS
@pytest.mark.parametrize("name", RELUS)
def test_every_relu_counts_as_one(method, name):
    expected = method(Net(nn.ReLU()), X, Y)
    assert not torch.allclose(expected, Saliency()(Net(nn.ReLU()), X, Y))
    torch.testing.assert_close(method(Net(RELUS[name]), X, Y), expected)


@METHODS
@pytest.mark.parametrize("name", RELU6S)
def test_every_relu6_counts_as_one(method, name):
    expected = method(Net(nn.ReLU6()), X, Y)
    assert not torch.allclose(expected, Saliency()(Net(nn.ReLU6()), X, Y))
    torch.testing.assert_close(method(Net(RELU6S[name]), X, Y), expected)


@pytest.mark.parametrize("name", ["GuidedBackprop", "Deconvolution"])
def test_they_equal_captums(name):
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")

    class Modules(Net):  # captum refuses a module that is called twice
        def __init__(self):
            super().__init__(None)
            self.act1, self.act2 = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            x = self.act1(30 * self.first(x - 0.5))
            return self.head(self.act2(self.second(x)).flatten(1))

    x = X.clone().requires_grad_()
    theirs = getattr(captum, name)(Modules()).attribute(x, target=Y).abs().amax(1).detach()
    ours = {"GuidedBackprop": GuidedBackprop, "Deconvolution": Deconvolution}[name]()
    torch.testing.assert_close(ours(Net(F.relu), X, Y), theirs)


@pytest.mark.parametrize("relu", [F.relu, F.relu6])
def test_the_rules_are_those_of_the_papers(relu):
    """Of two layers of weights the signals back can be written down."""
    torch.manual_seed(0)
    first, second = nn.Linear(12, 40, bias=False), nn.Linear(40, 3, bias=False)
    nn.init.normal_(first.weight, std=2)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = first, second

        def forward(self, x):
            return self.second(relu(self.first(x.flatten(1))))

    x = torch.rand(5, 3, 2, 2)
    y = torch.tensor([0, 1, 2, 0, 1])
    with torch.no_grad():
        ahead, back = first(x.flatten(1)), second.weight[y].clamp_min(0)
        lets_through = (ahead > 0) & (ahead < (6 if relu is F.relu6 else torch.inf))
        guided = (back * lets_through) @ first.weight
        deconvolved = back @ first.weight
    assert (ahead > 6).any()
    maps = guided.view_as(x).abs().amax(1), deconvolved.view_as(x).abs().amax(1)
    torch.testing.assert_close(GuidedBackprop()(Two(), x, y), maps[0])
    torch.testing.assert_close(Deconvolution()(Two(), x, y), maps[1])


@METHODS
@pytest.mark.parametrize(
    "function",
    [nn.GELU(), nn.LeakyReLU(), nn.Hardtanh(), lambda x: x.clamp(0, 1), lambda x: x.clamp_min(0.1)],
)
def test_a_model_without_rectifiers_is_refused(method, function):
    with pytest.raises(ValueError, match="Net calls no ReLU or ReLU6"):
        method(Net(function), X, Y)


@METHODS
def test_torchscript_which_hides_its_relus_is_refused(method):
    with pytest.raises(ValueError, match="hides them as TorchScript does"):
        method(torch.jit.trace(Net(F.relu).eval(), X), X, Y)


@METHODS
def test_a_compiled_model_is_explained_as_it_was_before(method):
    compiled = torch.compile(Net(F.relu), backend="eager")
    compiled(X)
    torch.testing.assert_close(method(compiled, X, Y), method(Net(F.relu), X, Y))


@METHODS
def test_checkpoints_recompute_with_the_same_rule(method):
    class Checkpointed(Net):
        def forward(self, x):
            run = torch.utils.checkpoint.checkpoint
            x = run(lambda x: F.relu(30 * self.first(x - 0.5)), x, use_reentrant=False)
            x = run(lambda x: F.relu(self.second(x)), x, use_reentrant=False)
            return self.head(x.flatten(1))

    torch.testing.assert_close(method(Checkpointed(F.relu), X, Y), method(Net(F.relu), X, Y))
