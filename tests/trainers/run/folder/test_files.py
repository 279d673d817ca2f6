import errno
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import RefusedInput
from trainers.run.errors import Interrupted, Waiting, exit_code, sentence, stoppable
from trainers.run.folder.atomic import cached_json, read_json
from trainers.run.folder.checkpoint import load_tensors, save_tensors
from trainers.run.folder.folder import open_folder
from trainers.run.folder.metrics import Metrics
from trainers.run.main import main, parse_command

TENSORS = {"b": torch.arange(6).reshape(2, 3), "a": torch.tensor(1.5), "none": torch.empty(0)}


def test_once_makes_a_thing_once_and_reads_it_back(tmp_path: Path) -> None:
    made = []

    def make() -> dict:
        made.append(1)
        return {"value": (0.1 + 0.2, 1)}

    first, second = (cached_json(tmp_path / "x" / "thing.json", make) for _ in range(2))
    assert first == second == {"value": [0.1 + 0.2, 1]}
    assert len(made) == 1


def test_damaged_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(RefusedInput, match="damaged"):
        read_json(tmp_path / "a.json")


def test_a_checkpoint_reads_back_and_equal_ones_have_equal_bytes(tmp_path: Path) -> None:
    note = {"epoch": 3, "history": [{"loss": 0.1}]}
    save_tensors(tmp_path / "a", TENSORS, note)
    save_tensors(tmp_path / "b", dict(reversed(TENSORS.items())), dict(reversed(note.items())))
    tensors, read = load_tensors(tmp_path / "a")
    assert read == note
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def taken(file: Path) -> tuple | None:
    try:
        return load_tensors(file)
    except RefusedInput:
        return None


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_torn_or_changed_checkpoint_is_taken(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("c") / "c.safetensors"
    save_tensors(file, TENSORS, {"epoch": 3})
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    torn = data.draw(st.booleans())
    flipped = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    file.write_bytes(whole[:at] if torn else flipped)
    got = taken(file)  # blanks at the header's end are all that may change unseen
    assert got is None or (got[1] == {"epoch": 3} and not torn)
    assert got is None or all(torch.equal(got[0][name], TENSORS[name]) for name in TENSORS)


def test_metrics_come_once_and_a_torn_line_goes(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    metrics = Metrics(file)
    metrics.add("a", step=1, values={"x": 1.0})
    metrics.add("a", step=1, values={"x": 1.0})
    with file.open("a") as handle:
        handle.write('{"name": "b", "st')
    again, seen = Metrics(file), []
    again.listeners.append(seen.append)
    again.add("a", step=1, values={"x": 1.0})
    again.add("b", step=2, values={"x": 2.0, "y": 0.5})
    assert [json.loads(line)["name"] for line in file.read_text().splitlines()] == ["a", "b"]
    assert [line["name"] for line in seen] == ["b"]
    read = [(line["step"], line["values"]["x"]) for line in again.lines.values()]
    assert read == [(1, 1.0), (2, 2.0)]


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    folder = open_folder(path, "rounds", parse_command([]).config, resume="auto")
    folder.checkpoints.mkdir()
    folder.claim.lock.close()
    return path


def test_a_folder_goes_on_with_the_same_options_only(begun: Path) -> None:
    config = parse_command(["--device", "cpu", "--threads", "1"]).config  # these may change
    open_folder(begun, "rounds", config, resume="auto").claim.lock.close()
    with pytest.raises(ValueError, match=r"--lr 0\.\d+ -> 0\.5\); leave them"):
        open_folder(begun, "rounds", parse_command(["--lr", "0.5"]).config, resume="auto")
    with pytest.raises(ValueError, match=r"config of the job .*, not of"):
        open_folder(begun, "evaluate", parse_command(["evaluate"]).config, resume="auto")
    with pytest.raises(ValueError, match="--resume auto to go on"):
        open_folder(begun, "rounds", config, resume="never")


def test_a_folder_in_use_is_refused(begun: Path) -> None:
    config = parse_command([]).config
    held = open_folder(begun, "rounds", config, resume="auto")
    with pytest.raises(ValueError, match="another process works in"):
        open_folder(begun, "rounds", config, resume="auto")
    held.claim.lock.close()
    open_folder(begun, "rounds", config, resume="auto").claim.lock.close()


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="no run folder"):
        open_folder(tmp_path, "rounds", parse_command([]).config, resume="auto")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_status_keeps_the_stage_until_the_end(begun: Path) -> None:
    folder = open_folder(begun, "rounds", parse_command([]).config, resume="auto")
    folder.status("running", stage="fit", exit=None)
    folder.status("running", progress={"done": 1, "of": 2})
    assert read_json(begun / "status.json")["stage"] == "fit"
    folder.status("finished", exit=0)
    status = read_json(begun / "status.json")
    assert (status["state"], status["exit"]) == ("finished", 0)
    folder.claim.lock.close()
    assert open_folder(begun, "rounds", parse_command([]).config, resume="auto").finished


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("--x is 1"), 2, "--x is 1"),
        (RefusedInput("bad file"), 3, "bad file"),
        (OSError(errno.ENOSPC, "No space left"), 1, "the disk is full"),
        (OSError(errno.EACCES, "Permission denied", "f"), 1, "Permission denied"),
        (MemoryError(), 1, "--batch-size"),
        (KeyError("x"), 1, "KeyError: 'x' (--debug shows where)"),
        (Interrupted(signal.SIGINT), 130, "SIGINT"),
        (Interrupted(signal.SIGTERM), 143, "SIGTERM"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT;"),
        (Waiting("review"), 0, "review"),
    ],
)
def test_errors_become_codes_and_sentences(error: BaseException, code: int, text: str) -> None:
    assert exit_code(error) == code
    assert text in sentence(error)
    assert "\n" not in sentence(error)


def test_signals_raise_in_the_body_and_only_there() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_while_the_first_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(words: list[str]) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return 0

    def told(error: BaseException) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return str(error)

    monkeypatch.setattr("trainers.run.main.run", stopped)
    assert main(["rounds"]) == 130
    monkeypatch.setattr("trainers.run.errors.sentence", told)
    assert main(["rounds"]) == 143


@pytest.mark.parametrize("closed", [False, True])
def test_codes_stay_where_nobody_reads_stderr(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with suppress(OSError), os.fdopen(writer, "w", buffering=1) as pipe:
        monkeypatch.setattr("sys.stderr", None if closed else pipe)
        assert main(["rounds", "--seed", "-1"]) == 2
