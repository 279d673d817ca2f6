"""Any file of a run may be gone: resumed, the run makes it again, equal to the byte."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slow_but import slow_but
from tests.soak.folders import differences
from trainers.run.main import main

TINY = ["--smoke", "--threads", "1", "--train-samples", "24", "--batch-size", "8", "--epochs", "1"]
JOBS = {
    "rounds": [
        "rounds", *TINY, "--test-samples", "20", "--rounds", "2", "--patience", "0",
        "--retrain-epochs", "1", "--attacks", "pgd:steps=2", "--attack-samples", "pgd=16",
        "--augmentation", "none", "--test-attacks", "fgsm",
    ],
    "attack": ["attack", *TINY[:3], "--test-samples", "20", "--batch-size", "8", "--attack", "pgd"],
    "evaluate": ["evaluate", *TINY[:3], "--test-samples", "20", "--batch-size", "8", "--attacks",
                 "fgsm"],
}  # fmt: skip
GONE = {
    "rounds": [
        "checkpoints/round-001.safetensors checkpoints/round-002.json",
        "bank/round001-pgd-0-00000.rank000.1of1.safetensors",
        "bank/round001-pgd-0-00001.rank000.1of1.safetensors checkpoints/round-001.safetensors "
        "checkpoints/round-001.json",
        "bank/reviews.jsonl",
        "figures/round-001/sample-3.png",
        "figures/round-001/failure-1.png report.html summary.json",
        "checkpoints/round-001-features.safetensors tensorboard",
        "figures/looked-at.png",
        "checkpoints/looked-at.safetensors",
        "metrics.jsonl status.json",
        "checkpoints/round-000.json",
        "checkpoints/round-000.safetensors",
    ],
    "attack": [
        "checkpoints/attack/00000.safetensors",
        "checkpoints/samples/00001.safetensors",
        "checkpoints/samples/00000.safetensors checkpoints/samples/00002.safetensors",
        "checkpoints/classifier.safetensors",
        "figures/attack-loss.png",
        "samples.npz scores.csv samples/00003-*.png",
        "summary.json",
        "tensorboard",
    ],
    "evaluate": [
        "checkpoints/test-fgsm/00000.safetensors",
        "checkpoints/test-fgsm/00001.safetensors checkpoints/classifier.safetensors",
        "summary.json report.html metrics.jsonl",
    ],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("finished") / "run-of-it"
            assert main([*JOBS[name], "--run-dir", str(made[name])]) == 0
        return made[name]

    return run


def without(folder: Path, names: str, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    for name in names.split():
        gone = [file for file in copy.glob(name)]
        assert gone, name
        for file in gone:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    return copy


QUICK = 1  # of each job: the others are for the slow suite
CASES = slow_but(
    [(job, names) for job, lines in GONE.items() for names in lines[:QUICK]],
    [(job, names) for job, lines in GONE.items() for names in lines],
)


@pytest.mark.parametrize(("job", "names"), CASES)
def test_a_finished_run_makes_again_what_is_gone(
    finished: Callable[[str], Path], job: str, names: str, tmp_path: Path
) -> None:
    whole = finished(job)
    folder = without(whole, names, tmp_path / "run-again")
    assert main([*JOBS[job], "--run-dir", str(folder)]) == 0
    assert differences(whole, folder) == []


def test_what_is_whole_is_not_made_again(
    finished: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "checkpoints/round-001.safetensors figures/round-002/sample-1.png"
    folder = without(finished("rounds"), names, tmp_path / "run-again")
    fits: list[int] = []
    from trainers.fit import fit_or_load

    real = fit_or_load.fit_classifier

    def counted(*args: object, **more: object) -> object:
        fits.append(1)
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(fit_or_load, "fit_classifier", counted)
    rows = json.loads((folder / "summary.json").read_text())["rounds"]
    assert main(["--resume", str(folder)]) == 0
    again = json.loads((folder / "summary.json").read_text())["rounds"]
    assert len(fits) == 1
    assert again[:2] == rows[:2]  # their seconds too: nothing was measured again


def test_a_finished_run_of_which_nothing_is_gone_only_shows_its_outcome(
    finished: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished("attack") / "status.json").read_bytes()
    assert main(["--resume", str(finished("attack"))]) == 0
    assert "is finished; its outcome" in capsys.readouterr().out
    assert (finished("attack") / "status.json").read_bytes() == before


@pytest.mark.slow
def test_a_judge_is_not_fitted_from_the_classifier_of_a_killed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill comes between the classifier's file and the removal of its running state."""
    words = [
        "compress", "evaluate", "--smoke", "--threads", "1", "--train-samples", "300",
        "--rates", "10", "--peers", "--kinds", "x",
    ]  # fmt: skip
    whole, folder = tmp_path / "run-of-it", tmp_path / "run-again"
    assert main([*words, "--run-dir", str(whole)]) == 0
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith("running.safetensors"):
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        assert main([*words, "--run-dir", str(folder)]) == 130
    assert main([*words, "--run-dir", str(folder)]) == 0
    assert differences(whole, folder) == []
