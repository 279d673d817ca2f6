"""What README, docs and notebooks show runs as it stands; the API pages know all that is public."""

import importlib
import re
import shlex
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from trainers.run.cli.checks import check
from trainers.run.cli.parsing import read_flags
from trainers.run.main import COMMANDS, MODELS, job_name, parse_command

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PACKAGES = ("attacks", "augment", "compress", "explain", "trainers")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text()) if language in languages]


def commands() -> list:
    """List the commands of train.py in all pages, one line each."""
    found = {}
    for page in PAGES:
        for text in blocks(page, "sh", "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                for part in line.split(" && "):
                    words = shlex.split(part, comments=True)
                    if words[:2] == ["python", "train.py"] and "..." not in words:
                        found[shlex.join(words[2:])] = page.relative_to(ROOT)
    return [pytest.param(shlex.split(line), id=f"{page}: {line}") for line, page in found.items()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_runs_from_its_top_to_its_end(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, text in enumerate(blocks(page, "python")):
        exec(compile(text, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("words", commands())
def test_commands_of_the_docs_are_understood(words: list[str]) -> None:
    name, rest = job_name(words)
    if name in COMMANDS:
        check(read_flags(name, rest, COMMANDS[name]()))
    elif name != MODELS and "--help" not in words:
        if "--resume" in words:  # of a run that is not there
            start = words.index("--resume")
            words = words[:start] + words[start + 2 :]
        check(parse_command(words).config)


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_from_its_top_to_its_end(file: Path, tmp_path: Path) -> None:
    book = nbformat.read(file, as_version=4)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("name", PACKAGES)
def test_the_api_pages_name_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    names = {n for n in dir(module) if n in (getattr(module, "__all__", None) or module._HOMES)}
    named = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs/api" / f"{name}.md").read_text(), re.M)
    for each in named:
        home, _, own = each.rpartition(".")
        assert hasattr(importlib.import_module(home), own), each
    shown = {each.rpartition(".")[2] for each in named}
    assert {n for n in names if callable(getattr(module, n))} <= shown
