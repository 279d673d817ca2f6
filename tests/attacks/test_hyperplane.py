"""The shortest way to a hyperplane, against solvers that know nothing of its shape."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from attacks.hyperplane import to_hyperplane
from attacks.threat import lengths

NORMS = ["linf", "l2", "l1"]


def problems(count=40, size=6, seed=0, share=0.7):
    """Points, some entries at 0 or 1, with normals and gaps that the cube leaves room for."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(count, size, generator=g).double() * 1.6 - 0.3).clamp(0, 1)
    slope = torch.randn(count, size, generator=g).double()
    slope[:, 0] = 0
    sign = torch.where(torch.rand(count, generator=g) < 0.5, -1, 1)
    room = torch.where(slope * sign[:, None] > 0, 1 - x, x)
    most = (slope.abs() * room).sum(1)
    return x, slope, sign * most * share * torch.rand(count, generator=g).double()


def shortest(x, slope, gap, norm):
    """The length of the shortest way, by a general solver."""
    n = len(x)
    if norm == "l2":
        line = {"type": "eq", "fun": lambda d: slope @ d - gap}
        bounds = list(zip(-x, 1 - x, strict=True))
        options = dict(ftol=1e-14, maxiter=500)
        start = np.sign(slope * gap) * 1e-3
        found = minimize(
            lambda d: d @ d, start, jac=lambda d: 2 * d, bounds=bounds, constraints=line,
            method="SLSQP", options=options,
        )  # fmt: skip
        return np.sqrt(found.fun)
    one, eye = np.ones((n, 1)), np.eye(n)
    if norm == "linf":  # d, t: minimise t with -t <= d <= t
        above = np.block([[eye, -one], [-eye, -one]])
        cost, bounds = np.r_[np.zeros(n), 1], [*zip(-x, 1 - x, strict=True), (0, None)]
        along = np.r_[slope, 0]
    else:  # d, s: minimise the sum of s with -s <= d <= s
        above = np.block([[eye, -eye], [-eye, -eye]])
        cost = np.r_[np.zeros(n), np.ones(n)]
        bounds = [*zip(-x, 1 - x, strict=True), *[(0, None)] * n]
        along = np.r_[slope, np.zeros(n)]
    found = linprog(cost, above, np.zeros(len(above)), along[None], [gap], bounds)
    return found.fun


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_the_shortest_way_there(norm):
    x, slope, gap = problems()
    d = to_hyperplane(x, slope, gap, norm=norm)
    torch.testing.assert_close((slope * d).sum(1), gap, atol=1e-9, rtol=0)
    assert (x + d).min() >= 0
    assert (x + d).max() <= 1
    rows = zip(x.numpy(), slope.numpy(), gap.numpy(), strict=True)
    exact = torch.tensor([shortest(*row, norm) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(lengths(d, norm), exact, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_by_hand(norm):
    """From (0.5, 0.9) along (1, 2): the second entry has room for 0.1 only."""
    x, slope = torch.tensor([[0.5, 0.9]]), torch.tensor([[1.0, 2.0]])
    short = {"linf": [0.05, 0.05], "l2": [0.03, 0.06], "l1": [0.0, 0.075]}
    d = to_hyperplane(x, slope, torch.tensor([0.15]), norm=norm)
    torch.testing.assert_close(d, torch.tensor([short[norm]]))
    d = to_hyperplane(x, slope, torch.tensor([0.6]), norm=norm)
    torch.testing.assert_close(d, torch.tensor([[0.4, 0.1]]))
    back = {"linf": [-0.1, -0.1], "l2": [-0.06, -0.12], "l1": [0.0, -0.15]}
    d = to_hyperplane(x, slope, torch.tensor([-0.3]), norm=norm)
    torch.testing.assert_close(d, torch.tensor([back[norm]]))


@pytest.mark.parametrize("norm", NORMS)
def test_out_of_reach_leads_to_the_corner(norm):
    x, slope = torch.tensor([[0.5, 0.9, 0.3]]), torch.tensor([[1.0, -2.0, 0.0]])
    d = to_hyperplane(x, slope, torch.tensor([100.0]), norm=norm)
    torch.testing.assert_close(d, torch.tensor([[0.5, -0.9, 0.0]]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_the_gradient_does_not_matter(norm, scale):
    x, slope, gap = (v.float() for v in problems(size=300))
    plain = to_hyperplane(x, slope, gap, norm=norm)
    scaled = to_hyperplane(x, slope * scale, gap * scale, norm=norm)
    torch.testing.assert_close(scaled, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("slope", "gap"),
    [([0.0, 0.0], 1.0), ([torch.nan, 1.0], 1.0), ([torch.inf, 1.0], 1.0), ([1.0, 1.0], torch.nan)],
)
def test_without_a_direction_it_stays(norm, slope, gap):
    x = torch.tensor([[0.5, 0.9], [0.5, 0.9]])
    slopes = torch.tensor([slope, [1.0, 0.0]])
    d = to_hyperplane(x, slopes, torch.tensor([gap, 0.2]), norm=norm)
    torch.testing.assert_close(d, torch.tensor([[0.0, 0.0], [0.2, 0.0]]))


@pytest.mark.parametrize("norm", NORMS)
def test_many_entries_in_float32(norm):
    """Sizes as in FAB on images: the steps of the solver suffice, also close to the corner."""
    for share in (0.01, 1.0):
        x, slope, gap = (v.float() for v in problems(count=20, size=3072, seed=3, share=share))
        d = to_hyperplane(x, slope, gap, norm=norm)
        torch.testing.assert_close((slope * d).sum(1), gap, atol=1e-3, rtol=1e-4)
