"""Random orthonormal weights against products of matrices, and a network of them."""

import copy

import pytest
import torch
from torch import nn

from explain.representation.random_network import with_orthonormal_weights


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 4, 3, groups=4),
            nn.Conv2d(4, 8, 1, groups=2), nn.GroupNorm(2, 8), nn.PReLU(), nn.Flatten(),
            nn.LazyLinear(10), nn.LayerNorm(10),
        )  # fmt: skip
        self.memory = nn.LSTM(10, 5, batch_first=True)

    def forward(self, x):
        return self.memory(self.layers(x)[:, None])[0][:, 0]


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = Grouped()
    for _ in range(3):
        net(torch.rand(8, 3, 8, 8) + 3)  # the statistics move
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
    return net.eval()


def matrices(module):
    groups = getattr(module, "groups", 1)
    for name, weight in module.named_parameters(recurse=False):
        if "bias" not in name:
            yield from (part.flatten(1).double() for part in weight.detach().chunk(groups))


def test_matrices_and_kernels_are_orthonormal_up_to_the_gain(model):
    fresh = with_orthonormal_weights(model)
    seen = 0
    for module in fresh.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.LSTM)):
            for matrix in matrices(module):
                small = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
                torch.testing.assert_close(small, 2 * torch.eye(len(small)).double(),
                                           atol=1e-5, rtol=0)  # fmt: skip
                seen += 1
    assert seen == 1 + 4 + 2 + 1 + 2  # a matrix a group, and two of the LSTM


def test_norms_forget_what_they_learned_and_biases_are_0(model):
    fresh = with_orthonormal_weights(model)
    layers, x = fresh.layers, torch.rand(2, 4, 5, 5)
    torch.testing.assert_close(layers[1](x), x, rtol=1e-4, atol=0)  # batch norm in eval mode
    new = nn.GroupNorm(2, 8), nn.LayerNorm(10)
    torch.testing.assert_close(layers[5](x.repeat(1, 2, 1, 1)), new[0](x.repeat(1, 2, 1, 1)))
    torch.testing.assert_close(layers[9](torch.ones(1, 10).cumsum(1)),
                               new[1](torch.ones(1, 10).cumsum(1)))  # fmt: skip
    assert torch.equal(layers[6].weight, model.layers[6].weight)  # PReLU keeps its slope
    biases = [p for name, p in fresh.named_parameters() if "bias" in name]
    assert len(biases) == 9
    assert not any(bias.any() for bias in biases)


def test_the_model_stays_and_the_seed_decides_not_the_global_generator(model):
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first, again, other = (with_orthonormal_weights(model, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(first(x), again(x))
    assert not torch.allclose(first(x), other(x))
    assert not first.training


def test_a_deep_network_of_them_neither_fades_nor_explodes():
    deep = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(30)])
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    ratio = with_orthonormal_weights(deep)(x).norm(dim=1) / x.norm(dim=1)
    assert 0.1 < ratio.mean() < 10
