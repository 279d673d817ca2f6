from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import RefusedInput
from trainers.run.cli.checks import check
from trainers.run.cli.config import RoundsConfig
from trainers.run.cli.numbers import number
from trainers.run.cli.toml import check_options, dump, flatten, load, replace_options
from trainers.run.main import JOBS, parse_command


def options(*words: str) -> dict:
    return flatten(parse_command(list(words)).config)


def test_only_the_small_cnn_is_retrained_at_the_rate_of_the_first_fit() -> None:
    photographs = ["rounds", "--data", "imagefolder:x"]
    own = options(*photographs)
    assert (own["retrain_lr"], own["retrain_weight_decay"]) == (3e-3, 5e-4)
    other = options(*photographs, "--model", "resnet18-cifar")
    assert (other["retrain_lr"], other["retrain_weight_decay"]) == (3e-4, 0.05)
    mine = options(*photographs, "--model", "resnet18", "--retrain-lr", "1e-3")
    assert mine["retrain_lr"] == 1e-3


@given(top=st.integers(0, 10**6), bottom=st.integers(1, 10**6))
@settings(max_examples=50)
def test_a_fraction_is_its_value(top: int, bottom: int) -> None:
    assert number(f"{top}/{bottom}") == top / bottom


@pytest.mark.parametrize("text", ["1/0", "a/2", "1/2/3", "", "one"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 0\.03 or 8/255"):
        number(text)


def test_jobs_of_a_group_are_two_words() -> None:
    assert parse_command(["compress", "fit", "--seed", "1"]).job == "compress-fit"
    with pytest.raises(ValueError, match="no job 'compress'; did you mean compress fit"):
        parse_command(["compress"])


def test_no_job_means_rounds_on_digits() -> None:
    start = parse_command([])
    assert start.job == "rounds"
    assert flatten(start.config)["data"] == "digits"
    assert flatten(start.config)["eps"] == 0.1


@pytest.mark.parametrize(
    ("words", "eps"),
    [
        (["--data", "cifar10:x"], 8 / 255),
        (["--data", "cifar10:x", "--eps", "4/255"], 4 / 255),
        (["--norm", "l2"], 1.0),
        (["--data", "cifar10:x", "--norm", "l2"], 0.5),
    ],
)
def test_the_budget_follows_data_and_norm(words: list[str], eps: float) -> None:
    assert options("rounds", *words)["eps"] == eps
    assert options("evaluate", *words)["eps"] == eps


def test_smoke_shrinks_but_named_options_stay() -> None:
    small, named = options("--smoke"), options("--smoke", "--rounds", "7")
    assert small["rounds"] == 1
    assert small["train_samples"] is not None
    assert named["rounds"] == 7


SAMPLES = ["--data", "npz:a b.npz", "--mean", "1/3"]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        *((job, words) for job in JOBS for words in ([], ["--smoke"])),
        *((job, SAMPLES) for job in JOBS if job != "compress-decode"),
        ("compress-decode", ["--code", "a b.sprc", "c"]),
        ("compress-evaluate", ["--rates", "30", "1/2", "--peers", "--kinds", "x"]),
    ],
)
def test_a_printed_config_reads_back(job: str, words: list[str], tmp_path: Path) -> None:
    first = parse_command([job, *words])
    file = tmp_path / "config.toml"
    file.write_text(dump(job, first.config))
    second = parse_command([job, "--config", str(file)])
    assert dump(job, second.config) == file.read_text()
    assert replace(second.config, run=first.config.run) == first.config


@pytest.mark.parametrize(
    "data", ["npz:é.npz", "npz:猫.npz", "npz:\N{CAT FACE}.npz", "npz:\x7f\n\\u."]
)
def test_any_name_reads_back(data: str, tmp_path: Path) -> None:
    first = parse_command(["rounds", "--data", data])
    (tmp_path / "config.toml").write_text(dump("rounds", first.config), encoding="ascii")
    assert parse_command(["--resume", str(tmp_path)]).config.source.data == data


def test_a_switch_may_be_given_again(tmp_path: Path) -> None:
    words = ["evaluate", "--smoke", "--binary", "--weights", "w"]
    (tmp_path / "config.toml").write_text(dump("evaluate", parse_command(words).config))
    again = parse_command([*words, "--resume", str(tmp_path)]).config
    assert (again.run.smoke, again.classifier.binary) == (True, True)
    assert parse_command([*words, "--config", str(tmp_path / "config.toml")]).config.run.smoke
    assert not parse_command([*words, "--resume", str(tmp_path), "--no-smoke"]).config.run.smoke


@pytest.mark.parametrize("name", ["run-dir", "resume", "config", "weights", "classes", "attacks"])
def test_empty_texts_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"--{name} is empty; "):
        check(parse_command(["evaluate", f"--{name}", ""]).config)


def test_a_name_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--weights is 'w-\\udcff', which is no UTF-8"):
        check(parse_command(["evaluate", "--weights", "w-\udcff"]).config)


def test_flags_win_over_the_file_and_the_file_over_presets(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('data = "cifar10:x"\neps = 0.5\nlr = 0.25\nsmoke = true\nrounds = 9\n')
    both = options("rounds", "--config", str(file), "--lr", "0.125")
    assert (both["eps"], both["lr"], both["rounds"], both["data"]) == (0.5, 0.125, 9, "cifar10:x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round = 1", "did you mean rounds"),
        ("zzzzzz = 1", "--print-config shows them all"),
        ('rounds = "three"', "rounds is 'three'; allowed: int"),
        ("rounds = true", "rounds is True"),
        ('start = "never"', "start is 'never'"),
        ("attacks = [1]", "attacks is"),
        ('job = "attack"', "config of the job attack, not of rounds"),
        ('run-dir = "x"', "no option run-dir"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        parse_command(["rounds", "--config", str(file)])


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match="cannot read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(RefusedInput, match="not TOML"):
        load(tmp_path / "bad.toml")


def test_resume_takes_job_and_options_from_the_folder(tmp_path: Path) -> None:
    start = parse_command(["evaluate", "--seed", "5", "--batch-size", "3"])
    (tmp_path / "config.toml").write_text(dump("evaluate", start.config))
    again = parse_command(["--resume", str(tmp_path)])
    assert again.job == "evaluate"
    assert flatten(again.config)["batch_size"] == 3
    with pytest.raises(ValueError, match="no run folder"):
        parse_command([f"--resume={tmp_path / 'elsewhere'}"])
    with pytest.raises(ValueError, match="no run folder"):
        parse_command(["--resume", "a" * 300])
    with pytest.raises(ValueError, match=r"--config c\.toml gives others; leave one of them out"):
        parse_command(["--resume", str(tmp_path), "--config", "c.toml"])


def test_of_two_folders_to_resume_the_last_has_the_options(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        config = parse_command(["evaluate", "--seed", seed]).config
        (tmp_path / seed).mkdir()
        (tmp_path / seed / "config.toml").write_text(dump("evaluate", config))
    words = ["--resume", str(tmp_path / "1"), f"--resume={tmp_path / '2'}"]
    run = parse_command(words).config.run
    assert (run.seed, run.resume) == (2, str(tmp_path / "2"))
    assert parse_command([*words, "--resume", "auto"]).job == "rounds"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": -1}, "--rounds is -1; allowed: at least 0"),
        ({"lr": 0.0}, "--lr is 0; allowed: above 0"),
        ({"lr": float("nan")}, "--lr is nan"),
        ({"threshold_share": 1.5}, "at most 1"),
        ({"mean": (0.5,)}, "--mean has 1 numbers and --std has 0"),
        ({"attacks": ()}, "--attacks names no attack"),
        ({"test_attacks": ()}, "--test-attacks names no attack"),
    ],
)
def test_impossible_options_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(replace_options(RoundsConfig(), changes))


def test_check_options_keeps_lists_as_tuples() -> None:
    got = check_options(Path("c"), {"attacks": ["pgd"]}, RoundsConfig())
    assert got == {"attacks": ("pgd",)}


def test_every_option_is_named_once() -> None:
    for config in JOBS.values():
        names = [line.split(" =")[0] for line in dump("x", config()).splitlines() if " =" in line]
        assert len(names) == len(set(names))
