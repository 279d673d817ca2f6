"""Bars, lines and status.json, on a clock that the test turns and a terminal that it reads."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainers.run.folder.folder import RunFolder, open_folder
from trainers.run.folder.stage_plan import StagePlan
from trainers.run.main import parse_command
from trainers.run.session import TerminalHandler
from trainers.run.show import progress
from trainers.run.show.progress import Progress


class Terminal(io.StringIO):
    """A terminal that knows carriage returns, new lines and the cursor's way up."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """The lines that are to be seen, without the blank ones at the end."""
        rows, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[A|.", self.getvalue(), re.DOTALL):
            if part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif part == "\x1b[A":
                row -= 1
            else:
                line = rows[row].ljust(column)
                rows[row], column = line[:column] + part + line[column + 1 :], column + 1
        return "\n".join(line.rstrip() for line in rows).rstrip("\n").split("\n")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    opened = open_folder(tmp_path / "r", "rounds", parse_command([]).config, resume="auto")
    yield opened
    opened.claim.lock.close()


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Turn the clock on by so many seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def on(seconds: float) -> None:
        now[0] += seconds

    return on


def test_bars_move_within_an_item_fit_and_leave_nothing(
    folder: RunFolder, wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    for name in ("sys.stderr", "sys.stdout"):
        monkeypatch.setattr(name, terminal)
    monkeypatch.setenv("COLUMNS", "60")
    name = "measure round 1: a-very-long-name"
    folder.plan = StagePlan(["round 0: fit", "measure round 0: a-very-long-name", name])
    folder.plan.note("round 0: fit", 40.0)
    handler = TerminalHandler(terminal)
    with Progress(folder, name, total=4) as bar:
        bar.step()
        wait(10)
        bar.within(1, 2)  # 1.5 of 4 in 10 s
        above, below = terminal.screen
        assert above.startswith("all rounds")
        assert re.search(r" 82%\|#+\d? *\| 00:16 left$", above), above  # of 40 + 26.7 + 26.7 s
        assert re.search(r"^\.\.\.a-very-long-name +38%\|#+\d? *\| 1/4, 00:16 left$", below), below
        assert max(map(len, terminal.screen)) <= 59
        wait(0.05)
        before = terminal.getvalue()
        bar.within(9, 10)
        assert terminal.getvalue() == before, "drawn too often"
        handler.emit(logging.makeLogRecord({"msg": "a line"}))
        assert terminal.screen[0] == "a line"
        assert terminal.screen[1:] == [above, below]
    assert terminal.screen == ["a line"]


def test_without_a_terminal_there_is_a_line_a_minute(
    folder: RunFolder, wait: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder.plan = StagePlan([f"round {n}: {what}" for n in range(2) for what in ("fit", "pgd")])
    with Progress(folder, "round 0: fit", total=2) as bar:
        for second in range(59):
            wait(1)
            bar.within(second, 100)
        bar.step()
    assert caplog.messages == []
    with Progress(folder, "round 0: pgd", total=3) as bar:
        for second in range(120):
            wait(1)
            bar.within(second, 240)
    lines = caplog.messages
    assert len(lines) == 2  # the first minute began with the first stage
    assert lines[0] == "round 0: pgd: 0%, 0/3; all rounds: 25%, 05:54 left"  # 59 s were half
    assert re.fullmatch(r"round 0: pgd: 8%, 0/3, 1\d:\d\d left; all rounds: \d+%, .*", lines[1])


def test_the_status_says_how_far_an_item_is_every_two_seconds(
    folder: RunFolder, wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, written = folder.status, []

    def note(state: str, **more: object) -> None:
        written.append(more)
        status(state, **more)

    monkeypatch.setattr(folder, "status", note)
    folder.plan = StagePlan(["fit", "pgd"])  # as long, until something else is known
    with Progress(folder, "fit", total=4, done=1) as bar:
        for tick in range(101):
            wait(0.11)
            bar.within(tick, 200)
    assert len(written) == 6  # at the start, and of 11 s
    kept = json.loads((folder.path / "status.json").read_text())
    assert (kept["stage"], kept["progress"]["done"], kept["progress"]["of"]) == ("fit", 1, 4)
    assert kept["progress"]["item"] == pytest.approx(0.5, abs=0.06)
    # Half of an item took 11 s, and two and a half are left.
    left = kept["progress"]["seconds_left"]
    assert left == pytest.approx(55, abs=8)
    share, rest = kept["progress"]["all"]["done"], kept["progress"]["all"]["seconds_left"]
    assert share == pytest.approx((1 + 0.5) / 4 / 2, abs=0.02)
    assert rest == pytest.approx(left + 88, abs=8)


def test_the_plan_learns_from_the_round_before_and_never_goes_back() -> None:
    plan = StagePlan([f"round {n}: {what}" for n in range(3) for what in ("fit", "pgd")])
    assert plan.ahead("round 0: fit", 0.5, None) == (pytest.approx(1 / 12), None)
    plan.note("round 0: fit", 90.0)
    share, left = plan.ahead("round 0: pgd", 0.0, None)
    assert (share, left) == (pytest.approx(1 / 6), 5 * 90.0)
    slower, left = plan.ahead("round 0: pgd", 0.1, 900.0)  # its pace is what counts by now
    assert (slower, left) == (share, 900 + 2 * 1090)
    plan.note("round 0: pgd", 10.0)
    share, left = plan.ahead("round 1: fit", 0.5, None)
    assert (share, left) == (pytest.approx((100 + 45) / 300), 45 + 10 + 100)
    assert plan.ahead("something else", 0.5, 1.0) == (share, None)
    # What has another round's number than was planned counts as the last of its kind.
    assert plan.ahead("round 7: pgd", 0.0, None)[1] == 10.0
