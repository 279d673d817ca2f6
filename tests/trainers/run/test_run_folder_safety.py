"""Nothing that a run did not make is removed, moved or replaced."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from trainers.run.claim import LOCK, MARK
from trainers.run.cli import main

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TINY = ["--smoke", "--threads", "1", "--train-samples", "20", "--test-samples", "10"]
NOTHING = ["--data", "npz:/nonexistent.npz"]
JOBS = [
    ["rounds"], ["attack", "--weights", "w"], ["evaluate", "--weights", "w"], ["compress", "fit"],
    ["compress", "encode"], ["compress", "decode"], ["compress", "evaluate"],
]  # fmt: skip
ATTACK = ["attack", *TINY, "--epochs", "1"]


def refused_words(job: list[str]) -> list[str]:
    return [*job, "--code", "/nonexistent.sprc"] if job[-1] == "decode" else [*job, *NOTHING]


def snapshot(folder: Path) -> dict[str, tuple]:
    """Everything below a folder: kind, mode, time of change and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = (
            os.readlink(path) if path.is_symlink()
            else sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        )  # fmt: skip
        found[str(path.relative_to(folder))] = (about.st_mode, about.st_mtime_ns, content)
    return found


def fill(folder: Path) -> None:
    """Make a folder that somebody worked on for years."""
    (folder / "src/deep").mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    (folder / "src/deep/main.c").write_text("int main;")
    (folder / "config.toml").write_text('job = "rounds"\nrounds = 1\n')
    (folder / "report.html").write_text("<p>mine</p>")
    (folder / "status.json").write_text('{"state": "finished"}')
    (folder / ".notes.deadbeef.partial").write_text("half a thought")


@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_a_folder_with_a_config_is_none_of_ours(tmp_path: Path, job: list[str]) -> None:
    fill(tmp_path / "D")
    before = snapshot(tmp_path)
    assert main([*refused_words(job), "--run-dir", str(tmp_path / "D")]) == 2
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "names",
    [["config.toml"], [LOCK], [LOCK, "config.toml"], ["checkpoints"], ["bank", "x"], [".hidden"],
     ["config.toml", "status.json"]],
    ids=" ".join,
)  # fmt: skip
def test_single_files_make_no_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    folder = tmp_path / "D"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("mine = 1\n")
    before = snapshot(tmp_path)
    for words in ([*ATTACK], ["rounds", *NOTHING], ["rounds", "--resume", "never"]):
        assert main([*words, "--run-dir", str(folder)]) == 2
        assert "nothing in it was touched" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_the_folder_of_a_config_is_not_the_run_s(tmp_path: Path) -> None:
    folder = tmp_path / "D"
    folder.mkdir()
    file = folder / "config.toml"
    words = [*ATTACK, "--attack", "fgsm"]
    shown = subprocess.run(
        [sys.executable, "train.py", *words, "--print-config"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    file.write_bytes(shown)
    before = snapshot(tmp_path)
    assert main(["attack", "--config", str(file), "--run-dir", str(folder)]) == 2
    assert main(["--resume", str(folder)]) == 2
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_a_refused_start_leaves_what_was_there(tmp_path: Path, job: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "new", "runs/deep/new"):
        assert main([*refused_words(job), "--run-dir", str(tmp_path / place)]) in (2, 3)
    assert os.listdir(tmp_path) == ["empty"]
    assert os.listdir(tmp_path / "empty") == []


def test_a_refusal_leaves_what_came_in_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def load(*args: object, **options: object) -> None:
        (folder / "notes.txt").write_text("mine")
        (folder / "tensorboard").mkdir(exist_ok=True)
        (folder / "tensorboard/events.mine").write_text("mine")
        raise ValueError("no")

    monkeypatch.setattr("trainers.setting.load_dataset", load)
    assert main(["rounds", *TINY, "--run-dir", str(folder)]) == 2
    kept = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert kept == ["notes.txt", "tensorboard", "tensorboard/events.mine"]


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two attacks that was stopped after the first."""
    folder = tmp_path / "run"
    from trainers import evaluating

    real = evaluating.measured

    def stop(setting: object, trial: object) -> object:
        if trial.name == "pgd":  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return real(setting, trial)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "measured", stop)
        assert main([*EVALUATE, "--run-dir", str(folder)]) == 130
    return folder


EVALUATE = ["evaluate", *TINY, "--attacks", "fgsm", "pgd"]


def test_a_resumed_run_leaves_the_user_s_files(interrupted: Path) -> None:
    mine = [
        "notes.txt", "sub/.x.deadbeef.partial", "sub/deep/y", ".mine.deadbeef.partial",
        "tensorboard/events.out.tfevents.mine", "checkpoints/mine.txt",
    ]  # fmt: skip
    for name in mine:
        (interrupted / name).parent.mkdir(parents=True, exist_ok=True)
        (interrupted / name).write_text("mine")
    assert main(["--resume", str(interrupted)]) == 0
    for name in mine:
        assert (interrupted / name).read_text() == "mine", name


def test_a_round_that_is_done_leaves_the_user_s_files(tmp_path: Path) -> None:
    words = ["rounds", *TINY, "--epochs", "1", "--attacks", "pgd", "--rounds", "0"]
    note = tmp_path / "run/checkpoints/round-000/sub/notes.txt"
    note.parent.mkdir(parents=True)
    note.write_text("mine")
    (tmp_path / "run" / LOCK).write_text(MARK)
    made = subprocess.run(
        [sys.executable, "train.py", *words, "--print-config"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    (tmp_path / "run/config.toml").write_bytes(made)
    assert main([*words, "--run-dir", str(tmp_path / "run")]) == 0
    assert note.read_text() == "mine"
    assert [path.name for path in (tmp_path / "run/checkpoints/round-000").iterdir()] == ["sub"]


def test_a_report_that_is_the_user_s_stops_a_resume(
    interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (interrupted / "report.html").write_text("<p>mine</p>")
    before = snapshot(interrupted)
    assert main(["--resume", str(interrupted)]) == 2
    assert "report.html is there, and no run made it" in capsys.readouterr().err
    assert snapshot(interrupted) == before
    (interrupted / "report.html").rename(interrupted.parent / "mine.html")
    assert main(["--resume", str(interrupted)]) == 0
    assert main(["--resume", str(interrupted)]) == 0


@pytest.mark.parametrize(
    "name", ["report.html", "summary.json", "scores.csv", "samples", "x.safetensors"]
)
def test_results_in_a_folder_without_work_are_the_user_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / LOCK).write_text(MARK)
    (tmp_path / name).write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    assert main([*ATTACK, "--run-dir", str(tmp_path)]) == 2
    assert f"{name} is there, and no run made it" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    ["log.txt", "metrics.jsonl", "command.txt", "status.json", "summary.json", "checkpoints",
     "tensorboard", "checkpoints/test-fgsm", "checkpoints/x.safetensors", "figures", LOCK],
)  # fmt: skip
@pytest.mark.parametrize("dangling", [False, True])
def test_links_in_a_run_folder_are_not_followed(
    interrupted: Path, capsys: pytest.CaptureFixture[str], name: str, dangling: bool
) -> None:
    target = interrupted.parent / "target"
    place = interrupted / name
    if place.exists():
        place.rename(target)
    elif not dangling:
        target.write_text("mine")
    if dangling and target.exists():
        target.rename(interrupted.parent / "gone")
    place.symlink_to(target)
    before = snapshot(interrupted.parent)
    assert main(["evaluate", *EVALUATE[1:], "--run-dir", str(interrupted)]) == 2
    shown = capsys.readouterr().err
    assert "is a link" in shown or "no run folder" in shown
    assert snapshot(interrupted.parent) == before


def test_links_to_run_folders_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert main(["rounds", *NOTHING, "--run-dir", str(tmp_path / "link")]) == 3
    assert (os.listdir(tmp_path / "real"), os.readlink(tmp_path / "link")) == ([], "real")
    (tmp_path / "nowhere").symlink_to("gone")
    capsys.readouterr()
    assert main(["rounds", *NOTHING, "--run-dir", str(tmp_path / "nowhere")]) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["link", "nowhere", "real"]


def test_here_home_and_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    for place in (".", "", str(tmp_path), "/", "src/..", "thesis.tex", "thesis.tex/run"):
        assert main(["rounds", *NOTHING, "--run-dir", place]) in (2, 3), place
    assert snapshot(tmp_path) == before
    assert not os.path.lexists("/.lock")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    assert main(["rounds", *NOTHING, "--run-dir", str(tmp_path / "run")]) == 2
    assert "cannot be used" in capsys.readouterr().err
    tmp_path.chmod(0o700)


def test_data_in_the_run_folder_s_place(tmp_path: Path) -> None:
    data = tmp_path / "d.npz"
    np.savez(data, x=np.zeros((9, 1, 8, 8), np.uint8), y=np.arange(9) % 3)
    before = snapshot(tmp_path)
    assert main(["rounds", "--data", f"npz:{data}", "--run-dir", str(tmp_path)]) == 2
    assert snapshot(tmp_path) == before


def test_runs_of_before_the_mark_go_on(interrupted: Path) -> None:
    (interrupted / LOCK).write_text("")
    assert main(["--resume", str(interrupted)]) == 0
    assert (interrupted / LOCK).read_text() == MARK
    assert json.loads((interrupted / "status.json").read_text())["state"] == "finished"


def test_a_copy_without_hidden_files_goes_on(interrupted: Path) -> None:
    (interrupted / LOCK).unlink()
    assert main(["--resume", str(interrupted)]) == 0


@pytest.mark.parametrize("text", ["", MARK[:20]])
def test_a_start_that_was_killed_while_marking_goes_on(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    assert main([*EVALUATE, "--run-dir", str(tmp_path), "--attacks", "fgsm"]) == 0


STARTS = """
import os, sys, time
import trainers.evaluating, trainers.run.session
from trainers.run.cli import main
folder, count, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
at = time.time() + 0.2
def start():
    child = os.fork()
    if child == 0:
        while time.time() < at: pass
        os._exit(main([*words, "--run-dir", folder]))
    return child
children = [start() for _ in range(count)]
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def race(folder: Path, count: int, *words: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", STARTS, str(folder), str(count), *words],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(code) for code in done.stdout.splitlines()[-1].split()]


@pytest.mark.multiprocess
def test_of_processes_that_make_one_folder_one_works_there(tmp_path: Path) -> None:
    codes = race(tmp_path / "runs/a", 3, *EVALUATE, "--attacks", "fgsm")
    assert sorted(codes) == [0, 2, 2]
    assert (tmp_path / "runs/a/summary.json").exists()
    assert race(tmp_path / "runs/a", 2, *EVALUATE, "--attacks", "fgsm") in ([0, 0], [0, 2], [2, 0])


@pytest.mark.multiprocess
def test_of_refused_processes_nothing_is_left_and_nothing_is_lost(tmp_path: Path) -> None:
    for _ in range(5):
        assert set(race(tmp_path / "runs/a", 3, "rounds", *NOTHING)) <= {2, 3}
        left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
        assert left in ([], [LOCK])  # of one that was quicker than its killer


def test_a_kill_while_a_start_begins_can_be_resumed(tmp_path: Path) -> None:
    """Guards: however early the kill, the folder is still one to go on in."""
    words = [sys.executable, "train.py", *EVALUATE, "--attacks", "fgsm", "--run-dir"]
    folder = tmp_path / "run"
    random.seed(0)
    process = subprocess.Popen(
        [*words, str(folder)], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    while not folder.exists():
        time.sleep(0.0005)
    process.kill()
    process.wait()
    assert main([*EVALUATE, "--attacks", "fgsm", "--run-dir", str(folder)]) == 0
