"""The command `models`, and what the help says of names."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from trainers import load_classifier
from trainers.models import catalogue
from trainers.models.catalogue import list_models
from trainers.models.networks.registry import OURS
from trainers.models.sources.efficientnet_lite import EFFICIENTNETS
from trainers.models.sources.torchvision_models import torchvision_names
from trainers.models.sources.zoo import zoo_names
from trainers.run.main import main

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def table():
    return [line.split() for line in list_models().splitlines()]


def test_every_name_has_a_line_and_builds_what_the_line_says(table):
    names = [line[0] for line in table[1:]]
    assert names[:-4] == [*OURS, *zoo_names(), *EFFICIENTNETS, *torchvision_names()]
    assert len(set(names)) == len(names)
    (line,) = [line for line in table if line[0] == "squeezenet1_1"]
    count = sum(p.numel() for p in load_classifier("squeezenet1_1").parameters())
    assert line[1:4] == ["3x224x224", f"{count:,}", "none,"]
    assert line[-1] == "@IMAGENET1K_V1"
    (line,) = [line for line in table if line[0] == "smallcnn"]
    count = sum(p.numel() for p in load_classifier("smallcnn", num_classes=10).parameters())
    assert f"{count:,}" in line


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ([], "not installed: python -m pip install timm"),
        (["timm"], "`models timm:` lists the names"),
    ],
)
def test_it_says_which_packages_are_there(monkeypatch, there, said):
    names = [SimpleNamespace(name=name) for name in there]
    monkeypatch.setattr(catalogue, "distributions", lambda: names)
    lines = list_models().splitlines()
    assert next(line for line in lines if line.startswith("timm:NAME")).endswith(said)


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["models", "wrn"], 0, "wrn-28-10", ""),
        (["models", "zoo:"], 0, "linf 0.1 on digits", ""),
        (["models", "nobodys"], 2, "", "no model has 'nobodys' in its name"),
        (["models", "a", "b"], 2, "", "models takes one word, and got a b"),
        (["models", "--smoke"], 2, "", "models takes one word"),
        (["model"], 2, "", "there is no job 'model'; did you mean models?"),
    ],
)
def test_the_command(capsys, words, code, out, err):
    assert main(words) == code
    seen = capsys.readouterr()
    assert out in seen.out
    assert err in seen.err


def test_the_packages_names_are_listed_when_asked_for(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert main(["models", "timm:"]) == 3
    assert "pip install timm" in capsys.readouterr().err


def test_the_help_loads_no_torch():
    script = (
        "import sys; from trainers.run.main import main; main(['models', '--help']); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "models [WORD]" in done.stdout


@pytest.mark.parametrize("job", ["fit", "attack"])
def test_the_help_of_jobs_names_what_model_takes(job, capsys):
    assert main([job, "--help"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    for name in ("wrn-28-10", "preactresnet18", "zoo:NAME", "timm:NAME", "resnet50@IMAGENET1K_V2"):
        assert name in page, name


def test_the_same_seed_gives_the_same_weights():
    for name in ("wrn-10-1", "preactresnet18-silu", "dense-memory"):
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(load_classifier(name, in_channels=1).state_dict())
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
