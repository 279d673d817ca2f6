"""What TensorBoard shows of the rounds, read back by its own reader; killed and resumed, too."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import (
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
    parse_session_start_info_plugin_data,
)

from augment import SampleBank, load_dataset
from tests.soak.folders import differences
from trainers.jobs.rounds.board import RoundsBoard
from trainers.run.main import main

TINY = [
    "rounds", "--smoke", "--threads", "1", "--train-samples", "60", "--test-samples", "40",
    "--batch-size", "16", "--epochs", "3", "--rounds", "2", "--patience", "0", "--retrain-epochs",
    "2", "--attacks", "pgd:steps=4", "--attack-samples", "pgd=20", "--augmentation", "none",
    "--test-attacks", "pgd:steps=2", "fgsm", "--val-samples", "0", "--eps", "0.2",
]  # fmt: skip
TRAIN = {
    f"train_attack/pgd/{name}" for name in ("success", "median_linf", "median_l2", "median_l1")
}
FIT = {
    f"fit/{name}" for name in ("loss", "accuracy", "lr", "round", "seconds", "samples_per_second")
}
ROUND = {
    f"round/{name}"
    for name in (
        "clean_accuracy", "attack_success", "attackable", "fooled", "attack_loss", "delta_l1",
        "delta_sparsity", "median_linf", "median_l2", "median_l1", "bank_size", "accepted",
        "seconds",
    )
}  # fmt: skip
MEASURE = {
    f"measure/{name}/{unit}"
    for name in ("pgd", "fgsm", "the main attack")
    for unit in ("seconds", "samples_per_second")
}
IMAGES = {f"followed/sample-{i}" for i in range(1, 9)}


class _Killed(BaseException):
    """No error: nothing catches it, as if the process were gone."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board") / "plain"
    assert main([*TINY, "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed when round 1 was about to be shown, and at its very end."""
    folder = tmp_path_factory.mktemp("board") / "resumed"
    with pytest.MonkeyPatch.context() as patch:
        show, finish = RoundsBoard.show_round, RoundsBoard.finish

        def killed(board: RoundsBoard, rows: list) -> None:
            if len(rows) == 2:
                raise _Killed
            show(board, rows)

        patch.setattr(RoundsBoard, "show_round", killed)
        with pytest.raises(_Killed):
            main([*TINY, "--run-dir", str(folder)])
        patch.setattr(RoundsBoard, "show_round", show)

        def killed_at_the_end(board: RoundsBoard, rows: list, summary: dict) -> None:
            finish(board, rows, summary)
            raise _Killed

        patch.setattr(RoundsBoard, "finish", killed_at_the_end)
        with pytest.raises(_Killed):
            main([*TINY, "--run-dir", str(folder)])
    assert main([*TINY, "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture(params=["plain", "resumed"])
def run(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def board_of(run: Path) -> EventAccumulator:
    whole = {"tensors": 0, "images": 0, "scalars": 0}
    return EventAccumulator(str(run / "tensorboard"), size_guidance=whole).Reload()


def test_all_tags_are_there_and_no_others(run: Path) -> None:
    board = board_of(run)
    tags = board.Tags()
    spent = {f"train_attack/{name}" for name in ("seconds", "samples_per_second")}
    robust = {f"robust/{name}" for name in ("pgd", "fgsm", "worst case")}
    found = {tag for tag in tags["scalars"] if not tag.startswith("final/")}
    assert found == FIT | ROUND | TRAIN | MEASURE | robust | spent
    assert set(tags["images"]) == IMAGES | {"figures/attack loss by step", "figures/looked at"}
    texts = {"config", "top classes", "accuracy by class", "rounds"}
    assert set(tags["tensors"]) == {f"{name}/text_summary" for name in texts}
    hparams = {SESSION_START_INFO_TAG, SESSION_END_INFO_TAG}
    assert board.PluginTagToContent("hparams").keys() == hparams


def test_epochs_are_counted_through_the_rounds(run: Path) -> None:
    board = board_of(run)
    loss, rounds = board.Scalars("fit/loss"), board.Scalars("fit/round")
    assert [each.step for each in loss] == [1, 2, 3, 4, 5, 6, 7]
    assert [(each.step, each.value) for each in rounds] == [
        (1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 2), (7, 2),
    ]  # fmt: skip


def test_each_round_has_each_point_once_and_it_is_that_of_the_summary(run: Path) -> None:
    board, rows = board_of(run), json.loads((run / "summary.json").read_text())["rounds"]
    for tag in (*ROUND, "robust/fgsm", "robust/worst case"):
        name = tag.partition("/")[2]
        for each in board.Scalars(tag):
            row = rows[each.step]
            known = row | row["robust_accuracy"] | {"worst case": row["worst_case"]}
            assert each.value == pytest.approx(known[name]), (tag, each.step)
    for tag in (*MEASURE, "round/clean_accuracy", "robust/pgd"):
        assert [each.step for each in board.Scalars(tag)] == [0, 1, 2], tag
    for tag in TRAIN:
        assert [each.step for each in board.Scalars(tag)] == [1, 2], tag


def test_pictures_are_the_files_at_their_round(run: Path) -> None:
    board = board_of(run)
    for tag in IMAGES:
        shown = board.Images(tag)
        assert [each.step for each in shown] == [0, 1, 2]
        for each in shown:
            file = run / f"figures/round-{each.step:03}/{tag.partition('/')[2]}.png"
            assert each.encoded_image_string == file.read_bytes()
    losses = board.Images("figures/attack loss by step")
    assert [each.step for each in losses] == [0, 1, 2]
    first, last = (Image.open(io.BytesIO(losses[i].encoded_image_string)) for i in (0, 2))
    assert first.size == last.size == (504, 372)
    third = (5, 150, 105)  # the colour of a third line
    counts = [(np.asarray(image) == third).all(-1).sum() for image in (first, last)]
    assert counts[0] == 0 < counts[1]


def test_tables_of_top_classes_and_of_classes(run: Path) -> None:
    board, rows = board_of(run), json.loads((run / "summary.json").read_text())["rounds"]
    names = ("top classes", "accuracy by class")
    top, classes = (board.Tensors(f"{name}/text_summary") for name in names)
    assert [each.step for each in top] == [each.step for each in classes] == [0, 1, 2]
    for each in top:
        text = each.tensor_proto.string_val[0].decode()
        assert text.count("| rank | before |") == 8
        followed = rows[each.step]["followed"]
        assert text.count("FOOLED**") == sum(s["outcome"] == "fooled" for s in followed)
        first = followed[0]
        cells = [(b["class"], f"{b['probability']:.1%}", a["class"], f"{a['probability']:.1%}")
                 for b, a in zip(first["before"], first["after"], strict=True)]  # fmt: skip
        wanted = [f"| {rank} | {' | '.join(cell)} |" for rank, cell in enumerate(cells, 1)]
        assert text.splitlines()[4:9] == wanted
    labels = load_dataset("digits", "test", samples=40, seed=0).labels
    lines = classes[0].tensor_proto.string_val[0].decode().splitlines()
    assert lines[0] == "| class | samples | clean | pgd | fgsm | worst case |"
    found = {line.split(" | ")[0].strip("| "): int(line.split(" | ")[1]) for line in lines[2:]}
    assert found == {str(c): int((labels == c).sum()) for c in labels.unique().tolist()}


def test_the_row_of_the_table_of_runs(run: Path) -> None:
    board, summary = board_of(run), json.loads((run / "summary.json").read_text())
    plugin = board.PluginTagToContent("hparams")
    options = parse_session_start_info_plugin_data(plugin[SESSION_START_INFO_TAG]).hparams
    assert options["eps"].number_value == 0.2
    assert options["binary"].WhichOneof("kind") == "bool_value"
    assert options["attacks"].string_value == "pgd:steps=4"
    assert options["data"].string_value == "digits"
    assert not {"device", "threads", "weights", "run-dir"} & set(options)
    best = summary["rounds"][summary["best_round"]]
    for name in ("clean_accuracy", "worst_case", "attack_success", "attack_loss"):
        (only,) = board.Scalars(f"final/{name}")
        assert only.value == pytest.approx(best[name])
    (events,) = (run / "tensorboard").glob("events*")
    assert events.read_bytes().count(SESSION_START_INFO_TAG.encode()) == 1


def test_the_norms_of_training_samples_are_the_banks(plain: Path) -> None:
    board, bank = board_of(plain), SampleBank(plain / "bank")
    for each in board.Scalars("train_attack/pgd/median_linf"):
        entries = [entry for entry in bank.entries() if entry.round == each.step]
        assert min(e.linf for e in entries) <= each.value <= max(e.linf for e in entries)
        assert each.value == pytest.approx(0.2, abs=0.01)  # PGD goes to the edge
    for each in board.Scalars("train_attack/pgd/success"):
        assert 0 < each.value <= 1


def test_the_projector_has_the_samples_clean_and_perturbed(run: Path) -> None:
    best = json.loads((run / "summary.json").read_text())["best_round"]
    vectors = load_file(run / f"checkpoints/round-{best:03}-features.safetensors")["vectors"]
    (place,) = (run / "tensorboard/00000").iterdir()
    shown = np.loadtxt(place / "tensors.tsv", delimiter="\t")
    np.testing.assert_allclose(shown, vectors.numpy(), rtol=1e-5)
    names = (place / "metadata.tsv").read_text().splitlines()
    assert names[0] == "label\tanswer\tsample"
    cells = [name.split("\t") for name in names[1:]]
    assert [cell[2] for cell in cells] == ["clean"] * 8 + ["perturbed"] * 8
    assert [cell[0] for cell in cells[:8]] == [cell[0] for cell in cells[8:]]
    assert {cell[1] for cell in cells} <= {str(number) for number in range(10)}


def test_kills_change_nothing(plain: Path, resumed: Path) -> None:
    assert len(list((resumed / "tensorboard").glob("events*"))) == 1
    assert differences(plain, resumed) == []
