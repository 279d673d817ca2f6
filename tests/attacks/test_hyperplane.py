"""The shortest step to a hyperplane within the box, against linear programmes and KKT."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from attacks.attack import lengths
from attacks.minimum_norm.nearest_boundary import distance, movable, shortest_step

NORMS = ["linf", "l2", "l1"]


def case(seed, size=12):
    """A point with some pixels at the ends, a slope with a zero, and all it can gain."""
    rng = np.random.default_rng(seed)
    x, slope = rng.random(size), rng.normal(size=size)
    x[:2], x[2:4], slope[5] = 0, 1, 0
    room = np.where(slope > 0, 1 - x, x)
    return x, slope, float((np.abs(slope) * room).sum())


def as_batch(*arrays):
    return (torch.tensor(np.asarray(a)).reshape(1, -1) for a in arrays)


def as_need(value):
    return torch.tensor([value], dtype=torch.float64)


def smallest(x, slope, need, norm):
    """The norm of the shortest step, by a solver that knows nothing of ours."""
    size = len(x)
    box = list(zip(-x, 1 - x, strict=True))
    if norm == "l2":
        gain = {"type": "eq", "fun": lambda d: slope @ d - need, "jac": lambda _: slope}
        start = np.full(size, 1e-3)
        options = {"maxiter": 500, "ftol": 1e-14}
        end = minimize(lambda d: d @ d, start, jac=lambda d: 2 * d, bounds=box,
                       constraints=gain, method="SLSQP", options=options)  # fmt: skip
        return float(np.sqrt(end.fun))
    # minimise the sum (l1) or the largest (linf) of t >= |d|
    one = np.eye(size)
    bound = one if norm == "l1" else np.ones((size, 1))
    width = bound.shape[1]
    end = linprog(
        np.r_[np.zeros(size), np.ones(width)],
        A_ub=np.block([[one, -bound], [-one, -bound]]),
        b_ub=np.zeros(2 * size),
        A_eq=np.r_[slope, np.zeros(width)][None],
        b_eq=[need],
        bounds=[*box, *[(0, None)] * width],
    )
    return float(end.fun)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(4))
def test_no_shorter_step_gains_as_much(seed, norm, share):
    x, slope, total = case(seed)
    need = share * total
    tx, tslope = as_batch(x, slope)
    step = shortest_step(tx, tslope, as_need(need), norm)
    assert (step * tslope).sum().item() == pytest.approx(need, rel=1e-9)
    assert -1e-12 <= (tx + step).min() <= (tx + step).max() <= 1 + 1e-12
    expected = smallest(x, slope, need, norm)
    assert lengths(step, norm).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_where_the_range_does_not_suffice_all_pixels_go_to_its_end(norm):
    x, slope, total = case(5)
    tx, tslope = as_batch(x, slope)
    step = shortest_step(tx, tslope, as_need(2 * total), norm)
    expected = torch.where(tslope > 0, 1 - tx, -tx) * (tslope != 0)
    torch.testing.assert_close(step, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
@pytest.mark.parametrize("norm", NORMS)
def test_the_scale_of_the_slope_does_not_matter(norm, scale):
    x, slope, total = case(6)
    tx, tslope = (v.float() for v in as_batch(x, slope))
    need = torch.tensor([0.2 * total])
    plain = shortest_step(tx, tslope, need, norm)
    scaled = shortest_step(tx, tslope * scale, need * scale, norm)
    torch.testing.assert_close(scaled, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_slope_or_a_need_nothing_moves(norm):
    x, slope, _ = case(7)
    tx, tslope = as_batch(x, slope)
    for gradient, need in ((tslope * 0, 1.0), (tslope, 0.0)):
        step = shortest_step(tx, gradient, as_need(need), norm)
        assert not step.any()


@pytest.mark.parametrize("norm", NORMS)
def test_far_from_the_ends_the_step_is_as_long_as_the_distance(norm):
    slope = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0)).double()
    x, need = torch.full_like(slope, 0.5), torch.tensor([0.01, 0.1, 0.2]).double()
    step = shortest_step(x, slope, need, norm)
    torch.testing.assert_close(lengths(step, norm), distance(slope, need, norm))


def test_the_distance_without_a_slope_is_infinite():
    far = distance(torch.zeros(1, 3), torch.tensor([0.5]), "l2")
    assert far.item() == torch.inf


def test_pixels_at_an_end_move_only_inwards():
    x = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.5]])
    gradient = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0]])
    assert movable(gradient, x).tolist() == [[1.0, 0.0, 0.0, -1.0, 1.0]]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_need_beyond_all_reach_moves_what_can_move_to_its_end(norm):
    """Also beside slopes that underflow, and a pixel that cannot move."""
    x = torch.tensor([[1.0, 0.5, 0.25, 0.5]])
    slope = torch.tensor([[1.0, 1e-38, -1e-38, 0.0]])
    step = shortest_step(x, slope, torch.tensor([1e30]), norm)
    torch.testing.assert_close(step, torch.tensor([[0.0, 0.5, -0.25, 0.0]]))
