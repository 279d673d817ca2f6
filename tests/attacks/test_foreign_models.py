"""Models as others write them: in their own precision, compiled, with answers of other kinds."""

import logging
from collections import namedtuple
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from attacks import FGSM, PGD, Square, frame_weights
from attacks.common.frozen import call, frozen, own_dtype
from attacks.common.goal import value_and_gradient
from trainers.evaluate.evaluation import predict

Pair = namedtuple("Pair", ["logits", "aux"])
pytestmark = pytest.mark.filterwarnings("ignore")  # torch's, of scripting and checkpoints


class Through(nn.Module):
    """A model whose forward pass is a function of another model and x."""

    def __init__(self, model, forward):
        super().__init__()
        self.model, self.through = model, forward

    def forward(self, x):
        return self.through(self.model, x)


def in_place(model, x):
    return model(x.sub_(0.4).div_(0.25))


def out_of_place(model, x):
    return model((x - 0.4) / 0.25)


class Keeps(nn.Module):
    """Keeps what it is given and what it gave, and spoils both in the next pass."""

    def __init__(self, model):
        super().__init__()
        self.model, self.kept = model, []

    def forward(self, x):
        for tensor in self.kept:
            tensor.data.fill_(7.0)
        logits = self.model(x)
        self.kept = [x, logits]
        return logits


class Buffered(nn.Module):
    """Writes its answers into one and the same tensor, where no gradient is asked for."""

    def __init__(self, model):
        super().__init__()
        self.model, self.answer = model, {}

    def forward(self, x):
        logits = self.model(x)
        if torch.is_grad_enabled():
            return logits
        return self.answer.setdefault((len(x), logits.dtype), torch.empty_like(logits)).copy_(
            logits
        )


class Pixels(nn.Module):
    """Gives its first pixels, a view of the input, or the input itself."""

    def forward(self, x):
        return x.view(len(x), -1)[:, :4] if x.ndim > 2 else x


SPOILERS = {"in place": in_place, "keeps": Keeps, "buffer": Buffered}


def spoiling(name, model):
    """A model that misuses its input or output, and one that says the same without."""
    if name == "in place":
        return Through(model, in_place), Through(model, out_of_place)
    return SPOILERS[name](model), model


@pytest.mark.parametrize("name", SPOILERS)
def test_a_model_does_with_its_input_what_it_likes(any_case, name, net, batch, same):
    x, y = batch()
    kept = x.clone()
    spoils, plain = spoiling(name, net().eval())
    result = any_case.attack()(spoils, x, y)
    assert same(result, any_case.attack()(plain, x, y))
    assert torch.equal(result.x, kept)
    assert torch.equal(x, kept)
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1


@pytest.mark.parametrize("name", SPOILERS)
def test_fits_are_as_safe(fitted_case, name, net, batch, same):
    x, y = batch()
    kept = x.clone()
    attacks = [fitted_case.fit(m, [(x, y)]) for m in spoiling(name, net().eval())]
    spoils, plain = spoiling(name, net().eval())
    assert same(attacks[0](spoils, x, y), attacks[1](plain, x, y))
    assert torch.equal(x, kept)


def test_logits_may_be_a_view_of_the_input(case, batch):
    x, y = batch()
    result = case.attack()(Pixels(), x, y)
    assert torch.equal(result.x, x)
    predicted = Pixels()(result.x_adv).argmax(1)
    assert torch.equal(
        result.success, predicted != y if not case.needs_target else predicted == (y == 0)
    )


def test_what_asks_a_model_beside_attacks_is_as_safe(net, batch):
    x, y = batch(dims=3)
    kept = x.clone()
    spoils, plain = spoiling("in place", net(dims=3).eval())
    torch.testing.assert_close(frame_weights(spoils, x, y), frame_weights(plain, x, y))
    assert torch.equal(predict(spoils, x), predict(plain, x))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_another_precision_run_in_their_own(any_case, dtype, net, batch):
    x, y = batch()
    model = net().eval().to(dtype)
    result = any_case.attack()(model, x, y)
    assert result.x_adv.dtype == result.loss.dtype == torch.float32
    with torch.no_grad():
        predicted = model(result.x_adv.to(dtype)).argmax(1)
    aim = predicted != y if not any_case.needs_target else predicted == (y == 0)
    assert (result.success == aim).double().mean() > 0.8  # ties of bfloat16 fall by the layout
    assert model.head.weight.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_fit_runs_in_the_models_precision(fitted_case, dtype, net, batch):
    x, y = batch()
    model = net().eval().to(dtype)
    assert fitted_case.fit(model, [(x, y)])(model, x, y).x_adv.dtype == torch.float32


def traced(model, x):
    return torch.jit.trace(model, x)


def frozen_script(model, x):
    return torch.jit.freeze(torch.jit.script(model))


def frozen_trace(model, x):
    return torch.jit.freeze(torch.jit.trace(model, x))


def exported(model, x):
    size = torch.export.Dim("size", min=1, max=64)
    return torch.export.export(model, (x,), dynamic_shapes=({0: size},)).module()


def plain_net(dims=2, dtype=torch.float32):
    """A classifier that TorchScript and torch.export can read."""
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = conv(3, 6, 3, padding=1), norm(6), nn.Tanh(), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(6 * 6**dims, 4)).to(dtype).eval()


@cache
def wrapped(wrap, dims):
    """A wrapped `plain_net`, made once: an export takes longer than the attack."""
    return wrap(plain_net(dims), torch.rand(4, 3, *[6] * dims))


@pytest.mark.parametrize("wrap", [traced, frozen_script, exported])
def test_compiled_models_are_attacked_like_their_source(any_case, wrap, batch, sample_dims):
    x, y = batch(4)
    model = plain_net(sample_dims)
    result = any_case.attack()(wrapped(wrap, sample_dims), x, y)
    plain = any_case.attack()(model, x, y)
    assert torch.equal(result.already, plain.already)
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    if any_case.name in ("pgd", "bim", "fgsm"):
        torch.testing.assert_close(result.loss, plain.loss, atol=0.05, rtol=0)


@pytest.mark.parametrize("wrap", [traced, frozen_trace])
def test_fits_take_compiled_models(fitted_case, wrap, batch, sample_dims):
    x, y = batch(4)
    model = wrapped(wrap, sample_dims)
    assert fitted_case.fit(model, [(x, y)])(model, x, y).x_adv.shape == x.shape


def test_a_frozen_model_of_another_precision_is_read_off_its_constants(batch):
    x, y = batch(4)
    frozen = torch.jit.freeze(torch.jit.trace(plain_net(dtype=torch.float64), x.double()))
    assert own_dtype(frozen) == torch.float64
    assert PGD(steps=2)(frozen, x, y).x_adv.dtype == torch.float32


@pytest.mark.parametrize("whole", [True, False])
def test_reentrant_checkpoints_let_gradients_through(any_case, whole, batch, sample_dims):
    def recomputed(model, x):
        if whole:
            return checkpoint(model, x, use_reentrant=True)
        return model[2:](checkpoint(model[:2], x, use_reentrant=True))

    x, y = batch(4)
    model = plain_net(sample_dims)
    checkpointed = Through(model, recomputed)
    weights = list(model.parameters())
    if any_case.name == "feature-linear":
        with pytest.raises(ValueError, match="cannot be differentiated twice"):
            any_case.attack()(checkpointed, x, y)
        return
    result = any_case.attack()(checkpointed, x, y)
    assert torch.equal(result.already, any_case.attack()(model, x, y).already)
    with frozen(checkpointed):
        given = [value_and_gradient(m, x, lambda z: z[:, 0]) for m in (checkpointed, model)]
    torch.testing.assert_close(*given)
    assert all(weight.grad is None and weight.requires_grad for weight in weights)
    with pytest.raises(RuntimeError, match="use_reentrant"):  # what torch says is as before
        torch.autograd.grad(checkpointed(x.requires_grad_()).sum(), x)


ANSWERS = {
    "attribute": lambda z, x: SimpleNamespace(logits=z, hidden=x),
    "namedtuple": lambda z, x: Pair(z, x),
    "dict": lambda z, x: {"logits": z, "hidden": x},
    "tuple": lambda z, x: (z, x),
    "list": lambda z, x: [z, x.flatten(1)],
}


@pytest.mark.parametrize("answer", ["attribute", "tuple"])
def test_logits_are_taken_out_of_richer_answers_and_that_is_said_once(
    any_case, answer, batch, sample_dims, same, caplog
):
    x, y = batch(4)
    model = plain_net(sample_dims)
    rich = Through(model, lambda m, x: ANSWERS[answer](m(x), x))
    with caplog.at_level(logging.WARNING):
        result = any_case.attack()(rich, x, y)
        any_case.attack()(rich, x, y)
    assert same(result, any_case.attack()(Through(model, nn.Module.__call__), x, y))
    (record,) = caplog.records
    assert "Through returns a" in record.getMessage()
    assert "taken for the logits" in record.getMessage()


@pytest.mark.parametrize("answer", ANSWERS)
def test_each_kind_of_richer_answer(answer, batch, same):
    x, y = batch(4)
    model = plain_net()
    rich = Through(model, lambda m, x: ANSWERS[answer](m(x), x))
    assert same(PGD()(rich, x, y), PGD()(Through(model, nn.Module.__call__), x, y))


@pytest.mark.parametrize(
    "answer",
    [
        lambda z, x: {"out": z},
        lambda z, x: (x, z),
        lambda z, x: (),
        lambda z, x: SimpleNamespace(loss=z),
        lambda z, x: None,
        lambda z, x: z.detach().numpy(),
    ],
)
def test_answers_without_logits_are_refused(answer, batch):
    x, y = batch(4)
    with pytest.raises(ValueError, match=r"the model returned .*; a classifier returns logits"):
        FGSM()(Through(plain_net(), lambda m, x: answer(m(x), x)), x, y)


def test_a_single_logit_is_refused_naming_the_wrapper(batch):
    x, y = batch(4)
    with pytest.raises(ValueError, match=r"one logit a sample; .*--binary"):
        Square(queries=2)(Through(plain_net(), lambda m, x: m(x)[:, :1]), x, y)


def test_call_gives_a_copy_in_the_layout_of_the_samples(batch):
    x = batch(4)[0].to(memory_format=torch.channels_last)
    seen = []
    call(Through(plain_net(), lambda m, x: seen.append(x) or m(x)), x)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[0].data_ptr() != x.data_ptr()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda x: x, ["a function", "an nn.Module that calls it"]),
        (nn.Flatten, ["the class Flatten", "an instance"]),
        (plain_net().forward, ["a method", "nn.Module"]),
        (None, ["a NoneType"]),
        ("smallcnn", ["a str"]),
    ],
)
def test_what_is_no_module_is_refused(model, words, any_case, batch):
    x, y = batch(2)
    with pytest.raises(ValueError, match="model is") as error:
        any_case.attack()(model, x, y)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_an_exported_program_is_refused_with_the_way_out(batch):
    x, y = batch(2)
    program = torch.export.export(plain_net(), (x,))
    with pytest.raises(ValueError, match=r"\.module\(\)"):
        PGD()(program, x, y)
