import random

import numpy as np
import pytest
import torch
from torch import nn

from attacks.common.frozen import frozen


class Restless(nn.Module):
    """Changes every buffer it has, in every way, whatever its mode."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("in_place", torch.zeros(2))
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("filled", None)
        self.register_buffer("of_x", torch.zeros(()))
        self.register_buffer("nan", torch.full((2,), torch.nan))

    def forward(self, x):
        self.in_place += 1
        self.replaced = self.replaced + 1
        self.filled = torch.ones(2)
        self.of_x.add_(x.sum())
        self.nan.zero_()
        self.register_buffer("added", torch.ones(1), persistent=True)
        return self.layer(x)


def test_buffers_come_back_as_objects_and_contents():
    model = Restless()
    names, objects = list(model._buffers), {**model._buffers}
    for _ in range(2):
        with frozen(model):
            model(torch.ones(1, 2, requires_grad=True))
        assert list(model._buffers) == names
        assert all(model._buffers[name] is objects[name] for name in names)
        assert model.in_place.tolist() == model.replaced.tolist() == [0, 0]
        assert (model.of_x.item(), model.of_x.requires_grad) == (0, False)
        assert model.nan.isnan().all()


def test_inside_all_is_eval_and_parameters_are_constant():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    model[1].eval()
    model[0].bias.requires_grad_(False)
    with torch.no_grad(), frozen(model):
        assert torch.is_grad_enabled()
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]


def test_error_passes_through_and_all_is_restored():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    state = torch.get_rng_state()

    def use():
        with frozen(model):
            torch.rand(5)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        use()
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model[0].weight.requires_grad
    assert torch.is_grad_enabled()


def test_modes_are_off_inside_even_without_parameters():
    with torch.inference_mode(), torch.autocast("cpu"):
        with frozen(nn.Identity()):
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            x = torch.ones(2, 2, requires_grad=True)
            assert (x @ x).dtype == torch.float32
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")


def test_nested_use():
    model = nn.Dropout()
    with frozen(model):
        with frozen(model):
            pass
        assert not model.training
    assert model.training


def test_a_model_made_in_inference_mode_is_left_as_it_was():
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    with frozen(model), torch.no_grad():
        model(torch.zeros(1, 3, 4, 4))
        assert not model.training
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_scripted_model_is_left_as_it_was():
    model = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with frozen(model):
        model(torch.zeros(1, 3, 4, 4))
        assert not model.training
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Renormed(nn.Linear):
    """Brings its weights to unit length whenever it is called, as layers with a max norm do."""

    def forward(self, x):
        self.weight.data = nn.functional.normalize(self.weight.data, dim=0)
        self.bias.data.add_(1)
        return super().forward(x)


@pytest.mark.parametrize("inference", [False, True])
def test_parameters_that_the_model_writes_to_come_back(inference):
    model = Renormed(2, 3)
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    places = {k: v.data_ptr() for k, v in model.named_parameters()}
    with torch.inference_mode(inference), frozen(model):
        model(torch.ones(1, 2))
        assert not torch.equal(model.weight, before["weight"])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.data_ptr() == places[name]


class Adapting(nn.Linear):
    """Takes gradients of its own weights while it answers, as models that adapt do."""

    def forward(self, x):
        self.weight.requires_grad_(True)
        self.bias.requires_grad_(True)
        super().forward(x).logsumexp(1).sum().backward()
        return super().forward(x)


def test_gradients_and_flags_that_the_model_sets_come_back():
    model = Adapting(2, 3)
    model.weight.requires_grad_(False)
    given = model.bias.grad = torch.ones(3)
    with frozen(model):
        model(torch.ones(1, 2))
    assert model.weight.grad is None
    assert not model.weight.requires_grad
    assert model.bias.grad is given
    assert given.tolist() == [1, 1, 1]
    assert model.bias.requires_grad


def test_a_buffer_keeps_what_computed_it():
    model = nn.Linear(2, 3)
    model.register_buffer("twice", 2 * model.weight)
    before = model.twice.grad_fn
    with frozen(model):
        model(torch.ones(1, 2))
    assert before is not None
    assert model.twice.grad_fn is before


def test_a_parameter_that_is_replaced_comes_back():
    model = nn.Linear(2, 3)
    given = model.weight
    with frozen(model):
        model.weight = nn.Parameter(torch.zeros(3, 2))
        model.register_parameter("added", nn.Parameter(torch.ones(1)))
    assert model.weight is given
    assert list(model._parameters) == ["weight", "bias"]


def test_random_numbers_of_python_and_numpy_come_back():
    def drawn():
        return random.getstate(), np.random.get_state()[1:3]  # noqa: NPY002

    before = drawn()
    with frozen(nn.Identity()):
        random.random()
        np.random.rand(700)  # noqa: NPY002
    (python, (words, place)), (kept, (old, old_place)) = drawn(), before
    assert python == kept
    assert (words == old).all()
    assert place == old_place
