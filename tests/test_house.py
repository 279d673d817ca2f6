"""The house: rooms that are not too full, doors that open one way, names that stand once."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("attacks", "augment", "compress", "explain", "trainers")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
FOLDERS = sorted({file.parent.relative_to(ROOT).as_posix() for file in FILES})
PAGE = (ROOT / "docs/ARCHITECTURE.md").read_text()


def test_no_folder_is_too_full():
    count = Counter(file.parent.relative_to(ROOT).as_posix() for file in FILES)
    assert {folder: n for folder, n in count.items() if n > 15} == {}
    assert count["attacks"] <= 5


def test_class_names_stand_once():
    places = defaultdict(list)
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(file.relative_to(ROOT).as_posix())
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_the_page_names_every_folder_and_each_is_there():
    named = {
        name.rstrip("/") for name in re.findall(r"^\| (?:\*\*)?`([\w/]+/)`", PAGE, re.MULTILINE)
    }
    named -= {"bank", "figures", "checkpoints", "summary"}
    assert sorted(named) == FOLDERS


def test_each_file_that_the_page_names_is_there():
    names = set(re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|md))`", PAGE))
    known = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.*") if path.is_file()}
    assert [name for name in names if not any(f"/{k}".endswith(f"/{name}") for k in known)] == []


ATTACKS = [file for file in FILES if file.relative_to(ROOT).parts[0] == "attacks"]


@pytest.mark.parametrize("file", ATTACKS, ids=lambda file: file.stem)
def test_attacks_import_at_their_top_alone(file):
    text = file.read_text()
    assert "TYPE_CHECKING" not in text
    inner = [
        n for f in ast.walk(ast.parse(text)) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)
    ]
    assert not [n.lineno for n in inner if isinstance(n, ast.Import | ast.ImportFrom)]


def loaded(statement):
    script = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    return done.stdout.decode().split()


def test_attacks_load_no_codec():
    modules = loaded("import attacks")
    assert "compress.wavelet.transform" in modules
    assert not [m for m in modules if m.startswith(("compress.codec", "compress.entropy"))]


@pytest.mark.parametrize("package", ["augment", "compress", "explain", "trainers"])
def test_packages_are_lazy(package):
    assert [m for m in loaded(f"import {package}") if m.startswith(f"{package}.")] == []
