"""What fails after work began is a failure, and says how to go on; what is refused, is before."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.slow_but import slow_but
from trainers.run.errors import exit_code, sentence
from trainers.run.main import main

ROOT = Path(__file__).parents[3]
TINY = ["--smoke", "--threads", "1", "--test-samples", "20", "--batch-size", "4"]
# A classifier that does something after so many forward passes, as long as a file says so.
NET = """
import torch
from pathlib import Path
from torch import nn
WHERE = Path(__file__).parent

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.calls = nn.Linear(64, 10), 0
        nn.init.eye_(self.linear.weight)
    def forward(self, x):
        self.calls += 1
        if (WHERE / "what").exists() and self.calls > int((WHERE / "after").read_text()):
            exec((WHERE / "what").read_text(), {"torch": torch, "x": x})
        return self.linear(x.flatten(1))

def make(): return Net()
"""
ERRORS = {
    "raise SystemExit(0)": "called exit(0)",
    "raise SystemExit('x')": "called exit('x')",
    "import sys; sys.exit(3)": "called exit(3)",
    "raise ValueError('odd')": "ValueError: odd",
    "int('x')": "ValueError: invalid literal",
    "raise RuntimeError('odd')": "RuntimeError: odd",
    "torch.zeros(2, 3) @ torch.zeros(2, 3)": "RuntimeError: ",
    "from attacks import RefusedInput; raise RefusedInput('odd')": "RefusedInput: odd",
    "from trainers.run.errors import Waiting; raise Waiting('odd')": "Waiting: odd",
    "raise MemoryError": "out of memory; lower --batch-size",
    "torch.empty(2**50)": "out of memory (",
    "torch.empty(2**62, 2**62)": "out of memory (",
    "raise OSError(12, 'Cannot allocate memory')": "out of memory (",
    "raise OSError(5, 'Input/output error', 'f')": "f: Input/output error",
}
QUICK = ("raise SystemExit(0)", "raise ValueError('odd')", "torch.empty(2**50)")
JOBS = {
    "attack": ["attack", "--attack", "pgd"],
    "evaluate": ["evaluate", "--attacks", "pgd", "--curve", "none", "--masking-samples", "0"],
    "explain": ["explain", "--method", "saliency"],
    "network": ["network", "--show", "patches"],
    "representation": ["representation", "--pairs", "2", "--invert", "0"],
    "rounds": ["rounds", "--epochs", "1", "--attacks", "pgd"],
    "encode": ["compress", "encode", "--kind", "x-task"],
}


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path}/net.py:make"


def fail(folder: Path, what: str, *, after: int) -> None:
    (folder / "what").write_text(what)
    (folder / "after").write_text(str(after))


@pytest.mark.parametrize(
    ("job", "what", "after"),
    [
        *slow_but(
            [("attack", what, 4) for what in QUICK] + [("evaluate", QUICK[0], 20)],
            [("attack", what, 4) for what in ERRORS]
            + [("evaluate", what, 20) for what in QUICK[:2]],
        ),
        *slow_but(
            [(job, QUICK[0], 3) for job in ("network", "encode")],
            [(job, what, 3) for job in JOBS for what in QUICK[:2]],
        ),
    ],
)
def test_code_of_the_user_s_that_fails_midway(
    tmp_path: Path, net: str, capsys: pytest.CaptureFixture[str], job: str, what: str, after: int
) -> None:
    folder = tmp_path / "my run"
    fail(tmp_path, what, after=after)
    assert main([*JOBS[job], *TINY, "--model", net, "--run-dir", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert ERRORS[what] in err
    assert (err.startswith("train.py: "), err.count("\n")) == (True, 1)
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("failed", 1)
    # The advice, followed.
    (tmp_path / "what").unlink()
    advice = re.search(r"to go on: python train\.py (.*)\n", out)
    assert advice
    assert main(shlex.split(advice[1])) == 0


def test_a_keyboard_interrupt_that_the_model_raises_is_one(tmp_path: Path, net: str) -> None:
    folder = tmp_path / "run"
    fail(tmp_path, "raise KeyboardInterrupt", after=3)
    assert main([*JOBS["evaluate"], *TINY, "--model", net, "--run-dir", str(folder)]) == 130
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["exit"]) == ("interrupted", 130)


def test_a_model_that_is_too_large_is_out_of_memory(
    tmp_path: Path, net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(tmp_path, "torch.empty(2**50)", after=0)
    assert main(["evaluate", *TINY, "--model", net, "--run-dir", f"{tmp_path}/run"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("train.py: out of memory (")
    # The advice, followed.
    (tmp_path / "what").unlink()
    assert f"to go on: python train.py --resume {tmp_path}/run\n" in shown.out
    assert main(["--resume", f"{tmp_path}/run"]) == 0


def test_what_is_known_before_work_is_refused_and_leaves_nothing(
    tmp_path: Path, net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards what was so before."""
    fail(tmp_path, "raise ValueError('odd')", after=0)
    assert main(["evaluate", *TINY, "--model", net, "--run-dir", f"{tmp_path}/run"]) == 3
    assert "fails on samples of shape" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:130] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 9 bytes. Error code 12 (Cannot ...)"),
        RuntimeError("Storage size calculation overflowed with sizes=[1, 2]"),
        MemoryError("Unable to allocate 9 TiB for an array"),
    ],
)  # fmt: skip
def test_memory_that_cannot_be_had(error: Exception) -> None:
    assert exit_code(error) == 1
    assert sentence(error).startswith("out of memory")
    assert "--batch-size" in sentence(error)


IMPOSSIBLE = [
    (["attack", "--attack", "autoattack", "--target", "3"], 2, "autoattack cannot do this: target"),
    (["evaluate", "--attacks", "pgd", "fooling"], 2, "fooling cannot do this: fooling needs a"),
    (["rounds", "--attacks", "pgd", "fooling"], 2, "fooling cannot do this: fooling needs a"),
    (["rounds", "--test-attacks", "fooling"], 2, "fooling cannot do this: fooling needs a target"),
    (["attack", "--attack", "P", "--target", "3"], 2, "and the attack was fitted with no target"),
    (["evaluate", "--attacks", "P"], 2, "P cannot do this: the perturbation is for samples"),
]


@pytest.mark.parametrize(("words", "code", "message"), IMPOSSIBLE)
def test_an_impossible_attack_is_refused_before_anything_is_fitted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    from attacks.universal.perturbation import Perturbation

    def never(*args: object, **options: object) -> nn.Module:
        raise AssertionError("a classifier was loaded")

    shape = (1, 9, 9) if words[0] == "evaluate" else (1, 8, 8)
    Perturbation(torch.zeros(shape), "linf", 0.1).save(tmp_path / "P.safetensors")
    monkeypatch.setattr("trainers.run.job_context.load_classifier", never)
    monkeypatch.chdir(tmp_path)
    words = ["P.safetensors" if word == "P" else word for word in words]
    tiny = TINY[1:] if "autoattack" in words else TINY  # with --smoke it is no standard attack
    assert main([*words, *tiny, "--run-dir", "run"]) == code
    assert message.replace("P cannot", "P.safetensors cannot") in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("imagefolder:/nope", "/nope: no such folder"),
        ("videofolder:/nope", "/nope: no such folder"),
        ("npz:/nope.npz", "/nope.npz: no such file"),
        ("npz:broken.npz", "broken.npz: File is not a zip file"),
        ("imagefolder:empty", "empty: "),
        ("imagefoldr:/nope", "imagefoldr"),
        ("digit", "digit"),
    ],
)
@pytest.mark.parametrize(
    "job", [["attack"], ["evaluate"], ["compress", "encode", "--kind", "x-task"]], ids=" ".join
)
def test_the_first_sentence_is_about_the_data(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    job: list[str],
    data: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.npz").write_text("no zip")
    Path("empty").mkdir()
    assert main([*job, "--data", data, "--run-dir", "run"]) in (2, 3)
    shown = capsys.readouterr().err
    assert shown.startswith("train.py: ")
    assert message in shown.partition(";")[0]
    assert "--weights" not in shown


def test_data_that_are_there_need_a_trained_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards what was so before."""
    x, y = np.zeros((30, 1, 8, 8), np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "d.npz", x=x, y=y)
    words = ["attack", "--data", f"npz:{tmp_path}/d.npz", "--run-dir", f"{tmp_path}/run"]
    assert main(words) == 2
    assert "the default model comes untrained; give --weights FILE" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
