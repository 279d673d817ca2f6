"""What users of the library see of its public names: their help, and how values are shown."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import attacks
import augment
import compress
import explain
import trainers
from attacks import ATTACKS, FITTED, PGD, Perturbation
from attacks.common.options import inherited_docs

ROOT = Path(__file__).parents[1]
ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (?!see `)\S", re.MULTILINE)


def public() -> Iterator[tuple[str, Any]]:
    for module in (attacks, augment, compress, explain, trainers):
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isclass(found) or inspect.isfunction(found):
                yield f"{module.__name__}.{name}", found
    for registry in (ATTACKS, FITTED, explain.METHODS):
        yield from registry.items()
    for owner, name in ((compress.Codec, "fit"), (compress.Codec, "encode"),
                        (augment.SampleBank, "append")):  # fmt: skip
        yield f"{owner.__name__}.{name}", getattr(owner, name)


PUBLIC = dict(public())


@pytest.mark.parametrize("name", PUBLIC)
def test_help_explains_every_option(name: str) -> None:
    found = PUBLIC[name]
    text = inspect.cleandoc(found.__doc__ or "")
    explained = {one for names in ENTRY.findall(text) for one in names.split(", ")}
    if inspect.isclass(found):
        options = {f.name for f in fields(found)} if is_dataclass(found) else set()
    else:
        parameters = inspect.signature(found).parameters.values()
        options = {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}
    assert {option for option in options if option[0] != "_"} <= explained


def test_options_are_explained_where_they_are_inherited() -> None:
    class Base:
        """Do it.

        Args:
            one, two: numbers,
                of two lines.
            three: text.
        """

    class Sub(Base):
        """Do it better.

        Args:
            two: its own.

        Source: nobody.
        """

    class Bare(Base):
        """Do it worse.

        Source: nobody.
        """

    inherited = "    three: text."
    one = "    one: numbers,\n        of two lines.\n"
    end = "\n\nSource: nobody."
    assert inherited_docs(Sub) == (
        f"Do it better.\n\nArgs:\n    two: its own.\n{one}{inherited}{end}"
    )
    two = one.replace("one:", "two:")
    assert inherited_docs(Bare) == f"Do it worse.\n\nArgs:\n{one}{two}{inherited}{end}"


def test_values_are_shown_in_a_line(tmp_path: Path) -> None:
    ds = augment.load_dataset("digits", "test", samples=12)
    x, y = ds.stack(range(12))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    result = PGD(steps=1)(model, x, y)
    bank = augment.SampleBank(tmp_path / "bank")
    bank.append("k", result, labels=y, sources=ds.ids, attack="pgd")
    bank.set_status([0, 1], "accepted")
    delta = Perturbation(x[0], "linf", 0.5, None, ({"loss": 1.0}, {"loss": 0.5}))
    shown = {
        repr(ds): "Dataset(digits: 12 samples of (1, 8, 8), 10 classes)",
        repr(bank): f"SampleBank({tmp_path}/bank: 12 samples of (1, 8, 8), 10 pending, 2 accepted)",
        repr(delta): "Perturbation(delta=tensor of (1, 8, 8), norm='linf', eps=0.5, target=None, "
        "history=2 records)",
    }
    for text, wanted in shown.items():
        assert text == wanted
    varied = repr(PGD(eps=torch.rand(12), steps=3))
    assert varied.startswith("PGD(norm='linf', eps=tensor of (12,), steps=3, ")
    codec = compress.Codec.fit(x)
    measured = trainers.evaluate_attack(PGD(steps=1), model, ds)
    for value in (codec, measured, result, *(made() for made in ATTACKS.values())):
        text = repr(value)
        assert text.startswith(f"{type(value).__name__}(")
        assert "\n" not in text
        assert "array" not in text
        assert len(text) < 450
    assert repr(codec).startswith("Codec(step=0.05, wavelet='cdf97', levels=None, ")
