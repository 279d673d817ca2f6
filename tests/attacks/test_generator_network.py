import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from attacks import (
    Architecture,
    RefusedInput,
    as_module,
    load_generators,
    perturb,
    save_generators,
)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def samples(architecture, batch=3, side=5):
    shape = (batch, architecture.channels, *range(side, side + architecture.dims))
    return randn(*shape, seed=1).sigmoid()


ARCHITECTURES = [
    Architecture(3),
    Architecture(1, kernel=5, blocks=2, layers=1),
    Architecture(2, kernel=1, blocks=1, layers=4),
    Architecture(3, dims=3),
    Architecture(1, dims=3, kernel=5, blocks=1, layers=2),
]


@pytest.fixture(params=ARCHITECTURES, ids=str)
def architecture(request):
    return request.param


def test_identity_passes_a_sample_unchanged(architecture):
    x = samples(architecture).float()
    x[0, 0, 0], x[0, 0, 1] = 0, 1
    weights = architecture.identity(len(x), x)
    assert weights.shape == (len(x), *architecture.shape)
    assert torch.equal(perturb(weights, x, architecture=architecture), x)
    module = as_module(weights[0], architecture=architecture)
    assert torch.equal(module(x), x)


def test_p_is_a_stack_of_torch_convolutions(architecture):
    x = samples(architecture)
    weights = architecture.identity(len(x), x) + 0.2 * randn(len(x), *architecture.shape)
    output = perturb(weights, x, architecture=architecture)
    for i in range(len(x)):
        module = as_module(weights[i], architecture=architecture)
        torch.testing.assert_close(module(x[i : i + 1])[0], output[i], atol=1e-12, rtol=0)


def test_the_stack_has_the_published_layers():
    """Three blocks of three convolutions, a ReLU after each block: 756 numbers for RGB."""
    module = as_module(
        Architecture(3).identity(1, torch.zeros(()))[0], architecture=Architecture(3)
    )
    kinds = [type(layer) for layer in module]
    assert kinds == [nn.Conv2d, nn.Conv2d, nn.Conv2d, nn.ReLU] * 3
    assert sum(p.numel() for p in module.parameters()) == 756


def test_gradients_are_those_of_the_torch_convolutions(architecture):
    x = samples(architecture).requires_grad_()
    weights = architecture.identity(3, x) + 0.1 * randn(3, *architecture.shape)
    weights.requires_grad_()
    output = perturb(weights, x, architecture=architecture).square().sum()
    ours, inputs = torch.autograd.grad(output, [weights, x])
    for i in range(3):
        module = as_module(weights[i].detach(), architecture=architecture)
        row = x[i : i + 1].detach().requires_grad_()
        wanted = [row, *module.parameters()]
        own, *layers = torch.autograd.grad(module(row).square().sum(), wanted)
        torch.testing.assert_close(inputs[i : i + 1], own, atol=1e-10, rtol=1e-10)
        for layer, (kernel, bias) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
            pair = torch.cat([kernel.flatten(1), bias[:, None]], 1)  # (C, D + 1)
            torch.testing.assert_close(ours[i, layer], pair, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (90, 80)])
def test_float32_batch_equals_single_samples(size):
    architecture = Architecture(3)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    start = architecture.identity(2, x) + 0.05 * randn(2, *architecture.shape).float()

    def run(rows):
        weights = start[rows].clone().requires_grad_()
        output = perturb(weights, x[rows], architecture=architecture)
        (gradient,) = torch.autograd.grad(output.square().flatten(1).mean(1).sum(), weights)
        return output.detach(), gradient

    both, singles = run(slice(0, 2)), [run(slice(i, i + 1)) for i in range(2)]
    for k in range(2):
        alone = torch.cat([single[k] for single in singles])
        torch.testing.assert_close(both[k], alone, atol=2e-5, rtol=2e-4)


def test_samples_do_not_see_each_other():
    architecture = Architecture(2)
    x = samples(architecture)
    weights = architecture.identity(3, x) + 0.1 * randn(3, *architecture.shape)
    before = perturb(weights, x, architecture=architecture)
    weights[1], x[1] = torch.nan, 0.0
    after = perturb(weights, x, architecture=architecture)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert after[1].isnan().all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(kernel=2), "kernel is 2; give a whole number that is odd"),
        (dict(kernel=0), "kernel is 0; give a whole number that is odd"),
        (dict(blocks=0), "blocks is 0; give a whole number >= 1"),
        (dict(layers=0), "layers is 0; give a whole number >= 1"),
        (dict(channels=0), "channels is 0; give a whole number >= 1"),
        (dict(dims=4), "dims is 4; give a whole number from 2 to 3"),
    ],
)
def test_shapes_without_identity_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Architecture(**{"channels": 3, **wrong})


def test_saved_generators_come_back(architecture, tmp_path):
    weights = randn(4, *architecture.shape).float()
    save_generators(tmp_path / "p.safetensors", weights[:, :, :], architecture=architecture)
    loaded, read = load_generators(tmp_path / "p.safetensors")
    assert torch.equal(loaded, weights)
    assert read == architecture


def test_saving_takes_what_autograd_and_slices_give(tmp_path):
    architecture = Architecture(1)
    weights = randn(6, *architecture.shape)[::2].requires_grad_()
    save_generators(str(tmp_path / "p"), weights, architecture=architecture)
    assert torch.equal(load_generators(str(tmp_path / "p"))[0], weights)


GOOD = dataclasses.asdict(Architecture(1))
METADATA = {
    "none": None,
    "other": {"format": "pt"},
    "no json": {"architecture": "?"},
    "list": {"architecture": "[1, 2]"},
    "null": {"architecture": "null"},
    "unknown field": {"architecture": json.dumps({**GOOD, "width": 1})},
    "text for a number": {"architecture": json.dumps({**GOOD, "kernel": "3"})},
    "even kernel": {"architecture": json.dumps({**GOOD, "kernel": 4})},
    "another shape": {"architecture": json.dumps({**GOOD, "layers": 2})},
}


@pytest.mark.parametrize("kind", METADATA)
def test_files_of_something_else_are_refused(tmp_path, kind):
    path = tmp_path / "p.safetensors"
    save_file({"weights": torch.zeros(2, *Architecture(1).shape)}, path, METADATA[kind])
    with pytest.raises(RefusedInput, match=r"p\.safetensors"):
        load_generators(path)


def test_a_file_without_weights_is_refused(tmp_path):
    path = tmp_path / "p.safetensors"
    save_file({"bias": torch.zeros(2)}, path, {"architecture": json.dumps(GOOD)})
    with pytest.raises(RefusedInput, match="save_generators"):
        load_generators(path)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_truncated_files_are_refused(tmp_path, cut):
    path = tmp_path / "p.safetensors"
    architecture = Architecture(1)
    save_generators(path, randn(2, *architecture.shape), architecture=architecture)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(RefusedInput, match="does not hold"):
        load_generators(path)


@pytest.mark.parametrize("content", [b"\xff" * 64, b"PK\x03\x04" + b"0" * 60, b"\x80\x04N."])
def test_no_safetensors_at_all_is_refused(tmp_path, content):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(RefusedInput, match="does not hold"):
        load_generators(tmp_path / "p")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_generators(tmp_path / "nothing")
