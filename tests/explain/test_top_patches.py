"""Top patches against a plain loop; receptive fields against pixels that are changed one by one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explain.network.receptive_field import receptive_fields
from explain.network.top_patches import top_patches


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Branches(nn.Module):
    """A residual block, a maximum in a function, and a ReLU6."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6())
        self.last = nn.Conv2d(4, 6, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem((x - 0.5) / 0.25).relu()
        x = F.max_pool2d(x + self.block(x), 2)
        return self.head(self.last(x).mean((2, 3)))


MODELS = {
    "plain": (nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                            nn.Conv2d(4, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                            nn.Linear(5, 2)), "3", (3, 30, 41)),
    "branches": (Branches(), "last", (3, 36, 31)),
    "irregular": (nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Conv2d(3, 4, 2), nn.Flatten(),
                                nn.Linear(36, 2)), "1", (3, 10, 11)),
    "global": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1), nn.Flatten()), "1",
               (3, 7, 9)),
    "video": (nn.Sequential(nn.Conv3d(3, 4, (3, 3, 3), stride=(1, 2, 2), padding=1), nn.ReLU(),
                            nn.Conv3d(4, 5, (1, 3, 3)), nn.Flatten(), nn.LazyLinear(2)), "2",
              (3, 4, 11, 12)),
}  # fmt: skip


def slow_fields(model, layer, shape):
    """Which pixels along each dimension change an output, by infinite ones in turn."""
    outputs = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *a: outputs.append(a[-1][0]))
    found = []
    for dim in range(1, len(shape)):
        reached = []
        for pixel in range(shape[dim]):
            x = torch.zeros(1, *shape)
            x.select(dim + 1, pixel).fill_(torch.nan)
            with torch.no_grad():
                model(x)
            touched = outputs.pop().isnan().any(0)  # (places, ...)
            others = [d for d in range(touched.ndim) if d != dim - 1]
            reached.append(touched.any(others) if others else touched)
        table = torch.stack(reached, 1)  # (places, pixels)
        found.append(
            [[row.nonzero().min().item(), row.nonzero().max().item() + 1] for row in table]
        )
    hook.remove()
    return found


@pytest.mark.parametrize("name", MODELS)
def test_receptive_fields_are_the_pixels_that_change_an_output(name):
    model, layer, shape = MODELS[name]
    model.eval()(random(1, *shape))
    found = receptive_fields(model, layer, random(1, *shape))
    assert [field.tolist() for field in found] == slow_fields(model, layer, shape)


@pytest.mark.parametrize("name", ["plain", "branches", "video"])
def test_the_top_patches_of_a_unit_are_those_that_a_plain_loop_finds(name):
    model, layer, shape = MODELS[name]
    x = random(11, *shape)
    model.eval()(x)
    batches = [(part, torch.zeros(len(part))) for part in x.split(4)]
    found = top_patches(model, layer, batches, k=3, units=[2, 0], chunk=3)
    outputs = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *a: outputs.append(a[-1]))
    with torch.no_grad():
        model(x)
    hook.remove()
    fields = slow_fields(model, layer, shape)
    for row, unit in enumerate([2, 0]):
        best = sorted(range(11), key=lambda i: -outputs[0][i, unit].max().item())[:3]
        assert found.numbers[row].tolist() == best
        for rank, number in enumerate(best):
            maps = outputs[0][number, unit]
            torch.testing.assert_close(found.values[row, rank], maps.max())
            place = (maps == maps.max()).nonzero()[0].tolist()
            box = [field[at] for field, at in zip(fields, place, strict=True)]
            assert found.boxes[row, rank].tolist() == box
            pixels = x[number][(slice(None), *(slice(*side) for side in box))]
            patch = found.patches[row, rank]
            assert patch.sum().item() - 0.5 * (patch.numel() - pixels.numel()) == pytest.approx(
                pixels.sum().item(), rel=1e-4
            )
            if patch.shape == pixels.shape:
                assert torch.equal(patch, pixels)


def test_a_patch_that_was_cut_at_the_border_is_grey_there():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Flatten(), nn.LazyLinear(2))
    nn.init.ones_(model[0].weight)
    x = torch.zeros(2, 1, 6, 6)
    x[0, 0, 0, 5] = 1.0  # seen from four places, of which the first is in row 0, column 4
    x[1, 0, 0, 0] = 0.9
    model(x)
    found = top_patches(model, "0", [(x, None)[:1]], k=2)
    grey = 0.5
    assert found.boxes[0].tolist() == [[[0, 2], [3, 6]], [[0, 2], [0, 2]]]
    assert found.patches[0, 0, 0].tolist() == [[grey, grey, grey], [0, 0, 1], [0, 0, 0]]
    expected = torch.tensor([[grey, grey, grey], [grey, 0.9, 0], [grey, 0, 0]])
    assert torch.equal(found.patches[0, 1, 0], expected)


def test_units_of_a_layer_of_vectors_have_whole_samples(linear):
    model, x = linear((3, 5, 6), classes=4), random(7, 3, 5, 6)
    found = top_patches(model, "", [(x[:4],), (x[4:],)], k=2)
    order = model(x).T.argsort(descending=True)[:, :2]
    assert torch.equal(found.numbers, order)
    assert torch.equal(found.patches, x[order])


def test_fewer_samples_than_patches_and_equal_ones_keep_their_order():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(2))
    x = random(1, 3, 5, 5).expand(3, -1, -1, -1)
    model(x)
    assert top_patches(model, "0", [(x,)], k=9).numbers.tolist() == [[0, 1, 2]] * 2


def test_layers_that_have_no_maps_and_empty_sets_are_refused():
    model = nn.Sequential(nn.Flatten(2), nn.Flatten(), nn.Linear(75, 2))
    with pytest.raises(ValueError, match="name one with maps of the pixels, or vectors"):
        top_patches(model, "0", [(random(2, 3, 5, 5),)])
    with pytest.raises(ValueError, match="no samples"):
        top_patches(model, "0", [])
