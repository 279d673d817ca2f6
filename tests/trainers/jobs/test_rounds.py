import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from augment import SampleBank, load_dataset
from tests.trainers.watched_progress import Told, moves, watched_progress
from trainers import load_classifier
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.rounds.collect_samples import list_items
from trainers.jobs.rounds.following import choose_followed, mean_history
from trainers.jobs.rounds.stopping import stop_reason
from trainers.run.cli.config import LoopFlags
from trainers.run.main import main

TINY = [
    "--smoke", "--threads", "1", "--train-samples", "80", "--test-samples", "40",
    "--batch-size", "16", "--epochs", "2", "--attacks", "pgd", "--attack-samples", "pgd=20",
    "--augmentation", "none", "--test-attacks", "pgd:steps=2", "fgsm",
]  # fmt: skip
ENDS = ("-features.safetensors", ".json", ".safetensors")  # of what is kept of a round


def rounds(folder: Path, *words: str) -> int:
    return main(["rounds", *TINY, "--run-dir", str(folder), *words])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told, list[str]]:
    """A run, what its bars were told, and the stages that were planned."""
    folder, planned = tmp_path_factory.mktemp("rounds") / "run", []
    with pytest.MonkeyPatch.context() as patch, watched_progress() as told:
        patch.setattr("trainers.jobs.rounds.rounds.StagePlan", lambda names: planned.append(names))
        assert rounds(folder) == 0
    return folder, told, planned[0]


@pytest.fixture(scope="module")
def run(watched: tuple[Path, Told, list[str]]) -> Path:
    return watched[0]


def test_bars_move_through_the_stages_that_were_planned(
    watched: tuple[Path, Told, list[str]],
) -> None:
    _, told, planned = watched
    assert list(told) == planned
    silent = [stage for stage, shares in told.items() if not moves(shares)]
    assert silent == [stage for stage in told if "fgsm" in stage]  # one step


def test_the_summary_keeps_the_contract(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["job"] == "rounds"
    assert summary["seconds"] > 0
    assert [row["round"] for row in summary["rounds"]] == [0, 1]
    for row in summary["rounds"]:
        for name in ("clean_accuracy", "attack_success", "delta_sparsity"):
            assert 0 <= row[name] <= 1
        assert set(row["robust_accuracy"]) == {"pgd", "fgsm"}
        assert 0 < row["delta_l1"] <= 0.1  # eps
        assert max(row["robust_accuracy"].values()) <= row["clean_accuracy"]
    assert [row["bank_size"] for row in summary["rounds"]] == [0, 20]
    assert summary["rounds"][1]["accepted"] == 20


def test_the_folder_holds_what_the_contract_names(run: Path) -> None:
    names = (
        "config.toml command.txt environment.json status.json metrics.jsonl summary.json log.txt"
    )
    for name in [*names.split(), "tensorboard", "checkpoints", "bank", "figures", "report.html"]:
        assert (run / name).exists(), name
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        "best.safetensors",
        "looked-at.safetensors",
        *(f"round-{n:03}{end}" for n in (0, 1) for end in ENDS),
    ]  # fmt: skip
    report = (run / "report.html").read_text()
    summary = json.loads((run / "summary.json").read_text())
    failures = summary["rounds"][summary["best_round"]]["failures"]
    # eight samples in two rounds, the worst failures, and what it looked at
    assert report.count("data:image/png;base64,") == 2 * 8 + len(failures) + 1
    assert report.count('class="chart"') == 1
    assert "http" not in report.replace("http-equiv", "")


def test_the_same_samples_are_followed_and_told_as_the_classifier_answers(run: Path) -> None:
    rows = json.loads((run / "summary.json").read_text())["rounds"]
    ids = [[each["id"] for each in row["followed"]] for row in rows]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 8
    assert rows[0]["followed"][0]["outcome"] == "fooled"
    test = load_dataset("digits", "test", samples=40, seed=0)
    x, y = test.stack([test.ids.index(name) for name in ids[0]])
    for row in rows:
        weights = run / f"checkpoints/round-{row['round']:03}.safetensors"
        model = load_classifier("smallcnn", num_classes=10, in_channels=1, weights=str(weights))
        wanted = model(x).softmax(1).topk(5)
        for i, each in enumerate(row["followed"]):
            before = [int(top["class"]) for top in each["before"]]
            assert before == wanted.indices[i].tolist()
            likely = torch.tensor([top["probability"] for top in each["before"]])
            torch.testing.assert_close(likely, wanted.values[i], rtol=1e-3, atol=1e-5)
            right, still = (int(each[when][0]["class"]) == y[i] for when in ("before", "after"))
            assert each["outcome"] == ("wrong" if not right else "held" if still else "fooled")
            assert each["label"] == str(int(y[i]))
            assert (run / each["picture"]).is_file()


def test_as_many_fooled_samples_are_followed_as_held_ones_where_there_are() -> None:
    attackable = torch.tensor([True] * 18 + [False] * 2)
    fooled = torch.tensor([False, True] * 10)
    columns = {"attackable": attackable, "fooled": fooled}
    rows = list(range(1, 20))  # the first is not kept
    chosen = choose_followed(columns, rows)
    assert [bool(fooled[row]) for row in chosen] == [True] * 4 + [False] * 4
    assert set(chosen) <= set(range(1, 18))
    few = choose_followed(columns | {"fooled": torch.arange(20) == 3}, rows)
    assert len(set(few)) == 8
    assert few[0] == 3
    assert choose_followed(columns, [2, 19]) == [2, 19]


def test_the_mean_loss_counts_a_sample_that_left_with_its_last_value() -> None:
    nan = float("nan")
    history = torch.tensor([[4.0, 2.0, nan], [2.0, nan, nan], [nan, nan, nan]])
    assert mean_history(history) == [(0, 3.0), (1, 2.0), (2, 2.0)]
    many = mean_history(torch.arange(1000.0)[None])
    assert len(many) == 100
    assert many[7] == (70, 70.0)


def test_the_bank_holds_samples_with_their_correct_labels(run: Path) -> None:
    train = load_dataset("digits", "train", samples=80, seed=0)
    bank = SampleBank(run / "bank")
    for x_adv, entry in bank:
        x, y = train[train.ids.index(entry.source)]
        assert entry.label == y
        assert float((x_adv - x).abs().max()) <= 0.1 + 1 / 255
        assert (entry.status, entry.round, entry.attack) == ("accepted", 1, "pgd")


def test_a_finished_run_shows_its_table_again(run: Path, capsys: pytest.CaptureFixture) -> None:
    before = (run / "summary.json").read_bytes()
    assert rounds(run) == 0
    shown = capsys.readouterr().out
    assert "is finished" in shown
    assert re.search(r"round +clean acc\.", shown)
    report, found, after = shown.splitlines()[-3:]
    assert report == f"report  {run}/report.html, beside it checkpoints/best.safetensors"
    assert re.match(r"found   worst case accuracy [\d.]+% \(\d+-\d+\) of 40 test samples", found)
    assert after.startswith(f"next    tensorboard --logdir {run}/tensorboard; to compare: ")
    assert f"picture     {run}/figures/looked-at.png\n" in (run / "log.txt").read_text()
    assert (run / "summary.json").read_bytes() == before


def test_other_options_are_refused(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert rounds(run, "--retrain-lr", "0.5") == 2
    assert "--retrain-lr 0.001 -> 0.5" in capsys.readouterr().err


def test_the_given_weights_are_round_0(run: Path, tmp_path: Path) -> None:
    weights = run / "checkpoints" / "round-001.safetensors"
    assert rounds(tmp_path / "r", "--weights", str(weights), "--rounds", "0") == 0
    last = json.loads((run / "summary.json").read_text())["rounds"][1]
    first = json.loads((tmp_path / "r" / "summary.json").read_text())["rounds"][0]
    assert first["robust_accuracy"] == last["robust_accuracy"]
    old, new = load_file(weights), load_file(tmp_path / "r" / "checkpoints/round-000.safetensors")
    assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("name", ["round-000.safetensors", "round-000.json"])
@pytest.mark.parametrize("size", [0, 100])
def test_a_torn_checkpoint_is_refused(
    name: str, size: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "r"
    assert rounds(folder, "--review", "required") == 0  # stops within round 1
    os.truncate(folder / "checkpoints" / name, size)
    assert rounds(folder, "--review", "required") == 3
    assert "is damaged" in capsys.readouterr().err
    assert json.loads((folder / "status.json").read_text())["state"] == "refused"


def test_the_seconds_of_a_round_are_those_of_all_its_processes(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert rounds(folder, "--review", "required") == 0  # stops within round 1
    kept = folder / "checkpoints" / "round-001" / "seconds.json"
    assert 0 < json.loads(kept.read_text()) < 600
    kept.write_text("1000.5")  # as if attacking had taken so long
    bank = SampleBank(folder / "bank")
    bank.set_status(bank.indices(status="pending"), "accepted")
    assert rounds(folder, "--review", "required") == 0
    summary = json.loads((folder / "summary.json").read_text())
    first, last = (row["seconds"] for row in summary["rounds"])
    assert first < 600
    assert 1000.5 < last < 1600
    assert summary["seconds"] == first + last
    assert not kept.exists()


@pytest.mark.slow
def test_from_scratch_and_instances(tmp_path: Path) -> None:
    words = ["--start", "scratch", "--instances", "2", "--patience", "0", "--rounds", "2"]
    assert rounds(tmp_path / "r", *words, "--attacks", "fgsm", "pgd") == 0
    rows = json.loads((tmp_path / "r" / "summary.json").read_text())["rounds"]
    assert [row["bank_size"] for row in rows] == [0, 200, 400]  # (20 of pgd + 80 of fgsm) x 2


def test_a_refused_start_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for words, code in [
        (["--test-attacks", "pgdd"], 2),
        (["--data", f"imagefolder:{tmp_path / 'none'}"], 3),
        (["--model", "nosuchnet"], 2),
        (["--weights", str(tmp_path / "none.pt")], 3),
        (["--attacks", "fgsm:norm=l7"], 2),
    ]:
        assert rounds(tmp_path / "r", *words) == code, capsys.readouterr()
        assert not (tmp_path / "r").exists()
        assert capsys.readouterr().err.startswith("train.py: ")


def test_items_are_the_same_each_time_and_each_sample_is_taken_once() -> None:
    loop = replace(LoopFlags(), attack_samples=("pgd=7",), instances=2)
    args = {"loop": loop, "samples": 20, "batch_size": 3, "seed": 1}
    first = list_items(1, ["pgd", "fgsm"], **args)
    assert first == list_items(1, ["pgd", "fgsm"], **args)
    assert len({key for key, *_ in first}) == len(first) == 2 * 3 + 2 * 7
    for instance in (0, 1):
        rows = [
            row for _, name, i, rows in first if (name, i) == ("fgsm", instance) for row in rows
        ]
        assert rows == list(range(20))
    other = list_items(2, ["pgd"], **args)
    assert [rows for *_, rows in other] != [rows for *_, rows in first[: len(other)]]


def test_spread() -> None:
    assert evenly_spaced(5, 9) == [0, 1, 2, 3, 4]
    assert evenly_spaced(360, 64)[-1] > 350
    assert len(set(evenly_spaced(360, 64))) == 64


def row(number: int, robust: float, above: float | None = 0.0) -> dict:
    return {
        "round": number,
        "worst_case": robust,
        "validation": None,
        "loss_above_threshold": above,
    }


def test_the_stopping_rules() -> None:
    loop = replace(LoopFlags(), rounds=5, patience=2, threshold_share=0.9)
    growing = [row(0, 0.5), row(1, 0.6), row(2, 0.7)]
    assert stop_reason(growing, loop) is None
    assert "all 2 rounds" in str(stop_reason(growing, replace(loop, rounds=2)))
    assert "has not grown" in str(stop_reason([*growing, row(3, 0.7), row(4, 0.6)], loop))
    assert stop_reason([*growing, row(3, 0.7)], loop) is None
    assert stop_reason([*growing, row(3, 0.1), row(4, 0.1)], replace(loop, patience=0)) is None
    first = row(0, 0.5, above=0.5)
    assert "at a loss of 0.5 or more" in str(stop_reason([first, row(1, 0.6, above=0.9)], loop))
    assert stop_reason([first, row(1, 0.6, above=0.89)], loop) is None
    assert stop_reason([first, row(1, 0.6, above=None)], loop) is None
    assert stop_reason([row(0, 0.5, above=0.9), row(1, 0.6, above=1.0)], loop) is None
