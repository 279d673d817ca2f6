"""How many of our files an attack walks through: a reader has to open as many."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import attacks
from attacks import APGD, CW, FMN, PGD, DeepFool, Square

ROOT = Path(attacks.__file__).parents[1]
PACKAGES = tuple(str(ROOT / name) for name in ("attacks", "augment", "compress", "trainers"))


def files_run(work):
    """The files of the packages whose functions run during a call."""
    seen = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGES):
            seen.add(str(Path(frame.f_code.co_filename).relative_to(ROOT)))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen


@pytest.fixture
def small():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)
    )
    x = torch.rand(4, 3, 8, 8)
    return model.eval(), x, model(x).argmax(1)


@pytest.mark.parametrize(
    ("attack", "most"),
    [(PGD(), 9), (DeepFool(), 10), (FMN(), 10), (CW(), 10), (APGD(), 10), (Square(queries=50), 10)],
    ids=lambda value: type(value).__name__,
)
def test_a_walk_through_an_attack_is_short(attack, most, small):
    files = files_run(lambda: attack(*small))
    assert any("batch_attack.py" in file for file in files)  # they are seen at all
    assert len(files) <= most, sorted(files)
