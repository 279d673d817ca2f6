"""Batch norms folded into convolutions: the same answers and gradients, and no trace."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import densenet121, mobilenet_v3_small, resnet18
from torchvision.models.video import r3d_18

from attacks import PGD
from attacks.common.forward import folded, wrap_forward
from attacks.common.frozen import frozen
from attacks.common.goal import value_and_gradient


def shaken(model):
    """Give all batch norms statistics and parameters that are not those of the identity."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for name, tensor in module.state_dict().items():
                if name in ("running_var", "weight"):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                elif name != "num_batches_tracked":
                    tensor.normal_(0, 0.1, generator=generator)
    return model.eval()


class Net(nn.Module):
    """Two convolutions with a norm each; `between` comes before the first norm."""

    def __init__(self, between=None, norm=nn.BatchNorm2d):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect", bias=False)
        self.second = nn.Conv2d(4, 5, 3, stride=2, groups=1)
        self.norms = nn.ModuleList([norm(4), norm(5)])
        self.between, self.calls = between, 0

    def forward(self, x):
        self.calls += 1
        x = self.first(x)
        x = self.norms[0](self.between(x) if self.between else x).relu()
        return self.norms[1](self.second(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("build", "dims", "pairs"),
    [
        (resnet18, 2, 20),
        (mobilenet_v3_small, 2, 34),
        (densenet121, 2, 59),  # of 121: the others' norms come first
        pytest.param(r3d_18, 3, 20, marks=pytest.mark.slow),
        (Net, 2, 2),
    ],
)
def test_the_answer_and_its_gradient_are_the_models(build, dims, pairs):
    torch.manual_seed(0)
    model = shaken(build()).double()
    x = torch.rand(2, 3, *([8] if dims == 3 else []), 32, 32, dtype=torch.float64)
    with frozen(model):
        logits, fold = folded(model, x)
        assert len(fold.args[0]) == 2 * pairs
        ours = value_and_gradient(fold, x, lambda z: z[:, 0])
        plain = value_and_gradient(model, x, lambda z: z[:, 0])
    torch.testing.assert_close(logits, plain[0])
    for mine, its in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-12)
    assert not any("forward" in vars(module) for module in model.modules())


def test_the_models_own_code_and_hooks_run(batch):
    model, seen = shaken(Net()), []
    model.norms[0].register_forward_hook(lambda *_: seen.append("norm"))
    model.first.register_forward_pre_hook(lambda *_: seen.append("convolution"))
    x, _ = batch()
    forward, *_ = wrap_forward(model, x)
    model.calls = 0
    seen.clear()
    forward(x)
    assert model.calls == 1
    assert seen == ["convolution", "norm"]


def test_a_pass_that_raises_leaves_the_model_as_it_was(batch):
    model = shaken(Net())
    forward, *_ = wrap_forward(model, batch()[0])
    with pytest.raises(RuntimeError):
        forward(torch.rand(1, 7, 8, 8))
    assert not any("forward" in vars(module) for module in model.modules())


class Shared(Net):
    """One that calls its first convolution and norm a second time, on another input."""

    def forward(self, x):
        return super().forward(x) + self.norms[0](self.first(x.flip(1))).mean((2, 3))[:, :1]


class Peeking(Net):
    """One that uses the output of a convolution beside its norm."""

    def forward(self, x):
        return super().forward(x) + self.first(x).mean((2, 3))[:, :1]


class Reused(Net):
    """The same, seen by no hook."""

    def forward(self, x):
        inner = self.first(x)
        return self.norms[0](inner).mean((2, 3)) + inner.mean((2, 3))


class Scaled(nn.BatchNorm2d):
    """A norm that does something else as well."""

    def forward(self, x):
        return 2 * super().forward(x)


def in_place(x):
    return x.relu_()


def copied(x):
    return x + 1


@pytest.mark.parametrize(
    ("model", "folds"),
    [
        (Net(between=copied), 1),
        (Net(norm=Scaled), 0),
        (Net(norm=partial(nn.BatchNorm2d, track_running_stats=False)), 0),
        (Shared(), 1),
        (Peeking(), 1),
        (Net(between=in_place), None),  # seen only in the answers
        (Reused(), None),
    ],
)
def test_what_cannot_be_folded_is_not(batch, model, folds):
    x, y = batch()
    with frozen(shaken(model)):
        _, fold = folded(model, x)
        if folds is not None:
            assert (len(fold.args[0]) if fold else 0) == 2 * folds
        forward, random, _ = wrap_forward(model, x)
        assert not random
        torch.testing.assert_close(forward(x), model(x))
    assert PGD(eps=0.1, steps=2)(model, x, y).x_adv.shape == x.shape


def test_an_affine_free_norm_is_folded(batch):
    model, (x, _) = shaken(Net(norm=partial(nn.BatchNorm2d, affine=False))), batch()
    _, fold = folded(model, x)
    assert fold is not None
    torch.testing.assert_close(fold(x), model(x))


@pytest.mark.parametrize("by_method", [False, True])
def test_a_compiled_model_is_left_alone(batch, by_method):
    x, _ = batch()
    model = shaken(Net())
    compiled = model if by_method else torch.compile(model, backend="eager")
    if by_method:
        model.compile(backend="eager")
    with frozen(compiled):
        logits, fold = folded(compiled, x)
    assert fold is None
    assert logits.shape == (len(x), 5)
