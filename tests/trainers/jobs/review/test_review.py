"""What is reviewed, in which order, and what becomes of decisions; the command's own errors."""

import io
import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from augment import SampleBank, load_dataset
from augment.bank.reviews import Review, append_reviews, read_reviews
from trainers.jobs.review.gallery import START
from trainers.jobs.review.pictures import columns, encode_animation, encode_sprite
from trainers.jobs.review.queue import build_queue
from trainers.jobs.review.review import run_review
from trainers.run.cli.jobs.review import ReviewConfig, ReviewFlags
from trainers.run.main import main

from .conftest import MakeRun, fill_bank, open_queue


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    fill_bank(SampleBank(tmp_path / "bank"), load_dataset("digits", "train"), [*range(12)], key="b")
    return tmp_path / "bank"


def test_the_order_stays_when_the_bank_grows(bank: Path) -> None:
    ds = load_dataset("digits", "train")
    before = open_queue(bank, ds)
    assert [i.id for i in before.items.values()] == [
        i.id for i in open_queue(bank, ds).items.values()
    ]
    fill_bank(SampleBank(bank), ds, [*range(12, 20)], key="a", round=2)  # sorts before them
    after = open_queue(bank, ds)
    assert [id for id in after.items if id in before.items] == list(before.items)
    for id, item in after.items.items():
        if item.control:
            assert torch.equal(after.pixels(item), ds[ds.ids.index(item.source)][0])
        else:
            entry = after.bank.entries()[item.row]
            assert (entry.hash, entry.label, entry.round) == (id, item.label, item.round)
            assert torch.equal(after.original(item), ds[ds.ids.index(item.source)][0])
    assert sum(item.control for item in after.items.values()) == 5  # 20 of 25 are samples


def test_another_seed_shuffles_otherwise(bank: Path) -> None:
    orders = [list(build_queue(SampleBank(bank), None, controls=0.5, seed=s).items) for s in (0, 1)]
    assert orders[0] != orders[1]
    assert set(orders[0]) == set(orders[1]) == {e.hash for e in SampleBank(bank).entries()}


def test_samples_of_the_same_bytes_are_shown_once(bank: Path) -> None:
    ds = load_dataset("digits", "train")
    fill_bank(SampleBank(bank), ds, [*range(12)], key="c", round=2)
    assert len(SampleBank(bank)) == 24
    assert len(open_queue(bank, None).items) == 12


def test_a_sprite_holds_every_frame() -> None:
    x = torch.rand(3, 7, 4, 5)  # (C, T, H, W)
    sprite = np.asarray(Image.open(io.BytesIO(encode_sprite(x))))
    for t in range(7):
        row, column = divmod(t, columns(7))
        cell = sprite[row * 4 : row * 4 + 4, column * 5 : column * 5 + 5]
        assert np.array_equal(cell, (x[:, t] * 255).round().byte().permute(1, 2, 0).numpy())
    film = Image.open(io.BytesIO(encode_animation(x)))
    assert film.n_frames == 7
    film.seek(6)
    assert np.array_equal(np.asarray(film.convert("RGB")), sprite[8:12, 0:5])


def run_words(*words: str) -> int:
    return main(["review", "--no-open", *words])


def decisions(file: Path, *lines: dict[str, Any]) -> str:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def test_decisions_are_imported_once(
    bank: Path, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(4)
    first, second, *_ = (entry.hash for entry in SampleBank(run / "bank").entries())
    early, late = "2026-11-28T10:00:00.000Z", "2026-11-28T13:00:00+0100"
    line = {"hashes": [first], "status": "accepted", "reviewer": "Ann", "time": early}
    file = decisions(
        tmp_path / "d.jsonl", line, line | {"hashes": ["0" * 32]},
        line | {"hashes": [second], "automatic": True},
    )  # fmt: skip
    words = ("--run-dir", str(run), "--import-decisions", file)
    assert run_words(*words) == 0
    assert "1 taken, 0 known already, 0 older" in capsys.readouterr().out
    assert run_words(*words) == 0
    assert "0 taken, 1 known already, 0 older" in capsys.readouterr().out
    append_reviews(run / "bank", [Review((first,), "rejected", "Ann", time=late)])
    assert run_words(*words) == 0
    assert "0 taken, 1 known already, 0 older" in capsys.readouterr().out
    assert [r.status for r in read_reviews(run / "bank")] == ["accepted", "rejected"]
    assert SampleBank(run / "bank").entries()[0].status == "rejected"


def test_older_decisions_yield_to_a_confirmation_and_a_return_counts(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(2)
    id = SampleBank(run / "bank").entries()[0].hash

    def said(status: str, minute: int) -> dict[str, Any]:
        time = f"2026-11-28T10:{minute:02}:00+0000"
        return {"hashes": [id], "reviewer": "Ann", "status": status, "time": time}

    def taken(*lines: dict[str, Any]) -> str:
        file = decisions(tmp_path / "d.jsonl", *lines)
        assert run_words("--run-dir", str(run), "--import-decisions", file) == 0
        return capsys.readouterr().out

    assert "1 taken" in taken(said("accepted", 0))
    assert "1 taken" in taken(said("accepted", 30))
    assert "0 taken, 0 known already, 1 older" in taken(said("rejected", 15))
    assert "1 taken, 1 known" in taken(said("accepted", 30), said("rejected", 30))
    back = [said("accepted", 30), said("rejected", 30), said("accepted", 30)]
    assert "1 taken, 2 known" in taken(*back)
    assert "0 taken, 3 known" in taken(*back)
    assert SampleBank(run / "bank").entries()[0].status == "accepted"


def test_decisions_of_one_second_and_decisions_taken_back_are_imported_once(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(2)
    id = SampleBank(run / "bank").entries()[0].hash
    line = {"hashes": [id], "reviewer": "Ann", "time": "2026-11-28T10:00:00+0000"}
    said = [line | {"status": each} for each in ("accepted", "pending", "rejected", "accepted")]
    words = ("--run-dir", str(run), "--import-decisions", decisions(tmp_path / "d.jsonl", *said))
    assert run_words(*words) == 0
    assert "4 taken, 0 known" in capsys.readouterr().out
    assert run_words(*words) == 0
    assert "0 taken, 4 known" in capsys.readouterr().out
    assert [review.status for review in read_reviews(run / "bank")] == [
        "accepted", "pending", "rejected", "accepted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "no\n", "[]\n", '{"hashes": []}\n', '{"hashes": ["a"], "status": "x", "reviewer": "A"}\n',
        '{"hashes": ["a"], "status": "unsure", "reviewer": " "}\n',
        '{"hashes": ["a"], "status": "unsure", "reviewer": "A", "time": "soon"}\n', None,
        '{"hashes": ["a"], "status": "unsure", "reviewer": "A", "seen": 10}\n',
    ],
)  # fmt: skip
def test_a_file_of_no_decisions_is_refused(
    make_run: MakeRun, tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "d.jsonl"
    if text is not None:
        file.write_text(text)
    run = make_run(1, data="digits")
    assert run_words("--run-dir", str(run), "--import-decisions", str(file)) == 3
    assert str(file) in capsys.readouterr().err
    assert read_reviews(run / "bank") == []


def test_a_gallery_is_whole_and_replaces_its_own_kind_alone(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = make_run(6), tmp_path / "samples.html"
    words = ("--run-dir", str(run), "--export", str(file))
    assert run_words(*words) == 0 == run_words(*words)
    text = file.read_text()
    assert text.startswith(START)
    assert text.count("data:image/png") == 3 * 6
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img src=x" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert text.index("L2 6.000") < text.index("L2 1.000")
    file.write_text("mine")
    assert run_words(*words) == 2
    assert file.read_text() == "mine"
    assert "another name" in capsys.readouterr().err


def test_a_gallery_says_how_many_it_shows(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.jobs.review.gallery.MOST", 2)
    file = tmp_path / "samples.html"
    run_words("--run-dir", str(make_run(6)), "--export", str(file))
    assert "The first 2 of 6 perturbed samples" in file.read_text()
    assert file.read_text().count("<fieldset") == 2


def test_without_the_data_there_are_samples_alone(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = make_run(3), tmp_path / "samples.html"
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert run_words("--run-dir", str(run), "--export", str(file)) == 0
    assert "originals, class names and controls are not shown: " in capsys.readouterr().out
    assert file.read_text().count("data:image/png") == 3


def test_changed_data_is_not_shown(make_run: MakeRun, tmp_path: Path) -> None:
    run, file = make_run(3), tmp_path / "samples.html"
    known = {f"--data imagefolder:{tmp_path / 'images'} (train samples)": "another"}
    (run / "inputs.json").write_text(json.dumps(known))
    before = sorted(run.rglob("*"))
    assert run_words("--run-dir", str(run), "--export", str(file)) == 0
    assert file.read_text().count("data:image/png") == 3
    assert sorted(run.rglob("*")) == before


def test_what_is_impossible_is_refused(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = str(make_run(2, data="digits"))
    (tmp_path / "plain").mkdir()
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / ".lock").write_bytes(Path(run, ".lock").read_bytes())
    monkeypatch.chdir(tmp_path / "plain")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, said in (
            ((), "no run in runs/"),
            (("--run-dir", "gone"), "gone is not there"),
            (("--run-dir", "."), "is no run folder"),
            (("--run-dir", str(empty)), "has no perturbed samples"),
            (("--run-dir", run, "--port", port), f"--port {port} of 127.0.0.1 cannot be had"),
            (("--run-dir", run, "--reviewer", " "), "the reviewer's name"),
            (("--run-dir", run, "--controls", "1"), "--controls is 1; allowed: below 1"),
            (("--run-dir", run, "--export", "a", "--import-decisions", "b"), "give one of them"),
        ):
            assert run_words(*words) == 2, words
            assert said in capsys.readouterr().err


def test_the_newest_run_is_taken(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(2, data="digits")
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs/a")
    monkeypatch.chdir(tmp_path)
    run_review(ReviewConfig(ReviewFlags(export="all.html")))
    assert "All 2 perturbed samples" in (tmp_path / "all.html").read_text()
