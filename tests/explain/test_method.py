"""What every explanation method owes its caller."""

import pytest
import torch
from torch import nn

from explain import METHODS, ExplanationMethod
from tests.explain.methods import QUICK, THOROUGH


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    """A small CNN with batch norm and dropout, in training mode."""

    def __init__(self, dims=2):
        super().__init__()
        conv, norm, pool = (
            (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d)
            if dims == 2
            else (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d)
        )
        torch.manual_seed(dims)
        self.features = nn.Sequential(conv(3, 6, 3, padding=1), norm(6), nn.ReLU(), nn.Dropout())
        self.pool, self.head = pool(2), nn.Linear(6 * 2**dims, 4)

    def forward(self, x):
        return self.head(self.pool(self.features(x)).flatten(1))


@pytest.fixture(params=METHODS, ids=str)
def method(request):
    return QUICK[request.param]


def test_every_method_has_a_quick_row():
    assert set(QUICK) == set(METHODS)
    assert all(isinstance(each, ExplanationMethod) for each in QUICK.values())
    assert all(isinstance(each(), ExplanationMethod) for each in METHODS.values())


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_have_the_shape_of_the_samples_and_leave_the_model_alone(method, dims):
    model, x = Net(dims), random(3, 3, *[8] * dims)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state, own = torch.get_rng_state(), x.clone()
    maps = method(model, x, torch.tensor([0, 1, 2]))
    assert maps.shape == (3, *x.shape[2:])
    assert maps.dtype == torch.float32
    assert torch.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.amax() > 0
    assert not maps.requires_grad
    assert torch.equal(x, own)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


@pytest.mark.parametrize("shape", [(4, 3, 12, 12), (4, 3, 4, 12, 12)], ids=["images", "videos"])
@pytest.mark.parametrize("name", METHODS)
def test_the_maximum_lies_in_the_patch_that_the_model_reads(name, shape, patch):
    model = patch(frames=(1, 3) if len(shape) == 5 else None)
    x = random(*shape)
    maps = THOROUGH[name](model, x, torch.ones(4, dtype=torch.int64)).flatten(1)
    inside = model.mask(x).flatten()
    assert (maps[:, inside].amax(1) > maps[:, ~inside].amax(1)).all()


def test_a_map_does_not_depend_on_its_batch(method):
    model, x = Net(), random(4, 3, 8, 8)
    y, ids = torch.tensor([0, 1, 2, 3]), [5, 6, 7, 8]
    whole = method(model, x, y, seed=1, sample_ids=ids)
    for i in range(4):
        alone = method(model, x[i : i + 1], y[i : i + 1], seed=1, sample_ids=ids[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-3, atol=1e-4 * float(whole.amax()))


def test_many_passes_are_quick_ones_that_change_no_map(method, monkeypatch):
    model, x, y = Net(), random(2, 3, 8, 8), torch.tensor([0, 1])
    maps = method(model, x, y, sample_ids=[5, 6])
    monkeypatch.setattr("explain.method.wrap_forward", lambda model, x: (model, False, None))
    plain = method(model, x, y, sample_ids=[5, 6])
    torch.testing.assert_close(maps, plain, rtol=1e-3, atol=1e-4 * float(plain.amax()))


def test_the_prediction_is_explained_where_no_class_is_given(method):
    model, x = Net(), random(2, 3, 8, 8)
    y = model.eval()(x).argmax(1)
    assert torch.equal(method(model, x, seed=3), method(model, x, y, seed=3))


def test_samples_whose_logits_are_not_finite_have_an_empty_map_and_the_others_their_own(method):
    class Broken(Net):
        def forward(self, x):
            return super().forward(x).masked_fill((x.amax((1, 2, 3)) < 0.1)[:, None], torch.nan)

    x, y, ids = random(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]), [5, 6, 7, 8]
    x[1] *= 0.01
    maps, sound = (method(model, x, y, sample_ids=ids) for model in (Broken(), Net()))
    assert not maps[1].any()
    assert sound[[0, 2, 3]].any()
    assert torch.equal(maps[[0, 2, 3]], sound[[0, 2, 3]])


def test_progress_ends_at_the_end(method):
    seen = []
    method(Net(), random(2, 3, 8, 8), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_wrong_arguments_are_refused(method):
    x = random(2, 3, 8, 8)
    with pytest.raises(ValueError, match="y asks for class 9 of 4 classes"):
        method(Net(), x, torch.tensor([9, 0]))
    with pytest.raises(ValueError, match="put the normalisation inside the model"):
        method(Net(), 3 * x)
    with pytest.raises(ValueError, match="model is a function"):
        method(lambda x: x, x)
