"""Projections, random starts and directions of each norm."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from scipy.optimize import linprog, minimize

from attacks import Threat
from attacks.attack import lengths
from attacks.common.randomness import generator_for
from attacks.common.threat import filled

NORMS = ["linf", "l2", "l1"]
pixels = arrays.arrays(np.float32, (2, 1, 2, 3), elements=st.floats(0, 1, width=32) | st.just(1.0))
anywhere = arrays.arrays(np.float32, (2, 1, 2, 3), elements=st.floats(-3, 3, width=32))
radii = st.just(0.0) | st.floats(1e-10, 4)


def size_of(delta, norm):
    flat = delta.double().flatten(1)
    return flat.norm({"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60, deadline=None)
@given(x=pixels, point=anywhere, eps=radii)
def test_projection_lands_in_ball_and_box_and_stays(norm, x, point, eps):
    x, point = torch.from_numpy(x), torch.from_numpy(point)
    threat = Threat.around(x, norm=norm, eps=eps)
    once = threat.project(point)
    assert 0 <= once.min() <= once.max() <= 1
    assert (size_of(once.double() - x.double(), norm) <= eps * (1 + 1e-5)).all()
    torch.testing.assert_close(threat.project(once), once, atol=3e-7, rtol=0)
    if eps == 0:
        assert torch.equal(once, x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [1e-9, 4e-8, 1e-7, 3e-7, 1e-6, 1e-5])
def test_rounding_does_not_leave_a_tiny_ball(norm, eps):
    """Near 1 neighbouring float32 numbers are 6e-8 apart, more than some of these radii."""
    x = torch.rand(20, 3, 8, 8, generator=generator_for(3))
    point = x + torch.randn(x.shape, generator=generator_for(4))
    moved = Threat.around(x, norm=norm, eps=eps).project(point)
    size = size_of(moved.double() - x.double(), norm)
    assert (size <= eps * (1 + 1e-5)).all()
    assert eps < 1e-6 or (size > 0.5 * eps).all()


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=40, deadline=None)
@given(x=pixels, point=pixels)
def test_a_point_of_the_ball_does_not_move(norm, x, point):
    x, point = torch.from_numpy(x), torch.from_numpy(point)
    eps = size_of(point - x, norm).float() * 1.001 + 1e-6
    moved = Threat.around(x, norm=norm, eps=eps).project(point)
    torch.testing.assert_close(moved, point, atol=2e-7, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seed", range(4))
def test_projection_is_the_nearest_point(norm, seed):
    """Against scipy's constrained minimiser: away from the box for l2, in it for linf."""
    rng = np.random.default_rng(seed)
    x, eps = rng.uniform(0.4, 0.6, 6), 0.3
    point = x + rng.normal(size=6) * (0.2 if norm == "l2" else 0.8)
    if norm == "l2":
        point = x + (point - x) / np.linalg.norm(point - x) * 0.39  # outside the ball, in the box
    ball = {"type": "ineq", "fun": lambda z: eps**2 - np.sum((z - x) ** 2)}
    bounds = [(max(0, v - eps), min(1, v + eps)) for v in x] if norm == "linf" else [(0, 1)] * 6
    nearest = minimize(
        lambda z: np.sum((z - point) ** 2),
        x,
        bounds=bounds,
        constraints=[ball] if norm == "l2" else [],
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    threat = Threat.around(torch.tensor(x).reshape(1, 1, 2, 3), norm=norm, eps=eps)
    ours = threat.project(torch.tensor(point).reshape(1, 1, 2, 3)).flatten().numpy()
    np.testing.assert_allclose(ours, nearest, atol=1e-5)


@pytest.mark.parametrize("eps", [0.05, 0.4, 1.5, 9.0])
@pytest.mark.parametrize("seed", range(3))
def test_l1_projection_is_the_nearest_point_of_ball_and_box(seed, eps):
    """Against scipy, with delta = up - down so that the ball has no edges."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, 6).round(1)
    x[:2] = 0, 1
    point = x + rng.normal(size=6)
    nearest = minimize(
        lambda v: np.sum((x + v[:6] - v[6:] - point) ** 2),
        np.zeros(12),
        bounds=[(0, 1 - v) for v in x] + [(0, v) for v in x],
        constraints=[{"type": "ineq", "fun": lambda v: eps - v.sum()}],
        options={"ftol": 1e-15, "maxiter": 1000},
    ).x
    threat = Threat.around(torch.tensor(x).reshape(1, 1, 2, 3), norm="l1", eps=eps)
    ours = threat.project(torch.tensor(point).reshape(1, 1, 2, 3)).flatten().numpy()
    np.testing.assert_allclose(ours, x + nearest[:6] - nearest[6:], atol=2e-6)


def test_l1_projection_by_hand():
    """Shortened by 0.2 each, the first meets the end of its range before that."""
    x = torch.tensor([0.9, 0.5, 0.5, 0.5], dtype=torch.float64).reshape(1, 1, 2, 2)
    wanted = torch.tensor([0.6, 0.4, -0.3, 0.1], dtype=torch.float64).reshape(1, 1, 2, 2)
    moved = Threat.around(x, norm="l1", eps=0.4).project(x + wanted) - x
    expected = torch.tensor([0.1, 0.2, -0.1, 0.0], dtype=torch.float64)
    torch.testing.assert_close(moved.flatten(), expected, atol=1e-12, rtol=0)


def test_linf_projection_is_a_clip():
    x = torch.rand(3, 2, 4, 4, generator=generator_for(0)).double()
    point = torch.randn(x.shape, generator=generator_for(1)).double()
    eps = torch.tensor([0.0, 0.2, 5.0]).double()
    ours = Threat.around(x, norm="linf", eps=eps).project(point).numpy()
    low, high = (x.numpy() + s * eps.numpy()[:, None, None, None] for s in (-1, 1))
    np.testing.assert_allclose(ours, point.numpy().clip(low, high).clip(0, 1), atol=1e-15)


@settings(max_examples=60, deadline=None)
@given(x=pixels, slope=anywhere, length=radii)
def test_the_best_l1_change_of_a_linear_loss(x, slope, length):
    """Against linear programming, with delta = up - down."""
    x, slope = (torch.from_numpy(v).double().flatten(1) for v in (x, slope))
    room = torch.where(slope > 0, 1 - x, x)
    change = filled(slope, room=room, length=torch.full((2, 1), length, dtype=x.dtype))
    for start, gain, ours in zip(x.numpy(), slope.numpy(), change.numpy(), strict=True):
        solution = linprog(
            np.concatenate([-gain, gain]),
            A_ub=np.ones((1, 12)),
            b_ub=[length],
            bounds=[(0, 1 - v) for v in start] + [(0, v) for v in start],
        )
        assert ours @ gain == pytest.approx(-solution.fun, abs=1e-6)
        assert np.abs(ours).sum() <= length * (1 + 1e-9)


def starts(norm, count, dims):
    """Random starts of `count` samples in the ball of radius 0.3 around grey, in units of it."""
    x = torch.full((count, 1, 1, dims), 0.5)
    generators = [generator_for("start", i) for i in range(count)]
    return ((Threat.around(x, norm=norm, eps=0.3).random_start(generators) - x) / 0.3).flatten(1)


def test_l1_starts_are_uniform_in_the_ball():
    """Of a uniform point, the sum of the first two sizes over that of all three is Beta(2, 1)."""
    delta = starts("l1", 1500, 3)
    radius = delta.norm(1, dim=1)
    assert stats.kstest((radius**3).numpy(), "uniform").pvalue > 1e-3
    share = delta.abs()[:, :2].sum(1) / radius
    assert stats.kstest(share.numpy(), "beta", args=(2, 1)).pvalue > 1e-3
    positive = (delta > 0).double().mean(0)
    assert ((positive - 0.5).abs() < 0.05).all()


def test_l2_starts_are_uniform_in_the_ball():
    """The radius to the power of the dimension, and each direction's angle, are uniform."""
    delta = starts("l2", 1500, 3)
    radius = delta.norm(dim=1)
    assert stats.kstest((radius**3).numpy(), "uniform").pvalue > 1e-3
    cosine = (delta / radius[:, None]).numpy()  # of a uniform direction in space: U(-1, 1)
    for axis in range(3):
        assert stats.kstest(cosine[:, axis], "uniform", args=(-1, 2)).pvalue > 1e-3


def test_linf_starts_are_uniform_in_the_cube():
    delta = starts("linf", 600, 3)
    assert stats.kstest(delta.flatten().numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    assert np.abs(np.corrcoef(delta.T.numpy()) - np.eye(3)).max() < 0.15


@pytest.mark.parametrize("norm", NORMS)
def test_ascent_is_the_steepest_unit_step(norm):
    """No step of this length has a larger product with the gradient (Hoelder's equality)."""
    gradient = torch.randn(4, 2, 3, 3, generator=generator_for(2)).double()
    gradient[1] *= 1e-30  # squares that underflow in float32
    threat = Threat.around(torch.full_like(gradient, 0.5), norm=norm, eps=0.2)
    step = threat.ascent(gradient, length=0.5)  # the room on either side, which l1 minds
    torch.testing.assert_close(lengths(step, norm), torch.full((4,), 0.5).double())
    dual = {"linf": "l1", "l2": "l2", "l1": "linf"}[norm]
    product = (step * gradient).flatten(1).sum(1)
    torch.testing.assert_close(product, 0.5 * lengths(gradient, dual), rtol=1e-9, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_tiny_float32_gradients_give_a_full_step(norm):
    gradient = torch.full((1, 1, 2, 2), 1e-30)
    step = Threat.around(torch.zeros(1, 1, 2, 2), norm=norm, eps=1).ascent(gradient)
    torch.testing.assert_close(lengths(step, norm), torch.ones(1))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, -torch.inf])
def test_no_direction_without_a_gradient(norm, value):
    gradient = torch.full((1, 1, 2, 2), value)
    step = Threat.around(torch.zeros(1, 1, 2, 2), norm=norm, eps=1).ascent(gradient)
    assert not step.any()


def test_l1_steps_take_the_largest_that_can_still_move():
    """Four values per unit of the ball's radius, at least one."""
    x = torch.full((3, 3, 10, 10), 0.5).double()
    gradient = torch.linspace(1, 2, 300).double().reshape(1, 3, 10, 10).repeat(3, 1, 1, 1)
    gradient[:, 2, 9, 5:] *= -1
    at = x.clone()
    at[:, 2, 9, 9], at[:, 2, 9, 8], at[:, 2, 9, 4] = 0, 1, 1  # stuck, free, stuck
    threat = Threat.around(x, norm="l1", eps=torch.tensor([0.0, 0.5, 0.75]))
    step = threat.ascent(gradient, at=at, length=0.3).flatten(1)
    expected = torch.zeros(3, 300).double()
    expected[0, 298] = -0.3
    expected[1, 297:299] = -0.15
    expected[2, 296:299] = -0.1
    torch.testing.assert_close(step, expected)


def test_a_long_l1_step_spills_over_to_where_there_is_room():
    x = torch.tensor([0.5, 0.9, 0.25, 0.5], dtype=torch.float64).reshape(1, 1, 2, 2)
    gradient = torch.tensor([4.0, 3.0, -2.0, 1.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    threat = Threat.around(x, norm="l1", eps=0.25)
    expected = torch.tensor([0.5, 0.1, -0.25, 0.15], dtype=torch.float64)
    torch.testing.assert_close(threat.ascent(gradient).flatten(), expected)
    everything = torch.tensor([0.5, 0.1, -0.25, 0.5], dtype=torch.float64)
    torch.testing.assert_close(threat.ascent(gradient, length=9.0).flatten(), everything)


def test_equal_gradients_share_an_l1_step():
    x = torch.full((1, 1, 2, 2), 0.5)
    step = Threat.around(x, norm="l1", eps=1).ascent(torch.ones_like(x), length=0.2)
    torch.testing.assert_close(step, torch.full_like(x, 0.05))


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm is 'l0'; allowed here: linf, l2, l1"):
        Threat.around(torch.zeros(1, 1, 2, 2), norm="l0", eps=0.1)


def test_lengths():
    delta = torch.tensor([[3.0, -4.0], [0.0, 0.0]]).reshape(2, 1, 1, 2)
    assert lengths(delta, "linf").tolist() == [4, 0]
    assert lengths(delta, "l2").tolist() == [5, 0]
    assert lengths(delta, "l1").tolist() == [7, 0]
