"""The job `fit`, and the training method of rounds, from the command line to their files."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from trainers.fit import fit_or_load
from trainers.fit.fit_or_load import fit_options, with_budget
from trainers.jobs.rounds.setup import fit_flags
from trainers.run.cli.config import FitFlags
from trainers.run.cli.toml import dump, with_digest
from trainers.run.folder.folder import check_same
from trainers.run.main import main, parse_command

TINY = [
    "--smoke", "--threads", "1", "--train-samples", "80", "--test-samples", "40",
    "--batch-size", "16", "--epochs", "3",
]  # fmt: skip
FAST = ["--method", "fast", "--clean-share", "0.25", "--ema", "0.9"]


def fit(folder: Path, *words: str) -> Path:
    assert main(["fit", *TINY, "--run-dir", str(folder), *words]) == 0
    return folder


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("fit") / "run", *FAST)


def test_the_summary_says_how_it_was_fitted_and_what_it_withstands(run: Path) -> None:
    summary = summary_of(run)
    assert (summary["job"], summary["method"]) == ("fit", "fast")
    assert summary["train_budget"] == "linf 0.1"
    assert [record["epoch"] for record in summary["history"]] == [0, 1, 2]
    assert summary["kept_epoch"] in (0, 1, 2)
    assert 0 < summary["fitting"]["seconds"] < 600
    (measured,) = summary["attacks"].values()
    assert measured["robust_accuracy"] <= summary["clean_accuracy"]
    for rate, interval in (
        (summary["clean_accuracy"], summary["clean_accuracy_interval"]),
        (measured["robust_accuracy"], measured["robust_accuracy_interval"]),
    ):
        assert 0 <= interval[0] <= rate <= interval[1] <= 1


def test_the_folder_holds_what_a_run_leaves(run: Path) -> None:
    names = "config.toml status.json metrics.jsonl log.txt report.html figures/fit.png"
    for name in [*names.split(), "checkpoints/round-000.safetensors", "tensorboard"]:
        assert (run / name).exists(), name
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [
        *(f"round-000/fit/epoch-{epoch:03}" for epoch in (1, 2, 3)), "pgd", "summary",
    ]  # fmt: skip
    assert "Fitted by fast at linf 0.1, epochs: 3" in (run / "report.html").read_text()


def test_its_weights_are_what_other_jobs_take(run: Path, tmp_path: Path) -> None:
    words = ["--smoke", "--threads", "1", "--test-samples", "40", "--batch-size", "16"]
    weights = ["--weights", str(run / "checkpoints/round-000.safetensors")]
    more = ["--attacks", "pgd:steps=20", "--run-dir", str(tmp_path / "e")]
    assert main(["evaluate", *words, *weights, *more]) == 0
    fitted, again = summary_of(run), summary_of(tmp_path / "e")
    assert again["clean_accuracy"] == fitted["clean_accuracy"]
    assert again["worst_case"] == fitted["worst_case"]


def test_given_weights_are_where_it_begins(run: Path, tmp_path: Path) -> None:
    weights = ["--weights", str(run / "checkpoints/round-000.safetensors")]
    onward = fit(tmp_path / "on", *weights, "--epochs", "1", "--lr", "1e-9", "--weight-decay", "0")
    (record,) = summary_of(onward)["history"]
    assert record["accuracy"] > summary_of(run)["history"][0]["accuracy"]
    assert summary_of(onward)["train_budget"] is None


def test_a_killed_fit_ends_like_an_undisturbed_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "killed", fit_or_load._note_epochs

    def interrupted(context: Any, history: Any, number: int, who: str, *, samples: int = 0) -> None:
        real(context, history, number, who, samples=samples)
        if len(history) == 2:  # noted, and not yet saved
            raise KeyboardInterrupt

    monkeypatch.setattr(fit_or_load, "_note_epochs", interrupted)
    assert main(["fit", *TINY, *FAST, "--run-dir", str(folder)]) == 130
    monkeypatch.undo()
    fit(folder, *FAST)
    for name in ("round-000.safetensors", "test-pgd/00000.safetensors"):
        ours, theirs = (f / "checkpoints" / name for f in (folder, run))
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert (folder / "figures/fit.png").read_bytes() == (run / "figures/fit.png").read_bytes()
    assert summary_of(folder)["history"] == summary_of(run)["history"]
    assert summary_of(folder)["worst_cases"] == summary_of(run)["worst_cases"]


@pytest.mark.slow
def test_every_fit_of_the_rounds_is_by_the_method(tmp_path: Path) -> None:
    words = ["--attacks", "pgd", "--attack-samples", "pgd=16", "--test-attacks", "fgsm"]
    common = ["rounds", *TINY, *words, "--epochs", "1", "--rounds", "1", "--augmentation", "none"]
    weights = {}
    for name, more in {"plain": [], "named": ["--method", "standard"], "fast": FAST[:2]}.items():
        assert main([*common, *more, "--run-dir", str(tmp_path / name)]) == 0
        weights[name] = [
            load_file(tmp_path / name / f"checkpoints/round-00{n}.safetensors") for n in (0, 1)
        ]
    for number in (0, 1):
        plain, named, fast = (weights[name][number] for name in ("plain", "named", "fast"))
        assert all(plain[key].equal(named[key]) for key in plain)
        assert not all(plain[key].equal(fast[key]) for key in plain)


@pytest.mark.parametrize(
    ("words", "norm", "eps"),
    [
        ([], "linf", 0.1),
        (["--eps", "0.05"], "linf", 0.05),
        (["--eps", "0.05", "--train-eps", "0.2"], "linf", 0.2),
        (["--norm", "l2"], "l2", 1.0),
        (["--eps", "0.05", "--train-norm", "l2"], "l2", 1.0),
        (["--train-norm", "l1", "--train-eps", "3"], "l1", 3.0),
        (["--data", "cifar10:x"], "linf", 8 / 255),
    ],
)
def test_the_budget_of_training_is_that_of_the_run(words: list[str], norm: str, eps: float) -> None:
    config = parse_command(["rounds", "--method", "pgd-at", *words]).config
    for number, method in ((0, "pgd-at"), (2, "fast")):
        options = fit_options(fit_flags(config, number), batch_size=8)
        assert (options.train_norm, options.train_eps) == (norm, eps)
        assert options.method == method
        assert options.epochs == (config.fit.retrain_epochs if number else config.fit.epochs)


def test_from_scratch_a_round_takes_as_long_as_the_first_fit() -> None:
    config = parse_command(["rounds", "--start", "scratch", "--retrain-method", "trades"]).config
    first, later = (fit_options(fit_flags(config, n), batch_size=8) for n in (0, 1))
    assert (later.epochs, later.lr, later.weight_decay) == (
        first.epochs, first.lr, first.weight_decay,
    )  # fmt: skip
    assert (first.method, later.method) == ("standard", "trades")


def test_a_budget_beyond_the_range_of_pixels_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--method", "fast", "--train-eps", "8", "--run-dir", str(tmp_path / "run")]
    assert main(["fit", *TINY, *words]) == 2
    assert "write 8 of 255 as 8/255" in capsys.readouterr().err


def test_standard_training_has_no_budget() -> None:
    flags = with_budget(FitFlags(), "digits", norm="l1", eps=4.0)
    assert fit_options(flags, batch_size=8).train_eps == 8 / 255  # the default


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("method", ["standard", "pgd-at", "trades", "mart", "fast", "free"])
def test_kills_change_nothing(method: str, hunt: Any) -> None:
    found = hunt(["fit", *TINY, "--epochs", "6", "--method", method], 3)
    assert found.struck >= 1
    files = sorted(
        path.relative_to(found.plain) for path in found.plain.glob("checkpoints/**/*.safetensors")
    )
    assert files
    for file in files:
        assert (found.hunted / file).read_bytes() == (found.plain / file).read_bytes(), file


def test_a_run_that_is_older_than_an_option_goes_on_with_its_default(tmp_path: Path) -> None:
    config = parse_command(["fit", "--lr", "0.01"]).config
    lines = dump("fit", config).splitlines()
    file = tmp_path / "config.toml"
    older = "\n".join(line for line in lines if not line.startswith("method ="))
    file.write_text(with_digest(f"{older}\n"))
    assert 'method = "standard"' in lines
    check_same(file, "fit", config)
    other = parse_command(["fit", "--lr", "0.01", "--method", "fast"]).config
    with pytest.raises(ValueError, match=r"other options \(--method standard -> fast\)"):
        check_same(file, "fit", other)
