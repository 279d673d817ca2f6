"""How large a number may be, and numbers as TOML has them."""

import re
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from attacks import ATTACKS, FITTED
from trainers.jobs.compress.fit import build_reconstruction
from trainers.run.cli.checks import check
from trainers.run.cli.numbers import number
from trainers.run.cli.specs.attacks import build_attack, build_fittable, build_task
from trainers.run.cli.toml import (
    UNSAVED,
    check_options,
    flag,
    option_types,
    replace_options,
)
from trainers.run.main import JOBS, main, parse_command

HUGE = (10**30, 10**5000, 2**63, 1e30, 1.7e308)


def of(hint: object, kind: type) -> bool:
    return kind in (hint, *get_args(hint))


NUMBERS = [
    (job, name, kind)
    for job in JOBS
    for name, hint in option_types(JOBS[job]()).items()
    for kind in (int, float)
    if of(hint, kind)
]


@pytest.mark.parametrize(("job", "name", "kind"), NUMBERS)
def test_every_number_has_an_upper_bound(job: str, name: str, kind: type) -> None:
    config = JOBS[job]()
    several = "tuple" in str(option_types(config)[name])
    for huge in HUGE:
        if isinstance(huge, kind) and (name != "seed" or huge > 2**63):
            with pytest.raises(ValueError, match=rf"--{flag(name)} (is|has) .*allowed|give both"):
                check(replace_options(config, {name: (huge,) if several else huge}))


def test_bounds_leave_room_for_every_default() -> None:
    """Guards: what is usual is allowed."""
    for job in JOBS:
        if job != "compress-decode":  # it needs a file
            check(JOBS[job]())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threads", "100000"], "--threads is 100000; allowed: at most 1024"),
        (["--batch-size", "1" + "0" * 20], f"--batch-size is {10**20}; allowed: at most 1048576"),
        (["--batch-size", "1e20"], "invalid"),
        (["--batch-size", "9" * 5000], "Error parsing --batch-size"),
        (["--rounds", "1" + "0" * 40], "--rounds is a number of more than 30 digits; allowed"),
        (["--eps", "1" + "0" * 400 + "/1"], "--eps is inf; allowed: finite"),
        (["--eps", "1e400"], "--eps is inf; allowed: finite"),
        (["--eps", "1/0"], "'1/0' is no number"),
        (["--eps", "1/1e-320"], "--eps is inf; allowed: finite"),
        (["--attacks", "pgd:steps=" + "1" + "0" * 30], "pgd: steps is 1e+30; allowed"),
        (["--attacks", "pgd:steps=" + "9" * 5000], "pgd:steps is '999"),
    ],
)
def test_huge_numbers_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main([*words, "--smoke", "--run-dir", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert message in " ".join(shown.split())
    assert len(shown) < 7000
    assert not (tmp_path / "run").exists()


OPTIONS = [
    (name, field.name)
    for name, attack in {**ATTACKS, **FITTED}.items()
    for field in fields(attack)
    if field.init and any(of(get_type_hints(attack)[field.name], kind) for kind in (int, float))
]


def build(name: str) -> Callable[..., object]:
    return build_fittable if name in FITTED else build_attack


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_number_of_an_attack_has_an_upper_bound(name: str, option: str) -> None:
    for text in ("1" + "0" * 30, "1" + "0" * 4000, "inf", "nan", "-" + "1" * 40):
        with pytest.raises(ValueError, match=r"allowed|give|must|at least|at most|leave|>=|>"):
            build(name)(f"{name}:{option}={text}", defaults={}, overrides={})


@pytest.mark.parametrize("text", ["steps=1" + "0" * 30, "weight=inf", "views=1" + "0" * 4000])
def test_numbers_of_other_texts(text: str) -> None:
    with pytest.raises(ValueError, match=r"--task: \w+ is .*; allowed: finite numbers, at most"):
        build_task(text, smoke=False)
    with pytest.raises(ValueError, match="allowed: finite numbers, at most 1e"):
        build_reconstruction("unet:width=1" + "0" * 30, asks=False, smoke=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("0.5/255", 0.5 / 255), (" 1 / 4 ", 0.25), ("3", 3.0), ("1e-3", 1e-3)],
)
def test_fractions(text: str, value: float) -> None:
    assert number(text) == value


def test_fractions_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        'eps = "8/255"\nlr = "1/1000"\nclip-norm = "1/2"\nmean = ["1/2"]\nstd = ["0.25", ]\n'
        'attacks = ["pgd:eps=4/255", "fgsm"]\nratio = 1\n'
    )
    config = parse_command(["--config", str(file)]).config
    assert (config.loop.eps, config.fit.lr, config.fit.clip_norm) == (8 / 255, 1e-3, 0.5)
    assert (config.classifier.mean, config.classifier.std) == ((0.5,), (0.25,))
    assert config.loop.attacks == ("pgd:eps=4/255", "fgsm")
    assert parse_command(["--config", str(file), "--eps", "1/2"]).config.loop.eps == 0.5


@pytest.mark.parametrize("job", list(JOBS))
def test_values_that_no_option_takes(tmp_path: Path, job: str) -> None:
    config = JOBS[job]()
    for name in option_types(config).keys() - UNSAVED:
        for value in ({"a": 1}, {}, [[1]], [{}], datetime(2026, 1, 1)):
            with pytest.raises(ValueError, match=f"{flag(name)} is .*; allowed: "):
                check_options(tmp_path / "c.toml", {name: value}, config)


@pytest.mark.parametrize("value", ["l9", 3, True, ["l2"], {}])
def test_values_that_a_choice_or_none_does_not_take(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match=r"norm is .*; allowed: linf or l2 or l1"):
        check_options(tmp_path / "c.toml", {"norm": value}, JOBS["attack"]())


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('eps = "8/x"', 2, r"eps is '8/x': '8/x' is no number; write 0\.03 or 8/255"),
        ('eps = "inf"', 2, "--eps is inf; allowed: finite numbers"),
        ("eps = 1" + "0" * 400, 2, r"eps is 1000.*too large"),
        ("eps = inf", 2, "--eps is inf; allowed: finite numbers"),
        ("eps = true", 2, "eps is True; allowed: float"),
        ('rounds = "3"', 2, "rounds is '3'; allowed: int"),
        ("rounds = 1" + "0" * 30, 2, "--rounds is a number of more than 30 digits"),
        ("batch-size = 1e20", 2, r"batch-size is 1e\+20; allowed: int"),
        ('mean = ["1/2", "x"]', 2, "mean is .* no number"),
        ("channels = 2", 2, "--channels is 2; allowed: 1 or 3"),
        ('norm = "l9"', 2, "norm is 'l9'; allowed: linf or l2 or l1"),
        ("job = 3", 2, "job is 3; allowed: the name of a job"),
        ("job = [[1]]", 2, r"job is \[\[1\]\]; allowed: the name of a job"),
        ("rounds = " + "[" * 3000 + "]" * 3000, 3, "is not TOML: maximum recursion"),
        (".".join("a" * 20000) + " = 1", 3, "key of more than 64 parts"),
        (
            "[" + ".".join(['"a"'] * 20000) + "]",
            3,
            "is not TOML: it has a key of more than 64 parts",
        ),
        (
            "x = {" + " . ".join("a" * 20000) + " = 1}",
            3,
            "is not TOML: it has a key of more than 64 parts",
        ),
        ("x = '" + "x" * 2**20 + "'", 3, "more than 1,048,576 characters"),
        ("rounds = \x00", 3, "is not TOML: Invalid value"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_config_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, message: str
) -> None:
    (tmp_path / "c.toml").write_text(text)
    words = ["--config", str(tmp_path / "c.toml"), "--run-dir", str(tmp_path / "run")]
    assert main(["rounds", *words]) == code
    shown = capsys.readouterr().err
    assert re.search(message, shown)
    assert shown.count("\n") == 1
    assert len(shown) < 1000
    assert not (tmp_path / "run").exists()
