"""Banks and methods together: in rounds, and in `fit` with the bank of a run."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from augment import SampleBank, load_dataset
from tests.slow_but import slow_but
from trainers.jobs.rounds.training import choose_stored
from trainers.run.cli.config import LoopFlags, RoundsConfig
from trainers.run.main import main

TINY = [
    "--smoke", "--threads", "1", "--train-samples", "80", "--test-samples", "40",
    "--batch-size", "16", "--augmentation", "none",
]  # fmt: skip
ROUNDS = [
    *TINY, "--epochs", "2", "--retrain-epochs", "1", "--rounds", "2", "--attacks", "pgd:steps=2",
    "--attack-samples", "pgd=20", "--test-attacks", "fgsm",
]  # fmt: skip


def rounds(folder: Path, *words: str) -> Path:
    assert main(["rounds", *ROUNDS, "--run-dir", str(folder), *words]) == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rounds(tmp_path_factory.mktemp("bank") / "run")


def weights(folder: Path, number: int) -> dict[str, torch.Tensor]:
    return load_file(folder / f"checkpoints/round-{number:03}.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], tensor) for name, tensor in second.items())


def test_the_run_hands_over_the_round_that_validates_best(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    found = [row["validation"]["worst_case"] for row in summary["rounds"]]
    assert found[summary["best_round"]] == max(found)
    best = load_file(run / "checkpoints/best.safetensors")
    assert same(best, weights(run, summary["best_round"]))
    assert {row["validation"]["samples"] for row in summary["rounds"]} == {32}


def test_what_is_handed_over_is_made_again(run: Path, tmp_path: Path) -> None:
    file = run / "checkpoints/best.safetensors"
    before = file.read_bytes()
    file.unlink()
    rounds(run)
    assert file.read_bytes() == before


@pytest.mark.slow
def test_what_is_handed_over_is_measured_once_more(run: Path, tmp_path: Path) -> None:
    folder = rounds(tmp_path / "r", "--final-attacks", "pgd:steps=3", "fgsm")
    summary = json.loads((folder / "summary.json").read_text())
    final, best = summary["final"], summary["rounds"][summary["best_round"]]
    assert final["round"] == summary["best_round"]
    assert set(final["attacks"]) == {"pgd", "fgsm"}
    assert final["clean_accuracy"] == best["clean_accuracy"]
    assert final["attacks"]["fgsm"]["robust_accuracy"] == best["robust_accuracy"]["fgsm"]
    assert f"Handed over: round {final['round']}" in (folder / "report.html").read_text()
    (folder / "checkpoints/final.json").unlink()
    (folder / "summary.json").unlink()
    rounds(folder, "--final-attacks", "pgd:steps=3", "fgsm")
    again = json.loads((folder / "summary.json").read_text())["final"]
    for each in (final, again):  # but for times
        for attack in each["attacks"].values():
            del attack["seconds"]
    assert again == final
    assert "final" not in json.loads((run / "summary.json").read_text())


def test_without_validation_samples_the_last_round_counts(tmp_path: Path) -> None:
    folder = rounds(tmp_path / "r", "--val-samples", "0")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best_round"] == 2
    assert [row["validation"] for row in summary["rounds"]] == [None] * 3


@pytest.mark.parametrize(("option", "value"), slow_but(
    [("--retrain-method", "bank")],
    [
        ("--retrain-method", "standard"), ("--retrain-method", "bank"),
        ("--retrain-method", "ensemble"), ("--ratio", "0"), ("--start", "scratch"),
    ],
))  # fmt: skip
def test_what_a_round_fits_is_chosen(option: str, value: str, run: Path, tmp_path: Path) -> None:
    folder = rounds(tmp_path / "r", option, value)
    assert same(weights(folder, 0), weights(run, 0))
    assert not same(weights(folder, 1), weights(run, 1))


@pytest.mark.slow
def test_the_bank_is_capped(run: Path, tmp_path: Path) -> None:
    # Of each sample the bank has two a round, and from the second round on more than it may use.
    both = ("--attacks", "fgsm:eps=0.2", "pgd:steps=1,eps=0.01")
    common = (*both, "--attack-samples", "fgsm=all", "pgd=all")
    several = rounds(tmp_path / "all", *common, "--bank-per-sample", "0")
    for first in ("newest", "hardest"):
        capped = rounds(tmp_path / first, *common, "--bank-per-sample", "1", "--bank-first", first)
        assert same(weights(capped, 1), weights(several, 1))
        assert not same(weights(capped, 2), weights(several, 2))
        assert len(SampleBank(capped / "bank")) == 320
    newest, hardest = (weights(tmp_path / first, 2) for first in ("newest", "hardest"))
    assert not same(newest, hardest)


def test_every_attack_and_instance_has_a_part_in_the_fit(tmp_path: Path) -> None:
    both = ("--attacks", "pgd:steps=2", "fgsm", "--attack-samples", "pgd=20", "fgsm=20")
    folder = rounds(tmp_path / "r", *both, "--instances", "2", "--rounds", "1")
    bank = SampleBank(folder / "bank")
    config = RoundsConfig(loop=LoopFlags(instances=2))
    run = SimpleNamespace(config=config, fitted=lambda bank: bank.indices(status="accepted"))
    chosen = choose_stored(run, bank)
    assert len(chosen) == len(bank) == 80


@pytest.mark.slow
def test_what_went_wrong_in_a_fit_is_said_of_its_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--train-eps", "0.5", "--train-step-size", "0.001", "--retrain-epochs", "12",
        "--rounds", "1", "--train-samples", "300", "--attacks", "pgd:steps=1",
    )  # fmt: skip
    folder = rounds(tmp_path / "r", *words)
    (warning,) = json.loads((folder / "summary.json").read_text())["rounds"][1]["warnings"]
    assert warning.startswith("fit of round 1: ")
    assert "the method&#39;s own attack fails" in (folder / "report.html").read_text()
    capsys.readouterr()
    rounds(folder, *words)
    best = json.loads((folder / "summary.json").read_text())["best_round"]
    assert f"handed over: round {best}, the most robust on validation" in capsys.readouterr().out


def fit(folder: Path, *words: str) -> int:
    return main(["fit", *TINY, "--epochs", "2", "--run-dir", str(folder), *words])


@pytest.mark.slow
def test_fit_takes_the_bank_of_a_run(run: Path, tmp_path: Path) -> None:
    bank = ("--bank", str(run / "bank"))
    for name, words in {
        "bank": ("--method", "bank", *bank), "fast": ("--method", "fast", *bank),
        "ratio": ("--method", "fast", *bank, "--ratio", "2"), "alone": ("--method", "fast"),
        "standard": ("--method", "standard"),
    }.items():  # fmt: skip
        assert fit(tmp_path / name, *words) == 0
    found = [weights(tmp_path / name, 0) for name in ("bank", "fast", "ratio", "alone", "standard")]
    assert not any(same(a, b) for i, a in enumerate(found) for b in found[:i])


def test_another_bank_is_refused_on_resume(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = load_dataset("digits", "train", samples=80)
    bank = SampleBank(tmp_path / "bank")
    entry = {
        "source": train.ids[0], "label": int(train.labels[0]), "round": 1, "attack": "pgd",
        "seed": 0, "loss": 0.0, "linf": 0.0, "l2": 0.0, "l1": 0.0,
    }  # fmt: skip
    words = ("--method", "bank", "--bank", str(bank.folder))
    bank.append("first", torch.zeros(1, 1, 8, 8), [entry])
    assert fit(tmp_path / "r", *words) == 3
    assert "no accepted samples" in capsys.readouterr().err
    bank.set_status([0], "accepted")
    assert fit(tmp_path / "r", *words) == 0
    (tmp_path / "r/summary.json").unlink()
    bank.append("second", torch.ones(1, 1, 8, 8), [entry])
    bank.set_status([1], "accepted")
    assert fit(tmp_path / "r", *words) == 3
    assert "is not what it was" in capsys.readouterr().err


def test_static_classifiers_are_files_of_weights(run: Path, tmp_path: Path) -> None:
    files = [str(run / f"checkpoints/round-00{n}.safetensors") for n in (0, 1)]
    assert fit(tmp_path / "one", "--method", "ensemble", "--static", files[0]) == 0
    assert fit(tmp_path / "two", "--method", "ensemble", "--static", *files) == 0
    assert not same(weights(tmp_path / "one", 0), weights(tmp_path / "two", 0))


@pytest.mark.slow
def test_a_static_classifier_may_be_of_another_kind(tmp_path: Path) -> None:
    assert fit(tmp_path / "other", "--model", "dense-memory") == 0
    other = tmp_path / "other/checkpoints/round-000.safetensors"
    static = f"{other},model=dense-memory"
    assert fit(tmp_path / "own", "--method", "ensemble", "--static", static) == 0
    assert fit(tmp_path / "bad", "--method", "ensemble", "--static", str(other)) == 3
    inputs = json.loads((tmp_path / "own/inputs.json").read_text())
    assert f"--static {static}" in inputs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "--method", "bank"], "--method bank needs a bank; give --bank DIR"),
        (["fit", "--method", "fast", "--ratio", "1"], "--ratio 1 needs a bank"),
        (["fit", "--bank", "x"], "--bank has no use with --method standard"),
        (["fit", "--method", "fast", "--static", "x.pt"], "--static has no use with --method fast"),
        (["rounds", "--beta", "3"], "--method standard and --retrain-method fast; leave it out, or "
         "give --retrain-method trades or mart"),
        (["rounds", "--retrain-method", "fat"], "--retrain-method"),
        (["rounds", "--bank-per-sample", "-1"], "--bank-per-sample is -1"),
        (["fit", "--method", "ensemble"], "give --static WEIGHTS"),
        (["rounds", "--method", "ensemble"], "give --static WEIGHTS"),
        (["fit", "--method", "fast", "--beta", "0"], "--beta has no use with --method fast"),
        (["fit", "--clean-share", "0"], "--clean-share has no use with --method standard"),
        (["rounds", "--start", "scratch", "--epochs", "0"], "--epochs is 0; give --start keep"),
        (["rounds", "--retrain-method", "standard", "--ratio", "2"], "--ratio and --bank-first"),
        (["rounds", "--bank-first", "hardest", "--bank-per-sample", "0"], "leave one of them out"),
        (["rounds", "--retrain-method", "bank", "--ratio", "0"], "no sample of the bank"),
    ],
)  # fmt: skip
def test_what_has_no_use_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--run-dir", str(tmp_path / "r")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_options_of_either_method_may_be_given(tmp_path: Path) -> None:
    folder = rounds(tmp_path / "r", "--retrain-method", "trades", "--beta", "2", "--rounds", "1")
    assert len(json.loads((folder / "summary.json").read_text())["rounds"]) == 2
