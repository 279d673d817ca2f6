"""Classifiers that answer NaN to some samples: what the jobs say of them is JSON, and adds up."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainers.run.main import main

MODEL = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(64, classes)

    def forward(self, x):
        odd = x.flatten(1)[:, 20] > 0.5
        return torch.where(odd[:, None], torch.nan, self.layer(x.flatten(1)))

def odd(num_classes=10):
    torch.manual_seed(0)
    return Odd(num_classes)
"""


def strict(file: Path) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(file.read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    "words",
    [
        ["attack", "--attack", "pgd:steps=2"],
        ["evaluate", "--attacks", "fgsm", "square:queries=5", "--batch-size", "8"],
    ],
)
def test_summaries_are_json_and_count_the_samples(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(MODEL)
    folder = tmp_path / "run"
    given = ["--model", f"{tmp_path / 'm.py'}:odd", "--train-samples", "24", "--threads", "1"]
    code = main([*words, *given, "--smoke", "--test-samples", "20", "--run-dir", str(folder)])
    assert code == 0
    summary = strict(folder / "summary.json")
    counted = [text for text in summary["warnings"] if "non-finite logits" in text]
    assert len(counted) == (2 if words[0] == "evaluate" else 1)
    assert all(f"of {summary['samples']} samples gave" in text for text in counted)
