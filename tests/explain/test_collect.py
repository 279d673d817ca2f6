"""Representations of data sets against the layers themselves."""

import pytest
import torch
from torch import nn

from explain.representation.collect import collect_guided, collect_references


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def net(dims=2):
    torch.manual_seed(0)
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    return nn.Sequential(conv(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))


@pytest.mark.parametrize("shape", [(3, 6, 7), (3, 4, 5, 6)])
def test_references_are_the_layers_outputs_with_the_labels(shape):
    model, x, y = net(len(shape) - 1), random(11, *shape), torch.arange(11)
    model(x)
    batches = zip(x.split(4), y.split(4), strict=True)
    found = collect_references(model, "1", batches, chunk=3)
    with torch.no_grad():
        torch.testing.assert_close(found.vectors, model[:2](x).flatten(1))
    assert torch.equal(found.labels, y)


def test_guided_samples_keep_their_places():
    model, labels = net().train(), torch.arange(5)
    s, g, x = (random(5, 3, 6, 6, seed=seed) for seed in (1, 2, 3))
    model(s)
    found = collect_guided(model, "3", source=s, guide=g, adversary=x, source_labels=labels,
                           guide_labels=labels + 1, chunk=2)  # fmt: skip
    with torch.no_grad():
        for name, each in (("source", s), ("guide", g), ("adversary", x)):
            torch.testing.assert_close(getattr(found, name), model(each))
    assert torch.equal(found.source_labels, labels)
    assert torch.equal(found.guide_labels, labels + 1)
    assert model.training


def test_an_unknown_layer_and_an_empty_set_are_refused():
    model = net()
    model(random(1, 3, 6, 6))
    with pytest.raises(ValueError, match="layer is 'nowhere'"):
        collect_references(model, "nowhere", [(random(1, 3, 6, 6), torch.zeros(1))])
    with pytest.raises(ValueError, match="no samples"):
        collect_references(model, "1", [])
