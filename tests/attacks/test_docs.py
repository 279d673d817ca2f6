import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import attacks
from attacks.common.goal import Goal, warnings_of

MODULES = [m.name for m in pkgutil.walk_packages(attacks.__path__, "attacks.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    tried = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]
    assert sum(tried) >= 4


PAGE = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text()


def test_the_page_lists_every_attack():
    rows = re.findall(r"^\| `([\w-]+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(rows) == sorted([*attacks.ATTACKS, *attacks.FITTED])


def test_every_warning_has_its_section():
    yes, y = torch.tensor([True]), torch.tensor([0])
    logits = torch.tensor([[0.5, 0.5]])
    texts = warnings_of(Goal(y, loss="dlr"), logits, finite=~yes, stuck=yes, random=True)
    section = PAGE.partition("\n## Warnings\n")[2]
    headings = re.findall(r"^### (.+)$", section, flags=re.MULTILINE)
    assert len(texts["warnings"]) == len(headings)
    for text, heading in zip(texts["warnings"], headings, strict=True):
        assert heading in text
