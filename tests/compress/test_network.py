"""R: what a new one returns, its gate, its parts, and which files it restores."""

import math

import pytest
import torch

from compress import BlendWeight, Codec, FormatError, NetworkConfig, RestorationNet, decode
from compress.file_format import NO_MODEL, parse

SHAPES = [(1, 1), (1, 5), (7, 9), (32, 32), (33, 17)]


def samples(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def disturbed(network, size=0.1):
    """Give every weight a random change, so that a network does something."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    network.round_to_half()
    return network


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("frames", [None, 1, 3, 8])
@pytest.mark.parametrize("size", SHAPES)
def test_a_new_unet_returns_what_it_is_given_at_any_size(channels, frames, size):
    x = samples(2, channels, *([] if frames is None else [frames]), *size)
    network = RestorationNet(NetworkConfig(channels=channels, dims=x.ndim - 2, width=4))
    assert torch.equal(network(x, torch.tensor([0.1, 2.0])), x)
    network.blend_weight = BlendWeight((0.1,), (1.0,))
    assert torch.equal(network.restore(x, 0.1), x)


@pytest.mark.parametrize("form", ["unet", "paper"])
@pytest.mark.parametrize("size", [(3,), (8,)])
@pytest.mark.parametrize("depth", [1, 3])
def test_outputs_have_the_shape_of_inputs(form, size, depth):
    for dims in (2, 3):
        x = samples(2, 3, *size * dims)
        config = NetworkConfig(channels=3, dims=dims, form=form, width=4, depth=depth)
        network = disturbed(RestorationNet(config))
        assert network(x, torch.tensor([0.1, 2.0])).shape == x.shape
        network.blend_weight = BlendWeight((0.1,), (1.0,))
        dequantise_and_invert = network.restore(x, 0.1)
        assert dequantise_and_invert.shape == x.shape
        assert dequantise_and_invert.min() >= 0
        assert dequantise_and_invert.max() <= 1
        assert not torch.equal(dequantise_and_invert, x)


def test_the_paper_form_is_what_torch_computes_written_out():
    config = NetworkConfig(channels=3, form="paper", width=4, depth=1)
    network, x = disturbed(RestorationNet(config)), samples(2, 3, 6, 7)
    w = network.state_dict()
    hidden = torch.conv_transpose2d(
        x - 0.5, w["layers.up.0.weight"], w["layers.up.0.bias"], stride=2, padding=1
    )
    assert hidden.shape == (2, 4, 12, 14)
    hidden = hidden.clamp_min(0)
    hidden = torch.conv2d(
        hidden, w["layers.down.0.weight"], w["layers.down.0.bias"], padding=1
    ).clamp_min(0)
    hidden = hidden.unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1))
    wanted = torch.conv2d(hidden, w["layers.leave.weight"], w["layers.leave.bias"], padding=1) + 0.5
    torch.testing.assert_close(network(x, torch.ones(2)), wanted)


def test_a_unet_is_told_the_step_of_each_sample_and_the_paper_form_is_not():
    x = samples(1, 1, 8, 8).expand(2, 1, 8, 8)
    for form, differ in (("unet", True), ("paper", False)):
        network = disturbed(RestorationNet(NetworkConfig(channels=1, form=form, width=4)))
        first, second = network(x, torch.tensor([0.1, 2.0]))
        assert torch.allclose(first, second) != differ


def test_differences_become_samples_around_grey():
    network = RestorationNet(NetworkConfig(channels=1, kind="delta", width=4))
    gamma = samples(2, 1, 4, 4) - 0.5
    assert torch.equal(network(gamma, torch.ones(2)), gamma + 0.5)
    assert torch.equal(network.restore(gamma * 4, 1.0), (gamma * 4 + 0.5).clamp(0, 1))


def test_the_gate_is_linear_in_the_logarithm_and_shut_where_nothing_was_measured():
    gate = BlendWeight((0.1, 0.4, 1.6), (0.0, 1.0, 0.5))
    for step, share in ((0.1, 0), (0.2, 0.5), (0.4, 1), (0.8, 0.75), (1.6, 0.5)):
        assert gate.at(step) == pytest.approx(share)
    assert gate.at(0.4 * 2**0.5) == pytest.approx(0.875)
    assert gate.at(1.9) == 0.5
    assert gate.at(2.1) == gate.at(0.01) == BlendWeight().at(1.0) == 0


def test_a_share_of_the_network_is_blended_in():
    network, x = disturbed(RestorationNet(NetworkConfig(channels=1, width=4))), samples(5, 1, 8, 8)
    network.blend_weight = BlendWeight((1.0,), (1.0,))
    whole = network.restore(x, 1.0)
    network.blend_weight = BlendWeight((1.0,), (0.25,))
    torch.testing.assert_close(network.restore(x, 1.0), x + 0.25 * (whole - x))
    torch.testing.assert_close(network.restore(x, 1.0, batch=2), network.restore(x, 1.0))
    assert torch.equal(network.restore(x, 9.0), x)


def test_the_random_state_is_left_alone():
    state = torch.get_rng_state()
    first, again = (RestorationNet(NetworkConfig(channels=1, width=4)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.digest == again.digest


def test_parts_make_the_same_network_again():
    config = NetworkConfig(channels=2, dims=3, kind="x-task", form="paper", width=5, depth=1)
    network = disturbed(RestorationNet(config, BlendWeight((0.1, 1.0), (0.5, 1.0))))
    again = RestorationNet.from_state(*network.export_state())
    assert (again.config, again.blend_weight, again.digest) == (
        config,
        network.blend_weight,
        network.digest,
    )
    x = samples(2, 2, 3, 5, 5)
    assert torch.equal(again.restore(x, 0.3), network.restore(x, 0.3))
    assert all(t.dtype == torch.float16 for t in again.export_state()[0].values())


def test_a_digest_tells_weights_config_and_gate():
    def made(gate=None, **config):
        return RestorationNet(NetworkConfig(channels=1, width=4, **config), gate)

    others = [disturbed(made()), made(BlendWeight((1.0,), (0.5,))), made(kind="x-task")]
    digests = {network.digest for network in (made(), *others)}
    assert len(digests) == 4
    assert {len(digest) for digest in digests} == {8}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors, rest: tensors.pop("layers.leave.weight"),
        lambda tensors, rest: tensors.update(more=torch.zeros(1)),
        lambda tensors, rest: tensors.update({"layers.leave.bias": torch.zeros(7)}),
        lambda tensors, rest: tensors.update({"layers.leave.bias": torch.tensor([math.nan])}),
        lambda tensors, rest: rest.pop("gate"),
        lambda tensors, rest: rest.update(gate={"steps": [1.0], "shares": [2.0]}),
        lambda tensors, rest: rest.update(gate=[1.0]),
        lambda tensors, rest: rest["config"].update(width=10**9),
        lambda tensors, rest: rest["config"].update(more=1),
        lambda tensors, rest: rest["config"].update(form="resnet"),
        lambda tensors, rest: rest["config"].update(width="wide"),
    ],
)
def test_parts_that_are_none_are_refused(spoil):
    tensors, rest = RestorationNet(NetworkConfig(channels=1, width=4)).export_state()
    spoil(tensors, rest)
    with pytest.raises(ValueError):  # noqa: PT011 -- each says something else
        RestorationNet.from_state(tensors, rest)


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"dims": 1}, {"kind": "y"}, {"form": "deep"}, {"width": 0}, {"depth": 0}],
)
def test_impossible_configs_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        NetworkConfig(**({"channels": 3} | wrong))


@pytest.mark.parametrize(
    ("steps", "shares"),
    [((1.0,), ()), ((2.0, 1.0), (0, 0)), ((1.0,), (1.5,)), ((0.0,), (1,)), ((math.nan,), (1,))],
)
def test_impossible_gates_are_refused(steps, shares):
    with pytest.raises(ValueError, match="rising"):
        BlendWeight(steps, shares)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 3, 4, 4),
        torch.zeros(2, 1, 4, 4, 4),
        torch.zeros(0, 1, 4, 4),
        torch.zeros(2, 1, 4, 4, dtype=torch.int64),
    ],
)
def test_other_samples_are_refused(x):
    with pytest.raises(ValueError, match="the network is for"):
        RestorationNet(NetworkConfig(channels=1, width=4)).restore(x, 1.0)


@pytest.fixture(scope="module")
def small():
    x = samples(6, 1, 8, 8)
    return Codec.fit(x), x


def test_a_file_names_its_network_and_other_networks_are_refused(small):
    codec, x = small
    network = disturbed(
        RestorationNet(NetworkConfig(channels=1, width=4), BlendWeight((0.2, 2.0), (1.0, 1.0)))
    )
    other = disturbed(RestorationNet(NetworkConfig(channels=1, width=4)), 0.2)
    bare, file = codec.encode(x, step=0.5), codec.encode(x, step=0.5, network=network)
    assert parse(file).head.model == network.digest
    assert parse(bare).head.model == NO_MODEL
    assert len(file) == len(bare)
    plain = codec.decode(file)
    assert torch.equal(plain, codec.decode(bare))
    dequantise_and_invert = codec.decode(file, network=network)
    assert torch.equal(dequantise_and_invert, network.restore(plain, 0.5))
    assert not torch.equal(dequantise_and_invert, plain)
    assert torch.equal(codec.decode(bare, network=network), dequantise_and_invert)
    with pytest.raises(FormatError, match=other.digest.hex()):
        codec.decode(file, network=other)
    alone = codec.encode(x, step=0.5, network=network, embed_tables=True)
    assert torch.equal(decode(alone, network=network), dequantise_and_invert)
    with pytest.raises(FormatError, match=network.digest.hex()):
        decode(alone, network=other)


def test_a_network_for_other_samples_is_refused(small):
    codec, x = small
    for config in (
        NetworkConfig(channels=1, width=4, kind="delta"),
        NetworkConfig(channels=3, width=4),
        NetworkConfig(channels=1, width=4, dims=3),
    ):
        with pytest.raises(FormatError, match="the network is for"):
            codec.decode(codec.encode(x), network=RestorationNet(config))
    with pytest.raises(ValueError, match="the network is for 'delta'"):
        codec.encode(x, network=RestorationNet(NetworkConfig(channels=1, width=4, kind="delta")))
