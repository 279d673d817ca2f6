"""Models from users' factories that answer, compute or are written in other ways than ours."""

import json

import numpy as np
import pytest
import torch

from attacks.errors import RefusedInput
from tests.slow_but import slow_but
from trainers import load_classifier
from trainers.models import BinaryLogits
from trainers.run.main import main

FACTORY = """
import collections
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(144, num_classes)
    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().flatten(1))

Output = collections.namedtuple("Output", "loss logits")

class Named(Plain):
    def forward(self, x):
        return Output(None, super().forward(x))

class Dict(Plain):
    def forward(self, x):
        return {"loss": None, "logits": super().forward(x)}

class Tuple(Plain):
    def forward(self, x):
        return super().forward(x), x

class TupleInTraining(Plain):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, x) if self.training else logits

class InPlace(Plain):
    def forward(self, x):
        return super().forward(x.sub_(0.5).div_(0.25))

class NamedSingle(Plain):
    def __init__(self):
        super().__init__(1)
    def forward(self, x):
        return Output(None, super().forward(x))

def half():
    return Plain().half()

def bf16():
    return Plain().bfloat16()

def double():
    return Plain().double()

def traced():
    return torch.jit.trace(Plain().eval(), torch.zeros(1, 1, 8, 8))

def scripted():
    return torch.jit.script(Plain())

def frozen():
    return torch.jit.freeze(torch.jit.script(Plain().eval()))
"""
FITTED = ("Plain", "Named", "Dict", "Tuple", "TupleInTraining", "InPlace")
SCRIPTS = ("traced", "scripted", "frozen")
PRECISE = ("half", "bf16", "double")


@pytest.fixture
def factory(tmp_path):
    (tmp_path / "foreign_models.py").write_text(FACTORY)
    return f"{tmp_path}/foreign_models.py"


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 24)
    x = (rng.random((24, 8, 8)) * 0.2 + 0.25 * y[:, None, None]).astype(np.float32)
    np.savez(tmp_path / "three.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return f"npz:{tmp_path}/three.npz"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", slow_but(("Plain", "traced"), [*FITTED, *SCRIPTS, *PRECISE]))
def test_the_jobs_take_it(factory, samples, tmp_path, name):
    common = ["--data", samples, "--model", f"{factory}:{name}", "--smoke", "--threads", "1"]
    words = ["evaluate", *common, "--attacks", "pgd", "--run-dir", str(tmp_path / "e")]
    words += ["--mean", "0.4", "--std", "0.3"]
    if name in FITTED:
        words = ["rounds", *common, "--rounds", "1", "--attacks", "pgd", "--epochs", "1"]
        words += ["--run-dir", str(tmp_path / "e")]
    assert main(words) == 0
    assert json.loads((tmp_path / "e" / "summary.json").read_text())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["Plain", "half", "bf16", "double", "traced", "scripted"])
def test_it_takes_weights(factory, tmp_path, name):
    plain = load_classifier(f"{factory}:Plain")
    torch.save({"state_dict": plain.state_dict()}, tmp_path / "w.pt")
    model = load_classifier(
        f"{factory}:{name}", weights=tmp_path / "w.pt", image_size=8, in_channels=1
    )
    x = torch.rand(2, 1, 8, 8)
    kind = next(model.parameters()).dtype
    close = {"atol": 0.05, "rtol": 0.05} if kind in (torch.half, torch.bfloat16) else {}
    torch.testing.assert_close(model(x.to(kind)).float(), plain(x), **close)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_frozen_script_says_that_it_takes_no_weights(factory, tmp_path):
    torch.save(load_classifier(f"{factory}:Plain").state_dict(), tmp_path / "w.pt")
    with pytest.raises(RefusedInput, match=r"w\.pt does not fit"):
        load_classifier(f"{factory}:frozen", weights=tmp_path / "w.pt")


def test_a_single_logit_within_an_output_is_unwrapped(factory):
    model = load_classifier(f"{factory}:NamedSingle", binary=True, image_size=8, in_channels=1)
    assert isinstance(model, BinaryLogits)
    with pytest.raises(RefusedInput, match=r"single logit.*--binary"):
        load_classifier(f"{factory}:NamedSingle", image_size=8, in_channels=1)
