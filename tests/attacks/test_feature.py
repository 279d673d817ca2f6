"""Feature adversaries against SciPy's solvers, dense Jacobians and closed forms."""

from types import SimpleNamespace

import pytest
import torch
from scipy.optimize import lsq_linear
from torch import nn

from attacks import FGSM, FeatureAdversary, FeatureFGSM, FeatureLinear, LabelFGSM, LabelLBFGS
from attacks.common.frozen import frozen
from attacks.feature.feature_distance import FeatureDistance
from attacks.feature.feature_linear import LinearisedDistance

EPS = 0.1


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def linear():
    """A representation W x of 48 pixels, then a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.Linear(20, 4)).eval()


@pytest.fixture
def curved():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.Tanh(),
        nn.Conv2d(6, 8, 2),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()


@pytest.fixture
def pair():
    return random(5, 3, 4, 4, seed=1), random(5, 3, 4, 4, seed=2)


def least_squares(matrix, s, g):
    """The least distance in the box, by SciPy, in float64."""
    s, g = s.flatten().double(), g.flatten().double()
    low, high = (s - EPS).clamp(0, 1), (s + EPS).clamp(0, 1)
    a = matrix.detach().double().numpy()
    found = lsq_linear(a, a @ g.numpy(), bounds=(low.numpy(), high.numpy()), tol=1e-12)
    return 2 * found.cost  # SciPy's is half the squared distance


@pytest.mark.parametrize(
    "attack",
    [
        FeatureAdversary(layer="1", eps=EPS, steps=400),
        FeatureAdversary(layer="1", eps=EPS, steps=400, solver="lbfgsb"),
        FeatureLinear(layer="1", eps=EPS, steps=400),
    ],
    ids=["momentum", "lbfgsb", "linear"],
)
def test_a_linear_representation_gets_as_near_as_least_squares_in_the_box(attack, linear, pair):
    s, g = pair
    result = attack(linear, s, None, guide=g)
    best = [least_squares(linear[1].weight, *one) for one in zip(s, g, strict=True)]
    torch.testing.assert_close(result.loss, torch.tensor(best).float(), rtol=2e-3, atol=1e-5)
    start = linear[:2](s) - linear[:2](g)
    ratio = result.loss.sqrt() / start.norm(dim=1)
    torch.testing.assert_close(result.info["distance_ratio"], ratio)
    assert result.linf.max() <= EPS
    assert result.info["layer"] == "1"


def test_the_solvers_find_as_much_in_a_curved_representation(curved, pair):
    s, g = pair
    ours, theirs = (
        FeatureAdversary(layer="3", eps=EPS, steps=500, solver=solver)(curved, s, None, guide=g)
        for solver in ("momentum", "lbfgsb")
    )
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=0.01, atol=1e-6)


def test_the_reference_solver_tells_its_iterations(curved, pair):
    s, g = pair
    attack, told = FeatureAdversary(layer="3", eps=EPS, steps=20, solver="lbfgsb"), []
    attack(curved, s, None, guide=g, progress=lambda *at: told.append(at))
    done = [at for at, _ in told]
    assert {of for _, of in told} == {20 * len(s)}
    assert done == sorted(set(done))
    assert done[-1] == 20 * len(s)
    assert len(done) > 2 * len(s), "a sample is silent"


def test_with_room_enough_the_guide_itself_is_found(curved, pair):
    s, g = pair
    result = FeatureAdversary(layer="0", eps=1.0, steps=300)(curved, s, None, guide=g)
    assert result.info["distance_ratio"].max() < 0.05
    assert torch.equal(curved(result.x_adv).argmax(1), curved(g).argmax(1))


def test_the_last_layer_but_one_is_taken_where_none_is_named(curved, pair):
    s, g = pair
    result = FeatureAdversary(steps=3)(curved, s, None, guide=g)
    named = FeatureAdversary(layer="4", steps=3)(curved, s, None, guide=g)
    assert torch.equal(result.x_adv, named.x_adv)
    assert result.info["layer"] == "4"


def test_several_layers_count_by_their_shares(curved, pair):
    s, g = pair
    result = FeatureAdversary(layer="1+3", steps=20)(curved, s, None, guide=g)
    shares = []
    for end in (2, 4):
        phi = [curved[:end](x).flatten(1) for x in (result.x_adv, s, g)]
        shares.append((phi[0] - phi[2]).norm(dim=1) ** 2 / (phi[1] - phi[2]).norm(dim=1) ** 2)
    torch.testing.assert_close(result.loss, shares[0] + shares[1])
    torch.testing.assert_close(result.history[0], torch.full((5,), 2.0))


def test_one_step_goes_along_the_signs_of_the_closed_form(linear, pair):
    s, g = pair
    result = FeatureFGSM(layer="1", eps=EPS)(linear, s, None, guide=g)
    weight = linear[1].weight
    gradient = ((s - g).flatten(1) @ weight.T @ weight).view_as(s)
    torch.testing.assert_close(result.x_adv, (s - EPS * gradient.sign()).clamp(0, 1))
    torch.testing.assert_close(
        result.history[0], (linear[:2](s) - linear[:2](g)).norm(dim=1).square()
    )


def test_the_linear_model_equals_one_with_a_dense_jacobian(curved, pair):
    s, g = pair
    call = SimpleNamespace(model=curved, exact=curved, x=s, guide=g, eot=1)
    x = (s + 0.1 * random(*s.shape, seed=3)).clamp(0, 1)
    with frozen(curved):
        linearised = LinearisedDistance(FeatureDistance.of(call, "3"), s)
        value, gradient = linearised.value_and_gradient(x)
    for i in range(len(s)):
        jacobian = torch.autograd.functional.jacobian(curved[:4], s[i : i + 1]).reshape(8, 48)
        phi = curved[:4](s[i : i + 1]).flatten() + jacobian @ (x[i] - s[i]).flatten()
        rest = phi - curved[:4](g[i : i + 1]).flatten()
        torch.testing.assert_close(value[i], rest.square().sum())
        torch.testing.assert_close(gradient[i].flatten(), 2 * jacobian.T @ rest)


def test_one_step_to_the_guides_class_is_that_of_fgsm(curved, pair):
    s, g = pair
    seen = curved(g).argmax(1)
    ours = LabelFGSM(eps=EPS)(curved, s, None, guide=g)
    theirs = FGSM(eps=EPS)(curved, s, None, target=seen)
    assert torch.equal(ours.info["target"], seen)
    torch.testing.assert_close(ours.x_adv, theirs.x_adv)
    torch.testing.assert_close(ours.loss, theirs.loss)


def test_the_guides_class_is_approached_to_the_corner_that_is_best_for_a_linear_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    s, g = random(6, 3, 2, 2, seed=1), random(6, 3, 2, 2, seed=2)
    result = LabelLBFGS(eps=EPS)(model, s, None, guide=g)
    seen = model(g).argmax(1)
    up = model[1].weight[seen] - model[1].weight[1 - seen]
    best = (s.flatten(1) + EPS * up.sign()).clamp(0, 1)
    expected = nn.functional.cross_entropy(model[1](best), seen, reduction="none")
    torch.testing.assert_close(result.loss, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [FeatureAdversary, FeatureFGSM, FeatureLinear, LabelFGSM])
def test_a_target_decides_about_success(kind, curved, pair):
    s, g = pair
    target = (curved(s).argmax(1) + 1) % 4
    result = kind(eps=0.5)(curved, s, None, guide=g, target=target)
    assert torch.equal(result.success, curved(result.x_adv).argmax(1) == target)
    free = kind(eps=0.5)(curved, s, None, guide=g)
    assert torch.equal(free.success, curved(free.x_adv).argmax(1) != curved(s).argmax(1))


def test_a_source_that_is_its_guide_stays(curved, pair):
    s, _ = pair
    for kind in (FeatureAdversary, FeatureFGSM, FeatureLinear):
        result = kind()(curved, s, None, guide=s)
        torch.testing.assert_close(result.x_adv, s)
        assert not result.loss.any()
        assert "warnings" not in result.info


def test_random_models_are_averaged(pair):
    s, g = pair

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Flatten(), nn.Linear(48, 3)

        def forward(self, x):
            return self.last(self.first(x + 0.2 * torch.randn_like(x)))

    torch.manual_seed(0)
    model = Noisy().eval()
    one, many = (
        FeatureAdversary(eps=0.3, steps=60, eot=passes)(model, s, None, guide=g, seed=0)
        for passes in (1, 20)
    )

    def left(result):
        return (result.x_adv - g).flatten(1).norm(dim=1).mean()

    assert left(many) < left(one)


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        (None, "guide is None; give a sample for each of x"),
        (torch.rand(1, 3, 4, 4), r"guide is \(1, 3, 4, 4\) on cpu and x \(5, 3, 4, 4\)"),
        ([[0.5]], "guide is list and x"),
        (torch.full((5, 3, 4, 4), 7.0), "put the normalisation inside the model"),
    ],
)
def test_guides_unlike_the_samples_are_refused(guide, words, curved, pair):
    with pytest.raises(ValueError, match=words):
        FeatureAdversary()(curved, pair[0], None, guide=guide)


def test_layers_that_are_not_there_are_refused_by_name(curved, pair):
    s, g = pair
    with pytest.raises(ValueError, match="layer is 'fc'; the model's layers are 0, 1, 2"):
        FeatureAdversary(layer="fc")(curved, s, None, guide=g)
    script = torch.jit.script(curved)
    with pytest.raises(ValueError, match="layer '1' is TorchScript"):
        FeatureAdversary(layer="1")(script, s, None, guide=g)


def test_a_network_with_attention_is_linearised():
    torch.manual_seed(0)
    body = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0)
    parts = nn.Unflatten(2, (2, 4)), nn.Flatten(1, 2), nn.Flatten(2)
    model = nn.Sequential(*parts, body, nn.Flatten(), nn.Linear(48, 5)).eval()
    x, g = torch.rand(2, 3, 8, 2), torch.rand(2, 3, 8, 2)
    result = FeatureLinear(layer="4", steps=5)(model, x, None, guide=g)
    assert (result.info["distance_ratio"] < 1).all()
