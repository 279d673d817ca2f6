"""What a user hears who asks for something impossible: one sentence, a code, nothing left."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.run.cli.specs.attacks import build_attack
from trainers.run.main import main
from trainers.run.show.outcome import attacks_table

ROOT = Path(__file__).parents[3]
TINY = ["--smoke", "--threads", "1", "--train-samples", "20", "--test-samples", "10"]
SHORT = [*TINY, "--epochs", "1", "--attacks", "pgd", "--attack-samples", "pgd=10"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
FACTORIES = """
import sys
from torch import nn
def good(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
def deep(): raise ValueError("depth must be 6n + 4")
def leaves(): sys.exit(5)
def verbose(): raise RuntimeError("two\\nlines")
"""


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command line; return its code and its one sentence."""
    code = main(words)
    sentence = capsys.readouterr().err
    assert sentence.startswith("train.py: ")
    assert sentence.count("\n") == 1
    return code, sentence


def start(*words: str, **options: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "train.py", *words],
        cwd=ROOT, env=ENVIRONMENT, text=True, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eps", "inf"], "--eps is inf; allowed: finite numbers"),
        (["--lr", "inf"], "--lr is inf; allowed: finite numbers"),
        (["--mean", "nan", "--std", "1"], "--mean is nan; allowed: finite numbers"),
        (["--ema", "1"], "--ema is 1; allowed: below 1"),
        (["--label-smoothing", "1"], "--label-smoothing is 1; allowed: below 1"),
        (["--mean", "0.5", "--std", "0"], "--std is 0; allowed: above 0"),
        (["--seed", str(10**23)], f"--seed is {10**23}; allowed: at most {2**63 - 1}"),
    ],
)
def test_impossible_numbers_are_refused_before_work(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, sentence = refused(capsys, *words, "--print-config")
    assert (code, sentence) == (2, f"train.py: {message}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:eps=8", r"pgd: eps is 8; allowed: at most 1, .*8/255"),
        ("pgd:eps=nan", "pgd: eps is nan; allowed: finite numbers of at least 0"),
        ("fgsm:eps=-1", "fgsm: eps is -1; allowed"),
        ("pgd:steps=1,steps=2", "pgd:steps is given 2 times; give it once"),
        ("pgd:step-sizes=1", "no option 'step_sizes'; it has: .*step_size"),
    ],
)
def test_attacks_as_text_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_attack(text)


def test_options_of_attacks_may_have_hyphens_and_spaces() -> None:
    assert build_attack("generator:top-k=3, steps = 9") == build_attack("generator:top_k=3,steps=9")
    assert build_attack("pgd:norm=l2,eps=8").norm == "l2"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("deep", "failed with ValueError: depth must be 6n + 4; repair it"),
        ("leaves", "failed with SystemExit: 5; repair it"),
        ("verbose", "failed with RuntimeError: two lines; repair it"),
    ],
)
def test_a_factory_that_fails_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], factory: str, message: str
) -> None:
    (tmp_path / "net.py").write_text(FACTORIES)
    model = f"{tmp_path}/net.py:{factory}"
    folder = tmp_path / "run"
    code, sentence = refused(
        capsys, "attack", *TINY[:3], "--model", model, "--run-dir", str(folder)
    )
    assert code == 3
    assert f"{model} {message}" in sentence
    assert not folder.exists()


def test_a_file_without_a_factory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--smoke", "--model", "net.py", "--run-dir", str(tmp_path / "run")]
    code, sentence = refused(capsys, *words)
    assert (code, "name its factory too: net.py:NAME" in sentence) == (2, True)


def images(folder: Path, *, classes: int, each: int = 3) -> None:
    for split in ("train", "test"):
        for label in range(classes):
            (folder / split / str(label)).mkdir(parents=True)
            for i in range(each):
                pixels = np.full((8, 8, 3), 40 * label + i, np.uint8)
                Image.fromarray(pixels).save(folder / split / str(label) / f"{i}.png")


def test_one_class_is_refused_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "data", classes=1)
    folder = tmp_path / "run"
    words = [*SHORT, "--data", f"imagefolder:{tmp_path}/data", "--run-dir", str(folder)]
    code, sentence = refused(capsys, *words)
    assert code == 3
    assert "imagefolder has one class (0)" in sentence
    assert not folder.exists()


def test_many_broken_images_are_counted_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "data", classes=2)
    for i in range(30):
        (tmp_path / f"data/test/0/broken{i:02}.png").write_bytes(b"broken")
    folder = tmp_path / "run"
    words = [*SHORT, "--test-samples", "99", "--rounds", "0", "--run-dir", str(folder)]
    assert main([*words, "--data", f"imagefolder:{tmp_path}/data"]) == 0
    shown, kept = capsys.readouterr().out, (folder / "log.txt").read_text()
    assert (shown.count("/0/broken"), kept.count("/0/broken")) == (10, 30)
    assert "left out 20 more files, 30 in all; the run's log.txt names them" in shown
    assert all(f"broken{i:02}.png" in kept for i in range(30))


def test_an_evaluation_without_a_success_has_a_table() -> None:
    nothing = {"robust_accuracy": 0.0, "success": None, "median_l2": None, "queries": 2.0}
    summary = {"attacks": {"pgd": nothing | {"seconds": 1.0}}, "clean_accuracy": 0, "worst_case": 0}
    cells = ["pgd", "none", "0.0%", "-", "-", "-", "2", "1.0"]
    assert attacks_table(summary).splitlines()[1].split() == cells


@pytest.mark.parametrize("below", ["", "/run"])
def test_a_run_folder_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    (tmp_path / "file").write_text("mine")
    code, sentence = refused(capsys, *SHORT, "--run-dir", f"{tmp_path}/file{below}")
    assert code == 2
    assert f"--run-dir {tmp_path}/file{below} cannot be used" in sentence
    assert sentence.endswith("Not a directory); choose another folder\n")
    assert (tmp_path / "file").read_text() == "mine"


def test_debug_keeps_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "-1", "--debug"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("\ntrain.py: --rounds is -1; allowed: at least 0\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_torch_is_loading(tmp_path: Path, number: signal.Signals) -> None:
    process = start(*SHORT, "--run-dir", str(tmp_path / "run"))
    loading = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while "libtorch" not in loading.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert shown == f"train.py: stopped by {number.name}; what was finished is saved\n"


@pytest.mark.slow
def test_a_closed_pipe_does_not_stop_the_work(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start(*SHORT, "--rounds", "0", "--run-dir", str(tmp_path / "run"), stdout=write)
    os.close(write)
    _, shown = process.communicate(timeout=120)
    assert "Logging error" not in shown
    assert "Traceback" not in shown
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.fixture(autouse=True)
def no_handler_is_left() -> Iterator[None]:
    yield
    assert not logging.getLogger("trainers").handlers
