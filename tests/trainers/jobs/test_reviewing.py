"""The review within the rounds: who decides what is fitted, and that it stays so."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from augment import SampleBank
from trainers import load_classifier
from trainers.jobs.rounds import training
from trainers.jobs.rounds.reviewing import DECISIONS, judge
from trainers.run.cli.command import command_line
from trainers.run.cli.reviewing import ReviewingFlags
from trainers.run.main import main

TINY = [
    "rounds", "--smoke", "--threads", "1", "--train-samples", "40", "--test-samples", "20",
    "--epochs", "1", "--retrain-epochs", "1", "--rounds", "1", "--attacks", "pgd:steps=2",
    "--attack-samples", "pgd=20", "--augmentation", "none", "--test-attacks", "fgsm",
]  # fmt: skip


def rounds(folder: Path, *words: str) -> int:
    return main([*TINY, "--run-dir", str(folder), *words])


def row(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())["rounds"][-1]


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Collect the ids of the perturbed samples of each training set that is made."""
    made = []

    class Watched(training.MixedDataset):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append([name for name, new in zip(self.ids, self.perturbed, strict=True) if new])

    monkeypatch.setattr(training, "MixedDataset", Watched)
    return made


def test_required_stops_and_goes_on_with_exactly_the_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture, fitted: list[list[str]]
) -> None:
    folder = tmp_path / "my run"
    required = ("--review", "required")
    assert rounds(folder, *required) == 0
    said = capsys.readouterr().err
    assert "20 samples of round 1 wait for a decision" in said
    advice = shlex.split(said.split("`")[1])
    assert advice == shlex.split(command_line(["review", "--run-dir", folder]))
    assert json.loads((folder / "status.json").read_text())["state"] == "waiting"
    bank = SampleBank(folder / "bank")
    pending = bank.indices(status="pending")
    bank.set_status(pending[:12], "accepted")
    bank.set_status(pending[12:15], "unsure")
    assert rounds(folder, *required) == 0
    assert "5 samples of round 1 wait" in capsys.readouterr().err
    bank.set_status(pending[15:], "rejected")
    assert rounds(folder, *required) == 0
    assert fitted == [
        [f"bank:{entry.id}" for entry in bank.entries() if entry.status == "accepted"]
    ]
    assert len(fitted[0]) == 12
    found = row(folder)
    assert (found["bank_size"], found["accepted"]) == (20, 12)
    assert found["reviews"]["people"] == {"accepted": 12, "unsure": 3, "rejected": 5}


def test_a_later_decision_changes_no_round_that_was_fitted(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert rounds(folder, "--review", "optional") == 0
    weights = folder / "checkpoints" / "round-001.safetensors"
    before = weights.read_bytes()
    bank = SampleBank(folder / "bank")
    bank.set_status(bank.indices()[:10], "rejected", reviewer="Ann")
    weights.unlink()
    assert rounds(folder, "--review", "optional") == 0
    assert weights.read_bytes() == before
    assert row(folder)["accepted"] == 20


def test_optional_leaves_out_what_was_rejected_and_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitted: list[list[str]]
) -> None:
    collect = training.collect_adversarial_samples

    def collect_and_review(*args, bank: SampleBank, **options) -> None:
        collect(*args, bank=bank, **options)
        bank.set_status(bank.indices()[:3], "rejected", reviewer="Ann")

    monkeypatch.setattr(training, "collect_adversarial_samples", collect_and_review)
    for review, count in (("optional", 17), ("off", 20)):
        assert rounds(tmp_path / review, "--review", review) == 0
        assert len(fitted.pop()) == row(tmp_path / review)["accepted"] == count


def test_a_poor_reference_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = tmp_path / "untrained.safetensors"
    save_file(
        load_classifier("smallcnn", num_classes=10, in_channels=1, image_size=(8, 8)).state_dict(),
        weights,
    )
    reference = ("--reference-model", "smallcnn", "--reference-weights", str(weights))
    assert rounds(tmp_path / "r", "--review", "optional", "--auto-review", *reference) == 0
    assert re.search(r"calls only \d of 20 originals by their label", caplog.text)


def test_the_program_decides_and_a_person_stands_above_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "r"
    words = ("--review", "required", "--auto-review", "--clear-ssim", "0", "--lost-ssim", "0")
    assert rounds(folder, *words) == 0
    bank = SampleBank(folder / "bank")
    decided = bank.indices(status="accepted") + bank.indices(status="rejected")
    left = bank.indices(status="pending")
    assert len(decided) > 10
    assert left, "a sample that the reference does not know is for a person"
    bank.set_status(left, "accepted", reviewer="Ann")
    bank.set_status(decided[:1], "rejected", reviewer="Ann")
    assert rounds(folder, *words) == 0
    found = row(folder)
    assert found["accepted"] == 19
    assert found["reviews"]["both"] == 1
    assert found["reviews"]["agree"] == 0
    assert sum(found["reviews"]["automatic"].values()) == len(decided)
    assert "calls only" not in caplog.text  # the reference is a good one
    report = (folder / "report.html").read_text()
    assert "Who decided what is fitted" in report
    assert "0 of 1" in report


def test_what_a_program_finds_clear() -> None:
    right, other, torn = [0.9, 0.1], [0.05, 0.95], [0.4, 0.6]
    cases = [  # reference of the original, of the perturbed sample, alike, decision
        (right, right, 0.95, "accepted"),
        (right, right, 0.5, "pending"),  # not like enough
        (right, other, 0.95, "pending"),  # the reference may have been fooled
        (right, other, 0.5, "rejected"),
        (right, torn, 0.5, "pending"),  # another class, and not for sure
        (other, right, 0.95, "pending"),  # it does not know the original
        (other, other, 0.5, "pending"),
        (right, right, 0.1, "rejected"),  # lost
        (other, other, 0.1, "rejected"),
    ]
    before, after = (torch.tensor([case[i] for case in cases]) for i in (0, 1))
    alike = torch.tensor([case[2] for case in cases])
    found = judge(before, after, torch.zeros(len(cases)).long(), alike, ReviewingFlags())
    assert [DECISIONS.get(value, "pending") for value in found.tolist()] == [c[3] for c in cases]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--auto-review"], "--review is off; give one of them"),
        (["--auto-review", "--review", "optional", "--lost-ssim", "0.95"], "is above --clear-ssim"),
        (
            ["--auto-review", "--review", "optional", "--reference-model", "smallcnn"],
            "give --reference-weights",
        ),
        (
            ["--auto-review", "--review", "optional", "--reference-model", "efficientnet-lite0"],
            "--reference-model: efficientnet-lite0 takes 3 channels and the samples have 1",
        ),
        (["--review", "wait"], "invalid choice"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert rounds(tmp_path / "r", *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "r").exists()
