"""Which attacks make up a worst case: those of one norm and eps, and minimum-norm ones within."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from attacks import ATTACKS, FAB, FMN, PGD, Flicker, Keyframe, Perturbation, Substitute
from attacks.substitute.substitute_network import SubstituteShape
from augment import Dataset
from trainers import evaluate_attack, worst_case, worst_cases
from trainers.evaluate.budgets import Budget, budget_of
from trainers.evaluate.robustness import outsiders
from trainers.run.main import main

LINF = Budget("linf", 0.1)


class Threshold(torch.nn.Module):
    """Class 1 when the mean of the sample is above one half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x.flatten(1).mean(1) - 0.5
        return torch.stack([-score, score], 1)


def levels(values: list[float]) -> Dataset:
    x = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    labels = (x.flatten(1).mean(1) > 0.5).long()
    names = [f"s{i}" for i in range(len(values))]
    return Dataset(x, labels, names, name="levels", classes=["dark", "bright"])


def measured(*attacks, values=(0.45, 0.35, 0.2, 0.9)):
    ds = levels(list(values))
    return {
        str(number): evaluate_attack(attack, Threshold(), ds, batch_size=4, seed=0)
        for number, attack in enumerate(attacks)
    }


@pytest.mark.parametrize(
    ("attack", "budget"),
    [
        (PGD(eps=0.1), LINF),
        (PGD(norm="l2", eps=1.0), Budget("l2", 1.0)),
        (PGD(eps=torch.tensor([0.1, 0.1])), LINF),
        (PGD(eps=torch.tensor([0.1, 0.2])), Budget("linf", (0.1, 0.2))),
        (PGD(eps=1.0), None),
        (FMN(norm="l1"), Budget("l1", None)),
        (FAB(), Budget("linf", None)),
        (FAB(eps=0.1), LINF),
        (ATTACKS["cw"](), Budget("l2", None)),
        (ATTACKS["lbfgs"](), Budget("l2", None)),
        (ATTACKS["generator"](), None),
        (ATTACKS["wavelet-sparse"](), None),
        (ATTACKS["fooling"](), None),
        (Flicker(eps=0.1), LINF),
        (Keyframe(), None),
        (ATTACKS["keyframe-square"](eps=0.1), LINF),
        (ATTACKS["autoattack"](eps=0.1), LINF),
        (Perturbation(torch.zeros(1, 1, 1), "linf", 0.1), LINF),
        (Substitute({}, SubstituteShape(1, (4, 4), 2), PGD(eps=0.1)), LINF),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_an_attack_is_held_to(attack, budget) -> None:
    assert budget_of(attack) == budget


def test_eight_of_255_is_written_so() -> None:
    assert str(budget_of(PGD(eps=8 / 255))) == "linf 8/255"
    assert budget_of(PGD(eps=8 / 255)) == budget_of(PGD(eps=0.0313725490))


def test_a_minimum_norm_attack_enters_by_the_samples_within_the_budget() -> None:
    """PGD of one tiny step fools none; of the exact distances .05 .15 .3 .4 one is within .1."""
    found = measured(PGD(eps=0.1, steps=1, step_size=1e-4), FMN(norm="linf"), FMN(norm="l2"))
    assert found["1"].robust_accuracy == 0
    (case,) = worst_cases(found)
    assert (case.budget, case.attacks) == (LINF, ["0", "1"])
    assert case.survived.tolist() == [False, True, True, True]
    assert outsiders(found) == {"2": "looks for the smallest l2 change; no attack has an l2 budget"}


def test_each_budget_has_a_worst_case_and_the_one_of_most_attacks_is_first() -> None:
    attacks = (PGD(eps=0.2), PGD(eps=0.1), PGD(norm="l2", eps=0.3), PGD(eps=0.2, steps=3))
    found = measured(*attacks)
    assert [str(case.budget) for case in worst_cases(found)] == ["linf 0.2", "linf 0.1", "l2 0.3"]
    two = {name: found[name] for name in "12"}
    second = worst_cases(two, first=Budget("l2", 0.3))[0]
    assert (second.budget, second.attacks) == (Budget("l2", 0.3), ["2"])


def test_no_budget_no_worst_case() -> None:
    found = measured(FMN(), ATTACKS["wavelet-sparse"](steps=2))
    assert worst_cases(found) == []
    assert set(outsiders(found)) == {"0", "1"}


def test_an_eps_per_sample_is_a_budget_of_its_own() -> None:
    eps = torch.tensor([0.01, 0.2, 0.01, 0.5])
    found = measured(PGD(eps=eps), FMN(norm="linf"))
    (case,) = worst_cases(found)
    assert case.attacks == ["0", "1"]
    assert case.survived.tolist() == [True, False, True, False]


def test_python_refuses_to_join_what_has_no_common_budget() -> None:
    found = list(measured(PGD(eps=0.1), PGD(norm="l2", eps=0.3), FMN(norm="linf")).values())
    assert worst_case([found[0]]) == found[0].robust_accuracy
    assert worst_case([found[0], found[2]]) == 0.75
    with pytest.raises(ValueError, match=r"linf 0\.1, l2 0\.3; join those of one norm and eps"):
        worst_case(found[:2])


@dataclass(frozen=True)
class Own:
    """An attack of a user's own, which declares no budget."""

    norm: ClassVar[None] = None


def test_an_attack_that_declares_nothing_has_no_budget() -> None:
    assert budget_of(Own()) is None


def test_evaluate_says_what_its_worst_case_is_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--attacks", "fgsm", "pgd", "fmn:norm=l2", "fmn:norm=linf", "wavelet-sparse"]
    words += ["--test-samples", "20", "--smoke", "--threads", "1"]
    assert main(["evaluate", *words, "--run-dir", str(tmp_path / "e")]) == 0
    summary = json.loads((tmp_path / "e/summary.json").read_text())
    rows, (case,) = summary["attacks"], summary["worst_cases"]
    assert case["attacks"] == ["fgsm", "pgd", "fmn:norm=linf"]
    assert (case["norm"], case["eps"]) == ("linf", 0.1)
    assert summary["worst_case"] == case["accuracy"]
    assert 0 < summary["worst_case"] <= min(rows[n]["robust_accuracy"] for n in ("fgsm", "pgd"))
    assert rows["fmn:norm=l2"]["robust_accuracy"] < summary["worst_case"]
    assert set(summary["outside_worst_cases"]) == {"fmn:norm=l2", "wavelet-sparse"}
    low, high = case["interval"]
    assert low < case["accuracy"] < high
    for row in rows.values():
        assert row["attackable"] == round(20 * summary["clean_accuracy"])
        assert row["success_interval"][0] <= row["success"] <= row["success_interval"][1]
        assert row["robust_accuracy_interval"][0] <= row["robust_accuracy"]
    shown = capsys.readouterr().out
    for text in (shown, (tmp_path / "e/report.html").read_text()):
        assert "worst case at linf 0.1" in text
        assert "n no worst case: wavelet-sparse (no budget" in text


def test_without_any_budget_the_worst_case_is_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--attacks", "fmn:steps=2", "deepfool:steps=2", "--test-samples", "10", "--smoke"]
    assert main(["evaluate", *words, "--threads", "1", "--run-dir", str(tmp_path / "e")]) == 0
    summary = json.loads((tmp_path / "e/summary.json").read_text())
    assert (summary["worst_case"], summary["worst_cases"]) == (None, [])
    assert "no worst case: no attack has a budget" in capsys.readouterr().out
