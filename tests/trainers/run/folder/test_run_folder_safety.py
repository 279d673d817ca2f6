"""Nothing that a run did not make is removed, moved or replaced."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.run.folder.claim import LOCK, MARK
from trainers.run.folder.folder import remove_items
from trainers.run.main import main

ROOT = Path(__file__).parents[4]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TINY = ["--smoke", "--threads", "1", "--train-samples", "20", "--test-samples", "10"]
NOTHING = ["--data", "npz:/nonexistent.npz"]
JOBS = [
    ["rounds"], ["attack", "--weights", "w"], ["evaluate", "--weights", "w"], ["compress", "fit"],
    ["compress", "encode"], ["compress", "decode"], ["compress", "evaluate"],
]  # fmt: skip
ATTACK = ["attack", *TINY]


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

    monkeypatch.setattr("trainers.run.job_context.load_dataset", load)
    assert main(["rounds", *TINY, "--run-dir", str(folder)]) == 2
    kept = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert kept == ["notes.txt", "tensorboard", "tensorboard/events.mine"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two attacks that was stopped after the first."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    from trainers.jobs import evaluate as evaluating

    real = evaluating.measure_resumable

    def stop(setting: object, trial: object, **options: object) -> object:
        if trial.name == "pgd":  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return real(setting, trial, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluating, "measure_resumable", stop)
        assert main([*EVALUATE, "--run-dir", str(folder)]) == 130
    return folder


@pytest.fixture
def interrupted(stopped: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


QUICK = ["--curve", "none", "--masking-samples", "0"]
EVALUATE = ["evaluate", *TINY, *QUICK, "--attacks", "fgsm", "pgd"]


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


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_folder_that_is_another_run_s_by_now_is_left_to_it(
    stopped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made_anew: bool,
) -> None:
    from trainers.evaluate import measure_resumable as measure

    folder, real = tmp_path / "run", measure.attack_batches

    def moved(*args: object, **options: object) -> Iterator[object]:
        for batch in real(*args, **options):  # type: ignore[arg-type]
            folder.rename(tmp_path / "elsewhere")
            if made_anew:
                shutil.copytree(stopped, folder)
            yield batch

    monkeypatch.setattr(measure, "attack_batches", moved)
    assert main([*EVALUATE, "--seed", "1", "--run-dir", str(folder)]) == 1
    shown = capsys.readouterr()
    assert f"{folder} was removed, moved or made anew while this run worked" in shown.err
    assert "--resume" not in shown.out
    assert folder.exists() == made_anew
    if made_anew:
        names = [sorted(str(p.relative_to(r)) for p in r.rglob("*")) for r in (folder, stopped)]
        assert names[0] == names[1]
        assert (folder / "status.json").read_bytes() == (stopped / "status.json").read_bytes()
    monkeypatch.setattr(measure, "attack_batches", real)
    assert main(["--resume", str(tmp_path / "elsewhere")]) == 0  # as the message says


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
    (tmp_path / "run/inputs.json").write_text("{}")
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


@pytest.mark.slow
def test_runs_of_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trainers.run.session.time.strftime", lambda *_: "20250101-000000")
    for seed in "123":
        assert main([*EVALUATE[:-1], "--seed", seed]) == 0
    names = ["20250101-000000-evaluate", "20250101-000000-evaluate-2", "20250101-000000-evaluate-3"]
    assert sorted(os.listdir("runs")) == names


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
def test_a_folder_that_is_read_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


@pytest.mark.parametrize("job", [["attack"], ["compress", "encode"]], ids=" ".join)
def test_a_run_folder_in_the_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: list[str]
) -> None:
    flat, split = tmp_path / "flat", tmp_path / "split"
    for name in (
        "0.png",
        "1.png",
        "train/a/2.png",
        "train/b/3.png",
        "test/a/4.png",
        "test/b/5.png",
    ):
        file = (split if "/" in name else flat) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 9 * len(name), np.uint8)).save(file)
    before = sorted(tmp_path.rglob("*"))
    for data, place in ((flat, "flat/run"), (split, "split/test/a/run"), (tmp_path, "run")):
        words = [*job, *TINY, "--data", f"imagefolder:{data}", "--run-dir", str(tmp_path / place)]
        assert main(words) == 2
        assert f"{place} is in the data folder {data}, where" in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before
    beside = [*job, *TINY, "--data", f"imagefolder:{split}", "--run-dir", str(split / "run")]
    assert "is in the data folder" not in (main(beside), capsys.readouterr().err)[1]


def test_hard_linked_copies_are_left(interrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(interrupted, tmp_path / "copy", copy_function=os.link)
    before = {file: file.read_bytes() for file in (tmp_path / "copy").rglob("*") if file.is_file()}
    assert main(["--resume", str(interrupted)]) == 0
    assert {file: file.read_bytes() for file in before} == before


def test_a_finished_run_misses_no_file_of_the_user_s(
    interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (interrupted / "notes.txt").write_text("mine")
    shutil.copytree(interrupted, interrupted.parent / "other")
    (interrupted.parent / "other").rename(interrupted / "other")
    assert main(["--resume", str(interrupted)]) == 0
    (interrupted / "notes.txt").unlink()
    shutil.rmtree(interrupted / "other")
    capsys.readouterr()
    assert main(["--resume", str(interrupted)]) == 0
    assert "is finished; its outcome" in capsys.readouterr().out


def test_a_factory_that_changes_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(
        "import os\nfrom torch import nn\nos.chdir('elsewhere')\n"
        "def make(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", *TINY, "--attacks", "fgsm", "--model", "net.py:make"]
    assert main([*words, "--run-dir", "run"]) == 0
    assert (os.listdir("elsewhere"), Path("run/summary.json").exists()) == ([], True)


@pytest.mark.parametrize("name", ["checkpoints/round-001", "codes/a/b", "figures"])
def test_a_run_among_the_files_of_another_is_refused(
    interrupted: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = snapshot(interrupted)
    assert main([*EVALUATE, "--run-dir", str(interrupted / name)]) == 2
    assert f"is in {interrupted / Path(name).parts[0]}, where the run" in capsys.readouterr().err
    assert snapshot(interrupted) == before


def test_items_of_a_run_within_a_round_stay(interrupted: Path, tmp_path: Path) -> None:
    round_ = tmp_path / "rounds/checkpoints/round-001"
    (round_ / "lead").mkdir(parents=True)
    (round_ / "lead/00000.safetensors").write_text("ours")
    shutil.copytree(interrupted, round_ / "mine")
    before = snapshot(round_ / "mine")
    remove_items(round_)
    assert snapshot(round_ / "mine") == before
    assert os.listdir(round_) == ["mine"]


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


# One process imports all modules, then forks a child for each start: a start costs nothing.
STARTS = """
import os, shutil, signal, sys, time
import trainers.jobs.evaluate, trainers.run.session
from trainers.run.main import main
root, words = sys.argv[1], sys.argv[2:]

def start(folder, words, at=0):
    child = os.fork()
    if child == 0:
        while time.time() < at: pass
        os._exit(main([*words, "--run-dir", folder]))
    return child

def end(child): return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def race(folder, count, words):
    at = time.time() + 0.1
    return sorted(end(child) for child in [start(folder, words, at) for _ in range(count)])

print("won", race(f"{root}/runs/a", 3, words), os.path.exists(f"{root}/runs/a/summary.json"))
for _ in range(4):
    codes = race(f"{root}/no/b", 3, ["rounds", "--data", "npz:/nonexistent.npz"])
    left = [name for *_, files in os.walk(f"{root}/no") for name in files]
    print("refused", set(codes) <= {2, 3}, left in ([], [".lock"]))
    shutil.rmtree(f"{root}/no", ignore_errors=True)
for number in range(5):  # however early the kill, the folder is still one to go on in
    folder = f"{root}/kill-{number}"
    child = start(folder, words)
    while not os.path.exists(folder): pass
    time.sleep(number / 2000)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    child = start(folder, ["--resume", "auto", "rounds", "--data", "npz:/nonexistent.npz"][2:])
    print("killed", end(child))
"""


@pytest.mark.multiprocess
@pytest.mark.slow
def test_processes_that_make_one_folder_at_once(tmp_path: Path) -> None:
    """One works there; where all are refused, nothing but an empty folder is left.

    The kills guard: however early one comes, the folder is still known as a run's.
    """
    done = subprocess.run(
        [sys.executable, "-c", STARTS, str(tmp_path), *EVALUATE[:-1]],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith(("won", "ref", "kill"))]
    assert lines == ["won [0, 2, 2] True", *["refused True True"] * 4, *["killed 3"] * 5]
