import doctest
import importlib
import pkgutil

import pytest

import attacks

MODULES = [f"attacks.{m.name}" for m in pkgutil.iter_modules(attacks.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    tried = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]
    assert sum(tried) >= 4
