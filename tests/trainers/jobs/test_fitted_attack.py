"""The job `attack` with attacks that are fitted first, from the command line to their files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainers.jobs.fitted_attack as module
from attacks import FITTED, load_fitted
from augment import load_dataset
from tests.slow_but import slow_but
from tests.trainers.watched_progress import moves, watched_progress
from trainers import load_classifier
from trainers.evaluate.evaluation import predict
from trainers.run.errors import Interrupted
from trainers.run.main import main

ON_IMAGES = [name for name in FITTED if not name.startswith("flicker")]  # the rest takes videos
TINY = ["--smoke", "--threads", "1"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    assert main(["evaluate", *TINY, "--attacks", "fgsm", "--run-dir", str(folder)]) == 0
    return folder / "checkpoints" / "classifier.safetensors"


def words(weights: Path, folder: Path, *more: str) -> list[str]:
    return [
        "attack", *TINY, "--test-samples", "20", "--weights", str(weights),
        "--run-dir", str(folder), *more,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ON_IMAGES)
def test_it_is_fitted_to_training_samples_kept_and_used(
    name: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a"
    assert main(words(weights, folder, "--attack", name, "--save-as", "float")) == 0
    summary = json.loads((folder / "summary.json").read_text())
    fitted = load_fitted(folder / f"{name}.safetensors")
    used = {"substitute": 150}.get(name, 200)
    assert summary["fit"] == {
        "file": f"{name}.safetensors", "samples": used, "passes": 3, **fitted.history[-1]
    }  # fmt: skip
    model = load_classifier(
        "smallcnn", num_classes=10, in_channels=1, image_size=8, weights=weights
    )
    x, y = load_dataset("digits", "test", samples=20).stack(range(20))
    with np.load(folder / "samples.npz") as saved:
        x_adv, success = torch.from_numpy(saved["x_adv"]), saved["success"]
    assert torch.equal(torch.from_numpy(success), predict(model, x_adv).argmax(1) != y)
    assert float((x_adv - x).abs().max()) > 0
    if name != "atn":  # whose targets are drawn with the run's seed
        assert torch.equal(fitted(model, x, y).x_adv, x_adv)
    shown = capsys.readouterr().out
    assert f"{name} was fitted to {used} training samples in 3 passes: " in shown
    assert f"beside it {name}.safetensors" in shown
    assert f"was fitted to {used}" in (folder / "report.html").read_text()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = [line["name"] for line in lines]
    assert names == ["fit/pass-001", "fit/pass-002", "fit/pass-003", "summary"]
    assert not (folder / "checkpoints" / "fit.safetensors").exists()


def outcome(folder: Path, without_seconds: Callable[[Any], Any]) -> dict[str, Any]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    files = [*folder.glob("*.safetensors"), folder / "samples.npz", folder / "scores.csv"]
    return {
        "summary": without_seconds(json.loads((folder / "summary.json").read_text())),
        "metrics": without_seconds([json.loads(line) for line in lines]),
        "files": {file.name: file.read_bytes() for file in files},
        "left": [file.name for file in folder.rglob("fit.safetensors")],
    }


@pytest.mark.parametrize("name", slow_but(ON_IMAGES[:1], ON_IMAGES))
def test_a_fit_goes_on_after_its_last_pass(
    name: str,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_seconds: Callable[[Any], Any],
) -> None:
    plain, stopped = tmp_path / "plain", tmp_path / "stopped"
    assert main(words(weights, plain, "--attack", name)) == 0
    save, passes = module.save_tensors, []

    def interrupting(*args: Any) -> None:
        save(*args)
        passes.append(len(args[2]))
        if len(passes) == 2:
            raise Interrupted(15)

    monkeypatch.setattr(module, "save_tensors", interrupting)
    assert main(words(weights, stopped, "--attack", name)) == 128 + 15
    assert main(words(weights, stopped, "--attack", name)) == 0
    assert passes == [1, 2, 3]
    assert outcome(stopped, without_seconds) == outcome(plain, without_seconds)


@pytest.mark.slow
@pytest.mark.multiprocess
def test_three_kills_change_nothing(
    weights: Path, hunt: Any, without_seconds: Callable[[Any], Any]
) -> None:
    line = [
        "attack", *TINY, "--test-samples", "40", "--batch-size", "16", "--weights", str(weights),
        "--attack", "atn:passes=8",
    ]  # fmt: skip
    found = hunt(line, 3)
    assert outcome(found.hunted, without_seconds) == outcome(found.plain, without_seconds)
    assert found.struck >= 1


def test_a_kill_between_the_file_and_its_state_leaves_nothing_behind(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"

    def interrupted(*_: Any) -> None:
        raise Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr(module, "load_fitted", interrupted)
        assert main(words(weights, folder, "--attack", "universal")) == 128 + 15
    (folder / "checkpoints" / "fit.safetensors").write_bytes(b"what a kill left")
    assert main(words(weights, folder, "--attack", "universal")) == 0
    assert not (folder / "checkpoints" / "fit.safetensors").exists()


def test_a_target_is_fitted_for(weights: Path, tmp_path: Path) -> None:
    line = words(weights, tmp_path / "a", "--attack", "universal", "--eps", "0.5", "--target", "3")
    with watched_progress() as told:
        assert main(line) == 0
    assert moves(told["fit the attack"])
    assert load_fitted(tmp_path / "a" / "universal.safetensors").target == 3  # type: ignore[attr-defined]
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["success"] > 0.3


@pytest.mark.slow
def test_a_transformer_sends_new_digits_to_its_class(weights: Path, tmp_path: Path) -> None:
    line = words(weights, tmp_path / "a", "--attack", "atn:passes=12,lr=0.003", "--target", "3")
    assert main([*line, "--test-samples", "60"]) == 0
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["success"] > 0.7  # a tenth are threes as they are
    assert summary["queries"] == 1


@pytest.mark.slow
def test_a_file_is_an_attack_for_every_job(weights: Path, tmp_path: Path) -> None:
    exact = ["--save-as", "float"]
    assert (
        main(words(weights, tmp_path / "a", "--attack", "universal", "--eps", "0.3", *exact)) == 0
    )
    first = json.loads((tmp_path / "a" / "summary.json").read_text())
    file = str(tmp_path / "a" / "universal.safetensors")
    assert main(words(weights, tmp_path / "b", "--attack", file, *exact)) == 0
    second = json.loads((tmp_path / "b" / "summary.json").read_text())
    assert second["success"] == first["success"]
    assert "fit" not in second
    line = ["evaluate", *TINY, "--test-samples", "20", "--weights", str(weights)]
    assert main([*line, "--attacks", "fgsm", file, "--run-dir", str(tmp_path / "e")]) == 0
    table = json.loads((tmp_path / "e" / "summary.json").read_text())["attacks"]
    assert table[file]["success"] == first["success"]


@pytest.mark.slow
def test_the_attack_on_a_substitute_takes_the_flags_it_has_no_option_for(
    weights: Path, tmp_path: Path
) -> None:
    line = ["--attack", "substitute:attack=pgd:steps=4,samples=30", "--eps", "0.25"]
    assert main(words(weights, tmp_path / "a", *line)) == 0
    attack = load_fitted(tmp_path / "a" / "substitute.safetensors").attack  # type: ignore[attr-defined]
    assert (attack.eps, attack.steps) == (0.25, 4)
    assert main(words(weights, tmp_path / "b", "--attack", "substitute")) == 0
    attack = load_fitted(tmp_path / "b" / "substitute.safetensors").attack  # type: ignore[attr-defined]
    assert (type(attack).__name__, attack.eps) == ("FGSM", 0.1)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--attack", "universal:epss=1"], 2, "the attack universal has no option 'epss'"),
        (["--attack", "universal", "--steps", "3"], 2, "universal has no option 'steps'"),
        (["--attack", "universal:eps=8"], 2, "write 8 of 255 as 8/255"),
        (["--attack", "universal:target=2", "--target", "3"], 2, "--attack has target=2"),
        (["--attack", "atn", "--eps", "0.1"], 2, "the attack atn has no option 'eps'"),
        (["--attack", "substitute:attack=fgms"], 2, "did you mean fgsm?"),
        (["--attack", "substitute", "--steps", "3"], 2, "fgsm has no option 'steps'"),
        (["--attack", "substitute:budget=100"], 2, "the first 150 samples cost a label each"),
        (["--attack", "universal:norm=l2"], 2, "give --norm l2 instead, or an eps beside it"),
        (["--attack", "universl"], 2, "did you mean universal? allowed: fgsm"),
        (["--attack", "fooling"], 2, "fooling needs a class to reach; give --target CLASS"),
        (["--attack", "none.safetensors"], 3, "none.safetensors does not hold a fitted attack"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    more: list[str],
    code: int,
    message: str,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(words(weights, tmp_path / "a", *more)) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_jobs_that_fit_nothing_name_the_one_that_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for job in ("evaluate", "rounds"):
        assert main([job, *TINY, "--attacks", "atn", "--run-dir", str(tmp_path / job)]) == 2
        assert "`attack --attack atn` does it" in capsys.readouterr().err


def test_a_file_takes_no_options(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(weights, tmp_path / "a", "--attack", "universal")) == 0
    file = str(tmp_path / "a" / "universal.safetensors")
    assert main(words(weights, tmp_path / "b", "--attack", file, "--eps", "0.2")) == 2
    assert "has no option 'eps'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["flicker", "flicker-universal", "keyframe", "keyframe-square"])
def test_an_attack_on_videos_is_refused_for_images_before_any_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attack", "--attack", name, *TINY, "--run-dir", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err
    assert f"the attack {name} is for videos and digits holds images" in error
    assert "fitting a classifier" not in error
    if name == "flicker-universal":
        return  # the other jobs have no use for it
    for job, options in (("evaluate", ["fgsm", name]), ("rounds", ["pgd", name])):
        words = [job, "--attacks", *options, *TINY, "--run-dir", str(tmp_path / job)]
        more = ["--attack-samples", "pgd=8"] if job == "rounds" else []
        assert main([*words, *more]) == 2
        assert f"the attack {name} is for videos" in capsys.readouterr().err
        assert not list((tmp_path / job).glob("checkpoints/*"))
