"""What README and docs show runs as it is written; the pages of the site know all that is public."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from trainers.run.cli.checks import check
from trainers.run.main import COMMANDS, JOBS, MODELS, job_name, parse_command

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PACKAGES = ("attacks", "augment", "compress", "explain", "trainers")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text()) if language in languages]


def python_blocks() -> list:
    return [
        pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, text in enumerate(blocks(page, "python"))
    ]


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


@pytest.mark.parametrize("text", python_blocks())
def test_python_of_the_docs_runs(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "block", "exec"), {})  # noqa: S102


@pytest.mark.parametrize("words", commands())
def test_commands_of_the_docs_are_understood(words: list[str], monkeypatch) -> None:
    name, rest = job_name(words)
    if name == MODELS or name in COMMANDS or "--resume" in words:
        assert name in (*COMMANDS, *JOBS, MODELS)
        return
    check(parse_command(words).config)


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
