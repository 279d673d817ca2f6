"""The commands `report` and `runs`: what they write, list, and refuse."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainers.run.folder.claim import LOCK, REPORT
from trainers.run.main import main

Make = Callable[..., Path]


def test_the_report_is_made_anew_byte_for_byte(tmp_path: Path, make_run: Make) -> None:
    run = make_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    first = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert main(["report", f"{run}/"]) == 0
    assert (run / "report.html").read_bytes() == first
    assert {file.name for file in run.iterdir()} == {
        ".lock", "command.txt", "config.toml", "figures", "report.html", "status.json",
        "summary.json",
    }  # fmt: skip


def test_a_real_run_s_report_is_made_anew_byte_for_byte(tmp_path: Path) -> None:
    words = ["--smoke", "--threads", "1", "--train-samples", "80", "--test-samples", "16"]
    assert main(["fit", *words, "--epochs", "2", "--run-dir", str(tmp_path / "run")]) == 0
    first = (tmp_path / "run/report.html").read_bytes()
    assert b'class="chart"' in first
    (tmp_path / "run/report.html").unlink()
    assert main(["report", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run/report.html").read_bytes() == first


def refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> int:
    code = main(words)
    assert message in capsys.readouterr().err
    return code


def test_what_cannot_be_shown_is_refused(
    tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    assert refused(["report"], "report names no run", capsys) == 2
    assert refused(["report", str(tmp_path)], "is no run folder", capsys) == 2
    out = ["--out", str(tmp_path / "x.html")]
    assert refused(["report", str(run), *out], "--out is", capsys) == 2
    (run / "report.html").write_text("<p>mine</p>")
    assert refused(["report", str(run)], "no run made it", capsys) == 2
    assert (run / "report.html").read_text() == "<p>mine</p>"
    (run / "report.html").unlink()
    (run / "summary.json").write_text('{"job": "fit"}')
    assert refused(["report", str(run)], "summary.json is damaged", capsys) == 3
    (run / "status.json").write_text('{"state": "interrupted"}')
    assert refused(["report", str(run)], "not finished (its state is interrupted)", capsys) == 2
    (run / "status.json").write_text('{"state": "running", "pid": 0}')  # as a kill leaves it
    assert refused(["report", str(run)], "not finished (its state is interrupted)", capsys) == 2
    (run / "status.json").write_text(f'{{"state": "running", "pid": {os.getpid()}}}')
    assert refused(["report", str(run)], "is at work; wait", capsys) == 2
    assert not (run / "report.html").exists()


def test_a_run_at_work_is_left_alone(
    tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    with (run / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert refused(["report", str(run)], "another process works in", capsys) == 2
    assert not (run / "report.html").exists()


def test_several_runs_are_compared_on_a_page_of_ours_alone(
    tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", *(str(make_run(tmp_path / name)) for name in "ab")]
    out = tmp_path / "page.html"
    assert main([*words, "--out", str(out)]) == 0
    assert out.read_text().startswith(REPORT)
    assert main([*words, "--out", str(out)]) == 0  # its own page it replaces
    out.write_text("mine")
    assert refused([*words, "--out", str(out)], "no page of ours", capsys) == 2
    assert out.read_text() == "mine"
    (report := tmp_path / "a/report.html").write_text(REPORT + "of a alone")
    assert refused([*words, "--out", str(report)], "in the folder of the run", capsys) == 2
    assert report.read_text() == REPORT + "of a alone"
    absent = ["--out", str(tmp_path / "no/page.html")]
    assert refused([*words, *absent], "there is no folder", capsys) == 2


def listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    capsys.readouterr()
    assert main(["runs", str(folder)]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def status(run: Path, state: str, when: str, **more: object) -> None:
    text = {"job": "fit", "state": state, "updated": f"2026-01-{when}T10:00:00+0000", **more}
    (run / "status.json").write_text(json.dumps(text))


def test_runs_are_listed_the_newest_last(
    tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, when in {"b": "02", "deep/a": "03", "deep/er/c": "01"}.items():
        status(make_run(tmp_path / name), "finished", when)
    (tmp_path / "others").mkdir()
    (tmp_path / "others/notes.txt").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    heading, *rows = listed(tmp_path, capsys)
    assert heading[:7] == ["run", "job", "data", "model", "state", "when", "seconds"]
    assert [row[0] for row in rows] == ["deep/er/c", "b", "deep/a"]
    row = " ".join(rows[0])
    assert row.startswith("deep/er/c fit digits - finished 2026-01-01 10:00 5 worst case")
    assert "worst case at linf 0.1 70.0% (60-78), clean accuracy 90.0% (82-95)" in row


def test_a_run_whose_process_is_gone_was_interrupted(
    tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    status(make_run(tmp_path / "gone"), "running", "01", pid=gone.pid)
    status(make_run(tmp_path / "here"), "running", "02", pid=os.getpid())
    assert [row[4] for row in listed(tmp_path, capsys)[1:]] == ["interrupted", "running"]


@pytest.mark.parametrize("name", ["status.json", "config.toml", "summary.json"])
@pytest.mark.parametrize("data", [b"{", b"\xff", b"1", b'a = {job = "x"}', b'{"job": "fit"}'])
def test_a_damaged_file_is_shown_as_such(
    name: str, data: bytes, tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    status(run := make_run(tmp_path / "run"), "finished", "01")
    (run / name).write_bytes(data)
    (row,) = listed(tmp_path, capsys)[1:]
    assert row[0] == "run"
    whole = {"status.json": b'{"job": "fit"}', "config.toml": b'a = {job = "x"}'}
    assert ("damaged" in row) == (whole.get(name) != data)


def test_a_folder_without_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(["runs", str(tmp_path)], "holds no runs", capsys) == 2
    assert refused(["runs", str(tmp_path / "no")], "there is no folder", capsys) == 2
