"""What a sample's result owes to its batch: nothing of ours."""

import pytest
import torch
from torch import nn

ROWS = ([2], [3, 1], [4, 0, 2])
FIELDS = ("x_adv", "success", "already", "loss", "queries")
# The attack has networks of its own, whose products the CPU's kernels round by their number.
OWN_NETWORKS = {"generator"}
BOUND = 1e-5  # of pixels, with a float32 network whose kernels round by the size of the batch
MINIMUM_NORM = ("lbfgs", "cw", "deepfool", "fmn", "fab", "generator", "fooling")


class Sums(nn.Module):
    """Logits by products and sums of single values in one order, whatever the batch."""

    def __init__(self, values, classes=4):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.slope = nn.Parameter(0.3 * torch.randn(classes, values, generator=generator))
        self.bend = nn.Parameter(0.2 * torch.randn(classes, values, generator=generator))

    def forward(self, x):
        x = x.flatten(1)[:, None] - 0.5
        terms = x * self.slope + x * x * self.bend  # (B, K, D)
        while terms.shape[2] > 1:
            half = (terms.shape[2] + 1) // 2
            first, second = terms[..., :half], terms[..., half:]
            short = second.shape[2]
            terms = torch.cat([first[..., :short] + second, first[..., short:]], 2)
        return terms[..., 0]


def worst(case, model, x, y):
    """The largest difference in each field between whole and part batches."""
    whole = case.attack()(model, x, y, sample_ids=range(len(x)))
    found = dict.fromkeys(FIELDS, 0.0)
    for rows in ROWS:
        part = case.attack()(model, x[rows], y[rows], sample_ids=rows)
        for name in FIELDS:
            gap = getattr(whole, name)[rows].double() - getattr(part, name).double()
            found[name] = max(found[name], gap.abs().nan_to_num(0).max().item())
    return found


def test_results_are_bitwise_equal_in_every_batch(case, batch):
    x, y = batch(5)
    found = worst(case, Sums(x[0].numel()), x, y)
    exact = case.name not in OWN_NETWORKS
    assert all(gap <= (0 if exact else BOUND) for gap in found.values()), found


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_with_a_network_they_are_equal_but_for_its_rounding(case, net, batch, seed):
    if case.name not in MINIMUM_NORM:
        pytest.skip("steps along signs may turn where the rounding of a gradient does")
    x, y = batch(5, seed=seed)
    found = worst(case, net(), x, y)
    assert found["x_adv"] <= BOUND
    assert found["success"] == found["already"] == 0
