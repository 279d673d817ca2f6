"""How many of our files an attack or the codec walks through: a reader has to open as many."""

import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch
from torch import nn

import attacks
from attacks import APGD, CW, FMN, PGD, DeepFool, Square
from compress import Codec

ROOT = Path(attacks.__file__).parents[1]
NAMES = ("attacks", "augment", "compress", "explain", "trainers")
PACKAGES = tuple(str(ROOT / name) for name in NAMES)


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


@pytest.mark.parametrize(
    "options", [{}, {"embed_tables": True, "bytes_per_sample": 20.0}], ids=["step", "bytes"]
)
@pytest.mark.parametrize("kind", ["x", "delta"])
def test_a_walk_through_encoding_is_short(options, kind, small):
    _, x, _ = small
    more = {"x_adv": x.flip(0)} if kind == "delta" else {}
    codec = Codec.fit(x, kind=kind, **more)
    files = files_run(lambda: codec.encode(x, kind=kind, **more, **options))
    assert "compress/entropy/rans.py" in files  # they are seen at all
    assert len(files) <= 16, sorted(files)


def calls_made(work):
    """The files whose functions call functions of each file of the packages."""
    callers = defaultdict(set)

    def place(frame):
        while frame and not frame.f_code.co_filename.startswith(PACKAGES):
            frame = frame.f_back  # what a library calls is called by who called the library
        return frame and str(Path(frame.f_code.co_filename).relative_to(ROOT))

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGES):
            callers[place(frame)].add(place(frame.f_back))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return {file: found - {file, None} for file, found in callers.items()}


@pytest.mark.parametrize(
    "options", [{}, {"embed_tables": True, "names": "abcd"}], ids=["x", "more"]
)
def test_encoding_calls_in_one_direction(options, small):
    _, x, _ = small
    codec = Codec.fit(x)
    callers = calls_made(lambda: codec.encode(x, **options))
    assert "compress/codec.py" in callers["compress/file_format.py"]
    assert callers["compress/codec.py"] == set()
    TopologicalSorter(callers).prepare()  # raises where two files call each other


def test_two_files_that_call_each_other_are_seen(small):
    _, x, _ = small
    codec = Codec.fit(x)
    with pytest.raises(CycleError):  # the search for a step calls the codec that called it
        TopologicalSorter(calls_made(lambda: codec.encode(x, bytes_per_sample=20.0))).prepare()
