"""`evaluate` of a classifier that answers at random counts what it answers afterwards."""

import json
from pathlib import Path

import pytest
import torch

from trainers.run.main import main

MODEL = '''
import torch
from torch import nn


class Coin(nn.Module):
    """Right on nine of ten passes, wherever the sample is moved: no attack can do anything."""

    def __init__(self, classes):
        super().__init__()
        self.classes, self.net = classes, nn.Linear(1, 1)

    def forward(self, x):
        wrong = torch.rand(len(x)) < {chance}
        logits = 1e-3 * x.flatten(1)[:, :1] * torch.ones(self.classes) + self.net.bias * 0
        return logits + 5.0 * nn.functional.one_hot(wrong.long(), self.classes)


def build(num_classes):
    return Coin(num_classes)
'''


def evaluate(tmp_path: Path, chance: float) -> dict:
    (tmp_path / "coin.py").write_text(MODEL.format(chance=chance))
    torch.save({"net.weight": torch.zeros(1, 1), "net.bias": torch.zeros(1)}, tmp_path / "w.pt")
    words = ["--attacks", "pgd:steps=10", "--curve", "none", "--masking-samples", "0"]
    words += ["--model", f"{tmp_path / 'coin.py'}:build", "--weights", str(tmp_path / "w.pt")]
    assert main(["evaluate", *words, "--threads", "1", "--run-dir", str(tmp_path / "r")]) == 0
    summary: dict = json.loads((tmp_path / "r/summary.json").read_text())
    return summary


def test_a_lucky_draw_is_no_success(tmp_path: Path) -> None:
    # The model calls every sample 0, but for one pass in ten; ten steps would meet such a pass on
    # most samples, and an attack that counted them would seem to fool two thirds.
    summary = evaluate(tmp_path, 0.1)
    attack = summary["attacks"]["pgd"]
    assert attack["attackable"] > 20
    assert attack["success"] < 0.35
    assert any("asked anew" in text for text in summary["warnings"])
    assert any("answers at random" in text for text in summary["warnings"])


@pytest.mark.slow
def test_others_are_not_asked_anew(tmp_path: Path) -> None:
    summary = evaluate(tmp_path, 0.0)
    assert not any("asked anew" in text for text in summary["warnings"])
    assert not list((tmp_path / "r/checkpoints").glob("answers-*"))
