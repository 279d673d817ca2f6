"""Two runs with the same options leave the same bytes, but for times."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from attacks.autoattack.evaluation_state import EvaluationState
from attacks.files import packed
from augment import SampleBank
from tests.soak.folders import differences
from trainers.run.folder.folder import open_folder
from trainers.run.main import main, parse_command

ROOT = Path(__file__).parents[3]


def test_equal_content_makes_equal_bytes_in_any_order(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3), "a": torch.zeros(0, 2), "c": torch.tensor(True)}
    notes = {f"key {i}": f"é {i}" for i in range(12)}
    turned = dict(reversed(tensors.items())), dict(reversed(notes.items()))
    made = {packed(*pair) for _ in range(20) for pair in ((tensors, notes), turned)}
    (data,) = made
    file = tmp_path / "t.safetensors"
    file.write_bytes(data)
    with safe_open(file, framework="pt") as read:
        assert read.metadata() == notes
        assert all(torch.equal(read.get_tensor(name), tensors[name]) for name in tensors)


def test_equal_shards_and_tallies_have_equal_bytes(tmp_path: Path) -> None:
    entry = {"source": "a", "label": 1, "round": 0, "attack": "a", "seed": 1}
    entry |= dict.fromkeys(("loss", "linf", "l2", "l1"), 0.0)
    shards, tallies = set(), set()
    for number in range(8):  # the library's order is another in each
        bank = SampleBank(tmp_path / str(number))
        bank.append("k", torch.zeros(1, 1, 2, 2), [entry])
        shards |= {file.read_bytes() for file in bank.folder.glob("*.safetensors")}
        none = torch.zeros(1, dtype=torch.int64)
        EvaluationState(torch.zeros(1, 1), none, none.clone(), 1, ["w"]).save(tmp_path / "tally")
        tallies.add((tmp_path / "tally").read_bytes())
    assert (len(shards), len(tallies)) == (1, 1)


def test_a_tally_that_was_changed_is_refused(tmp_path: Path) -> None:
    file, none = tmp_path / "tally", torch.zeros(1, dtype=torch.int64)
    EvaluationState(torch.zeros(1, 1), none, none.clone(), 1, []).save(file)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"\x01")
    from attacks import RefusedInput

    with pytest.raises(RefusedInput, match="changed after it was written"):
        EvaluationState.load(file, torch.device("cpu"))


def test_the_bank_of_a_round_has_no_later_samples(tmp_path: Path) -> None:
    entry = {"source": "a", "label": 1, "attack": "a", "seed": 1}
    entry |= dict.fromkeys(("loss", "linf", "l2", "l1"), 0.0)
    bank = SampleBank(tmp_path)
    for number in (1, 2):
        bank.append(f"round{number:03}-a-0-0", torch.zeros(1, 1, 2, 2), [entry | {"round": number}])
    assert [len(SampleBank(tmp_path, until=number)) for number in (0, 1, 2, None)] == [0, 1, 2, 2]


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_start_killed_before_its_config_is_started_again(tmp_path: Path) -> None:
    """A child kills itself at each of its first writes: of the mark, then of the config."""
    config, left = parse_command([]).config, set()
    for number in range(1, 9):
        folder = tmp_path / str(number)
        code = "from tests.soak.kills import main, strike; import sys; strike(int(sys.argv[1]), "
        words = [str(number), "rounds", "--smoke", "--run-dir", str(folder)]
        done = subprocess.run(
            [sys.executable, "-c", f"{code}after=False); main(sys.argv[2:])", *words],
            cwd=ROOT, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL
        if folder.exists():
            left |= {re.sub(r"[0-9a-f]{8}", "X", name) for name in os.listdir(folder)}
        open_folder(folder, "rounds", config, resume="auto").claim.lock.close()
        assert sorted(os.listdir(folder)) == [".lock", "config.toml", "inputs.json"]
    assert left >= {".lock", ".config.toml.X.partial"}


def test_a_partial_config_without_a_mark_is_the_user_s(tmp_path: Path) -> None:
    half = tmp_path / ".config.toml.0a1b2c3d.partial"
    half.write_text("job = ")
    with pytest.raises(ValueError, match="is no run folder and not empty"):
        open_folder(tmp_path, "rounds", parse_command([]).config, resume="auto")
    assert os.listdir(tmp_path) == [half.name]


@pytest.mark.slow
def test_two_equal_runs_leave_equal_folders(tmp_path: Path) -> None:
    words = ["rounds", "--smoke", "--threads", "1", "--train-samples", "48", "--batch-size", "16"]
    for name in ("run-of-it", "run-again"):
        assert main([*words, "--run-dir", str(tmp_path / name)]) == 0
    assert differences(tmp_path / "run-of-it", tmp_path / "run-again") == []
    assert json.loads((tmp_path / "run-of-it" / "status.json").read_text())["files"]
