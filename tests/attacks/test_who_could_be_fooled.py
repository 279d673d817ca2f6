"""Fooling rates of fits, tables of transfer and of single frames leave out who was there before."""

import math

import pytest
import torch

from attacks import (
    ATN,
    AttackResult,
    FlickerUniversal,
    Perturbation,
    SparseUniversalPerturbation,
    UniversalPerturbation,
    sparsity,
    transfer_matrix,
)
from attacks.universal.transfer import fooled_counts


class Bright(torch.nn.Module):
    """Class 1 where the mean of a sample is above one half; NaN above 0.95."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.flatten(1).mean(1)
        logits = torch.stack([torch.full_like(mean, 0.5), mean], 1)
        return 10 * logits.masked_fill((mean > 0.95)[:, None], torch.nan)


def samples(*levels: float, frames: int = 0) -> list[tuple[torch.Tensor]]:
    shape = (len(levels), 1, *([frames] if frames else []), 4, 4)
    x = torch.tensor(levels).reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    return [(x.contiguous(), torch.zeros(len(levels), dtype=torch.int64))]


def test_a_target_is_reached_by_those_that_were_not_there() -> None:
    """Of five, two are called 1 before, one has no answer, and of the others one is reached."""
    up = Perturbation(torch.full((1, 4, 4), 0.2), "linf", 0.2, target=1)
    loader = samples(0.6, 0.7, 0.4, 0.1, 0.97)
    fooled, could = fooled_counts([Bright()], [up], loader)
    assert (int(fooled), int(could)) == (1, 2)
    assert float(transfer_matrix([Bright()], [up], loader)) == 0.5
    assert math.isnan(float(transfer_matrix([Bright()], [up], samples(0.6))))


@pytest.mark.parametrize("solver", ["gradient", "deepfool"])
def test_a_universal_fit_with_a_target(solver) -> None:
    options = UniversalPerturbation(eps=1e-4, target=1, passes=1, solver=solver)
    (record,) = options.fit(Bright(), samples(0.6, 0.7, 0.8, 0.1)).history
    assert (record["fooling_rate"], record["attackable"]) == (0, 1)


def test_a_sparse_universal_fit_with_a_target() -> None:
    options = SparseUniversalPerturbation(target=1, passes=1)
    (record,) = options.fit(Bright(), samples(0.6, 0.7, 0.8, 0.1)).history
    assert (record["fooling_rate"], record["attackable"]) == (0, 1)


def test_a_flicker_fit_with_a_target() -> None:
    options = FlickerUniversal(target=1, passes=1, eps=1e-4)
    (record,) = options.fit(Bright(), samples(0.6, 0.7, 0.8, 0.1, frames=4)).history
    assert (record["fooling_rate"], record["attackable"]) == (0, 1)


def test_a_transformers_fit_with_a_target() -> None:
    options = ATN(target=1, passes=1, width=4, lr=1e-9)
    (record,) = options.fit(Bright(), samples(0.6, 0.7, 0.8, 0.1)).history
    assert (record["reached"], record["attackable"]) == (0, 1)


def test_the_table_of_frames_leaves_out_clips_that_met_the_goal_before() -> None:
    x = torch.zeros(4, 1, 2, 2, 2)
    x_adv = x + torch.tensor([0.1, 0.2, 0.3, 0.9]).view(-1, 1, 1, 1, 1)
    result = AttackResult(
        x=x, x_adv=x_adv, success=torch.tensor([True, True, False, True]),
        already=torch.tensor([False, False, False, True]),
        queries=torch.tensor([2, 4, 9, 0]), loss=torch.zeros(4),
    )  # fmt: skip
    found = sparsity(result)
    assert found["fooling_rate"] == pytest.approx(2 / 3)
    assert found["queries"] == 3
    assert found["map_unit"] == pytest.approx(0.15)
