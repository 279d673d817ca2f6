"""The outputs of layers, against the layers called by hand."""

import pytest
import torch
from torch import nn

from attacks.common.activations import (
    Representation,
    activations_of,
    find_layers,
    last_hidden,
    last_rectifier,
    layer_outputs,
)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Linear(12, 8), nn.Linear(8, 3), nn.ReLU()
        self.unused = nn.ReLU()
        self.ends = 0

    def forward(self, x):
        logits = self.second(self.act(self.first(x.flatten(1))))
        self.ends += 1
        return logits


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def test_a_layer_is_looked_at(net):
    x = random(4, 3, 2, 2)
    assert last_rectifier(net, x) == last_hidden(net, x) == "act"
    logits, activations = activations_of(net, "act", x)
    torch.testing.assert_close(activations, net.first(x.flatten(1)).relu())
    torch.testing.assert_close(logits, net(x))
    assert not net.act._forward_hooks
    with pytest.raises(ValueError, match="layer is 'none'; the model's layers are first, second"):
        activations_of(net, "none", x)
    with pytest.raises(ValueError, match="layer 'unused' was not called"):
        activations_of(net, "unused", x)
    with pytest.raises(ValueError, match="no module of Linear is a ReLU"):
        last_rectifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 3))[1], x.flatten(1))
    with pytest.raises(ValueError, match="returns 8 rows of 4 samples"):
        activations_of(nn.Sequential(Doubled(), nn.Linear(12, 3), Halved()), "1", x)
    with pytest.raises(RuntimeError), layer_outputs(net, "act"):
        raise RuntimeError
    assert not net.act._forward_hooks


class Quantised(nn.Module):
    """Leaves torch on the way, so that no gradient flows."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(torch.from_numpy(x.numpy().round(1)))


def test_the_last_rectifier_is_found_behind_what_has_no_gradient(net):
    assert last_rectifier(Quantised(net), random(4, 3, 2, 2)) == "net.act"


def test_names_may_leave_out_what_a_wrapper_put_in_front(net):
    wrapped = nn.Sequential(nn.Identity(), net)
    assert find_layers(wrapped, "act+1.first") == ["1.act", "1.first"]
    twice = nn.Sequential(net, Net())
    with pytest.raises(ValueError, match=r"layer is 'act', which may be 0\.act or 1\.act"):
        find_layers(twice, "act")
    with pytest.raises(ValueError, match="layer is ''"):
        find_layers(net, "act+")
    assert last_hidden(nn.Linear(12, 3), random(2, 12)) == ""
    assert find_layers(net, "") == [""]


def test_a_representation_goes_no_further_than_its_layers(net):
    x = random(4, 3, 2, 2)
    phi = Representation(net, ["act", "first"], x)
    ends = net.ends
    act, first = phi(x)
    assert net.ends == ends
    torch.testing.assert_close(first, net.first(x.flatten(1)))
    torch.testing.assert_close(act, first.relu())
    assert not net.act._forward_hooks
    with pytest.raises(ValueError, match="layer 'unused' was not called"):
        Representation(net, ["unused"], x)
    with pytest.raises(ValueError, match="and not those of one sample after the"):
        Representation(nn.Sequential(Doubled(), nn.Linear(12, 3), Halved()), ["1"], x)


def test_gradients_flow_to_the_samples(net):
    x = random(4, 3, 2, 2).requires_grad_()
    (out,) = Representation(net, ["first"], x)(x)
    (gradient,) = torch.autograd.grad(out[:, 2].sum(), x)
    torch.testing.assert_close(gradient, net.first.weight[2].view(1, 3, 2, 2).expand(4, 3, 2, 2))


def test_frames_become_those_of_their_clips():
    net = nn.Sequential(ByFrame(), nn.Conv2d(3, 4, 1), OfClips())
    x = random(3, 3, 5, 2, 2)
    (out,) = Representation(net, ["1"], x)(x)
    assert out.shape == (3, 5, 4, 2, 2)
    for t in range(5):
        torch.testing.assert_close(out[:, t], net[1](x[:, :, t]))


def test_the_last_of_several_calls_counts():
    act = nn.ReLU()
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), act, nn.Linear(8, 6), act, nn.Linear(6, 3))
    x = random(4, 3, 2, 2)
    (out,) = Representation(net, ["2"], x)(x)
    torch.testing.assert_close(out, net[:5](x))


def test_the_first_of_several_outputs_counts():
    net = nn.Sequential(nn.Flatten(2), nn.LSTM(4, 5, batch_first=True), Last())
    x = random(4, 3, 2, 2)
    (out,) = Representation(net, ["1"], x)(x)
    torch.testing.assert_close(out, net[1](x.flatten(2))[0])
    with pytest.raises(ValueError, match="layer '1' returns a dict"):
        Representation(nn.Sequential(nn.Flatten(), AsDict(), Of()), ["1"], x)


class Doubled(nn.Module):
    def forward(self, x):
        return torch.cat([x, x]).flatten(1)


class Halved(nn.Module):
    def forward(self, x):
        return x[: len(x) // 2]


class ByFrame(nn.Module):
    def forward(self, x):
        self.clips = len(x)
        return x.transpose(1, 2).flatten(0, 1)  # (B * T, C, H, W)


class OfClips(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)).unflatten(0, (-1, 5)).mean(1)


class Last(nn.Module):
    def forward(self, x):
        return x[0][:, -1]


class AsDict(nn.Module):
    def forward(self, x):
        return {"x": x}


class Of(nn.Module):
    def forward(self, x):
        return x["x"]
