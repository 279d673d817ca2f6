"""What report.html may hold."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import UndefinedError
from PIL import Image

from trainers.run.folder.claim import REPORT
from trainers.run.show.report import write_report

CONTENT = {"outcome": "1 < 2 & 'three'"}


def report(path, content, **options):
    """The text of a report."""
    folder = SimpleNamespace(path=path, job="<job>")
    write_report(folder, "outcome.html", content, config="a = '<b>'\n", **options)
    return (path / "report.html").read_text()


def test_what_others_wrote_is_escaped(tmp_path):
    rows = [{"<i>": "<script>alert(1)</script>"}]
    content = CONTENT | {"messages": ["a <u> b"], "rows": rows, "meanings": {"<i>": "&amp;"}}
    text = report(tmp_path, content)
    assert not any(tag in text for tag in ("<script", "<i>", "<u>", "<job>", "<b>"))
    assert all(shown in text for shown in ("&lt;script&gt;", "&lt;u&gt;", "&amp;amp;"))
    assert text.startswith(REPORT)


def test_pictures_are_in_it_and_those_that_are_missing_are_left_out(tmp_path):
    there, missing = tmp_path / 'a"b.png', tmp_path / "missing.png"
    Image.new("RGB", (2, 2)).save(there)
    text = report(tmp_path, CONTENT | {"pictures": [there, missing]})
    assert text.count("<img") == text.count("data:image/png;base64,") == 1
    assert "missing" not in text


def test_a_run_that_is_not_over_says_how_to_go_on(tmp_path):
    assert "--resume" in report(tmp_path, CONTENT, finished=False)
    assert "--resume" not in report(tmp_path, CONTENT)


def test_the_folder_to_go_on_in_may_begin_with_a_hyphen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--resume=-run\n" in report(Path("-run"), CONTENT, finished=False)


def test_a_template_without_its_variables_is_an_error(tmp_path):
    with pytest.raises(UndefinedError):
        report(tmp_path, {})


def test_names_of_files_that_are_no_text_are_written(tmp_path):
    assert r"\udcff" in report(tmp_path, {"outcome": "a\udcff.png"})
