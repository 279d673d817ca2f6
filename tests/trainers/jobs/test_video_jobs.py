"""The jobs on clips, from the command line to their files."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from augment import SampleBank
from augment.datasets.videos.write import write_video
from tests.slow_but import slow_but
from trainers.run.cli.presets import budget, data_preset
from trainers.run.main import main

TINY = [
    "--smoke", "--threads", "1", "--data", "moving-digits", "--train-samples", "36",
    "--test-samples", "12", "--batch-size", "12",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounds") / "run"
    words = ["--epochs", "2", "--attacks", "flicker", "pgd", "--attack-samples", "flicker=12"]
    assert main(["rounds", *TINY, *words, "--run-dir", str(folder)]) == 0
    return folder


def test_rounds_attack_bank_and_show_clips(run: Path) -> None:
    before, after = json.loads((run / "summary.json").read_text())["rounds"]
    assert (before["bank_size"], after["bank_size"]) == (0, 12 + 36)
    assert after["attack"] == "flicker"
    x, _ = SampleBank(run / "bank").stack(range(2))
    assert x.shape == (2, 1, 16, 16, 16)
    with Image.open(run / "figures" / "round-001" / "sample-1.gif") as clips:
        assert clips.n_frames == 16
    assert "data:image/gif" in (run / "report.html").read_text()


def test_files_of_any_name_are_attacked_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = os.fsdecode(b"\xff")  # no UTF-8, as in names from old archives
    folder, run = tmp_path / "data" / "test", tmp_path / "run"
    try:
        (folder / f"a{strange}").mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    for name in (f"a{strange}/0{strange}", "b/0"):
        write_video(folder / f"{name}.mkv", torch.rand(3, 4, 8, 8))
    (folder / "b" / f"bad{strange}.mp4").write_text("no video")
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(768, 2))"
    )
    words = ["--data", f"videofolder:{tmp_path / 'data'}", "--frames", "4", "--clips", "1"]
    words += ["--model", f"{tmp_path / 'net.py'}:build", "--run-dir", str(run), "--threads", "1"]
    assert main(["attack", "--attack", "flicker:steps=1", *words]) == 0
    assert "a\\udcff/0\\udcff.mkv,a\\udcff," in (run / "scores.csv").read_text()
    for said in (capsys.readouterr().out, (run / "log.txt").read_text()):
        assert "bad\\udcff.mp4: no whole video" in said


@pytest.mark.parametrize("attack", slow_but(["keyframe"], ["keyframe", "pgd", "square"]))
def test_evaluate_measures_clips(run: Path, tmp_path: Path, attack: str) -> None:
    weights = str(run / "checkpoints" / "round-001.safetensors")
    words = ["--attacks", attack, "--weights", weights, "--run-dir", str(tmp_path / "e")]
    assert main(["evaluate", *TINY, *words]) == 0
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    assert set(summary["attacks"]) == {attack}
    assert summary["attacks"][attack]["queries"] > 0


def test_videos_have_defaults_of_their_own() -> None:
    options = {"model": None, "norm": "linf", "eps": 0.1, "rounds": 3}
    clips = data_preset(options | {"data": "videofolder:DIR"})
    assert (clips["clips"], clips["stride"], clips["eps"]) == (4, 2, 2 / 255)
    assert "clips" not in data_preset(options | {"data": "moving-digits"})
    for data, epochs in (("videofolder:DIR", 40), ("kinetics:DIR", 40), ("moving-digits", 6)):
        assert data_preset(options | {"data": data, "model": "lrcn"})["epochs"] == epochs
    assert budget("ucf101:DIR:1", "linf") == 2 / 255
    assert budget("imagefolder:DIR", "linf") == 8 / 255
