"""Messages say the command that the user typed, and finished runs do not tell to go on."""

import os
import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from tests.slow_but import slow_but
from trainers.jobs.rounds import rounds
from trainers.run.main import main

ROOT = Path(__file__).parents[4]
TINY = ["--smoke", "--threads", "1", "--train-samples", "20", "--test-samples", "10"]
ROUNDS = ["rounds", *TINY, "--epochs", "1", "--attacks", "pgd", "--attack-samples", "pgd=10"]
STARTS = {
    "/usr/bin/sparring": "sparring",
    "train.py": "python train.py",
    "/opt/my tools/train.py": "python '/opt/my tools/train.py'",
    "/usr/bin/pytest": "python train.py",
}


@pytest.mark.parametrize("script", slow_but(("/usr/bin/sparring", "train.py"), STARTS))
def test_everything_names_the_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    folder, command = tmp_path / "my run", STARTS[script]
    name = "sparring" if command == "sparring" else "train.py"
    other = "train.py" if name == "sparring" else "sparring "

    train = rounds.train_round

    def stop(state: rounds.Rounds, number: int) -> None:
        if number:
            raise KeyboardInterrupt
        train(state, number)

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "train_round", stop)
        assert main([*ROUNDS, "--run-dir", str(folder)]) == 130
    shown, advice = capsys.readouterr(), f"{command} --resume '{folder}'"
    assert f"to go on: {advice}\n" in shown.out
    assert shown.err.startswith(f"{name}: ")
    report = unescape((folder / "report.html").read_text())
    assert advice in report
    assert other not in report
    assert (folder / "command.txt").read_text().startswith(f"{command} rounds ")
    # The advice, followed; after that there is nothing to go on with.
    assert main(shlex.split(advice.removeprefix(command))) == 0
    assert "--resume" not in (folder / "report.html").read_text()
    assert "tensorboard --logdir" in (folder / "report.html").read_text()
    assert "--resume" not in capsys.readouterr().out
    for words in (["--help"], ["compress", "--help"], ["attack", "--help"]):
        main(words)
        page = capsys.readouterr().out
        assert page.startswith(f"usage: {name} ")
        assert other not in page


@pytest.mark.parametrize("job", [["attack"], ["evaluate"], ["compress", "fit"]], ids=" ".join)
def test_a_finished_report_does_not_tell_to_go_on(tmp_path: Path, job: list[str]) -> None:
    assert main([*job, *TINY, "--run-dir", str(tmp_path / "run")]) == 0
    assert "--resume" not in (tmp_path / "run/report.html").read_text()


@pytest.mark.slow
def test_advice_given_elsewhere_works_there(tmp_path: Path) -> None:
    """`python /path/train.py` from another folder: what it prints is run as it stands."""
    words = [sys.executable, str(ROOT / "train.py"), *ROUNDS, "--review", "required"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found = re.search(r"to go on: python (.*)\n", done.stdout)
    assert found
    again = subprocess.run(
        [sys.executable, *shlex.split(found[1])],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (again.returncode, "wait for a decision" in again.stderr) == (0, True)
