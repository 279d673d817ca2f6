"""Fit a classifier by each method in the same seconds, and attack all of them alike.

    python benchmarks/equal_seconds.py --data imagefolder:DIR --folder OUT [--seconds 1800]
        [--methods fast pgd-at rounds ...] [--seeds 0 1 2] [--eps 4/255]

Each row is a command of `train.py`, on one thread; its epochs are as many as fit into the seconds,
by the time that an epoch of 2,000 samples took just before, once warm. Nothing is chosen by test
samples. Rows that are done are kept in OUT: called again, the command goes on with the others.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# This file's folder comes first on the path, and has an attacks.py of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from augment import classic_for, load_dataset
from trainers import FitOptions, fit_classifier, load_classifier
from trainers.run.session import unused

ROOT = Path(__file__).resolve().parents[1]
PILOT = 2000  # samples that an epoch is timed on
ROUNDS, BANKED, STATIC = 3, 4000, 2
FIRST = 0.2  # share of the seconds that round 0, and each static classifier, takes
# Of rounds on stored samples alone: they need decay this strong, or they are merely learnt.
DECAYING = ["--retrain-lr", "2e-3", "--retrain-weight-decay", "2"]
QUICK = ["--test-samples", "40", "--test-attacks", "pgd:steps=5", "--generator-test-samples", "8"]


@dataclass(frozen=True)
class Bench:
    """What all rows share.

    Attributes:
        args: of the command line.
        size: how many training samples there are.
    """

    args: argparse.Namespace
    size: int

    def seconds_of_epoch(self, method: str) -> float:
        """Time an epoch on some samples once it is warm, and return what one on all will take."""
        some = load_dataset(self.args.data, "train", samples=PILOT)
        torch.manual_seed(0)
        model = load_classifier(
            self.args.model, num_classes=some.num_classes, in_channels=some.shape[0],
            image_size=some.shape[1:],
        )  # fmt: skip
        options = FitOptions(
            epochs=2, batch_size=128, method=method, train_eps=fraction(self.args.eps)
        )
        at: list[float] = []
        fit_classifier(
            model, some, options, seed=0, augment=classic_for(some.name, some.shape),
            on_epoch=lambda _: at.append(time.process_time()),
        )  # fmt: skip
        return (at[1] - at[0]) * self.size / len(some)

    def epochs(self, method: str, seconds: float) -> int:
        """Return how many epochs fit into some seconds, at least one."""
        return max(1, round(seconds / self.seconds_of_epoch(method)))

    def run(self, job: str, folder: Path, *words: str) -> float:
        """Run a job of `train.py`, or what is left of it; return the processor seconds it took."""
        command = [sys.executable, "train.py", job, "--run-dir", str(folder), "--threads", "1"]
        command += ["--data", self.args.data, "--model", self.args.model, *words]
        if self.args.train_samples and "--train-samples" not in words:
            command += ["--train-samples", str(self.args.train_samples)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


Row = Callable[[Bench, Path, int, float], tuple[Path, float]]  # to weights, and seconds taken


def fitted(method: str) -> Row:
    """Return the row of a fit by one method."""

    def row(bench: Bench, folder: Path, seed: int, seconds: float) -> tuple[Path, float]:
        epochs = bench.epochs(method, seconds)
        took = bench.run("fit", folder, *fit_words(bench, method, epochs, seed), *QUICK[:4])
        return folder / "checkpoints/round-000.safetensors", took

    return row


def fit_words(bench: Bench, method: str, epochs: int, seed: int) -> list[str]:
    """Return the options of a fit."""
    words = ["--method", method, "--epochs", str(epochs), "--seed", str(seed)]
    return [*words, "--eps", bench.args.eps]


def ensemble(bench: Bench, folder: Path, seed: int, seconds: float) -> tuple[Path, float]:
    """Fit static classifiers, then one that samples perturbed for them are fitted to."""
    spent, files = 0.0, []
    for number in range(STATIC):
        place = folder.with_name(f"{folder.name}-static-{number}")
        epochs = bench.epochs("standard", FIRST * seconds)
        words = fit_words(bench, "standard", epochs, 100 + number)
        spent += bench.run("fit", place, *words, *QUICK[:4])
        files.append(str(place / "checkpoints/round-000.safetensors"))
    epochs = bench.epochs("fast", seconds - spent)
    words = fit_words(bench, "ensemble", epochs, seed)
    spent += bench.run("fit", folder, *words, "--static", *files, *QUICK[:4])
    return folder / "checkpoints/round-000.safetensors", spent


def rounds(method: str, attacks: Sequence[str] = ()) -> Row:
    """Return the row of rounds that retrain by a method; without attacks, the default's."""

    def row(bench: Bench, folder: Path, seed: int, seconds: float) -> tuple[Path, float]:
        first = bench.epochs("standard", FIRST * seconds)
        later = bench.epochs(method, (1 - FIRST) * seconds) / ROUNDS
        words = ["--eps", bench.args.eps, "--seed", str(seed), *QUICK, "--patience", "0"]
        words += ["--epochs", str(first), "--retrain-epochs", str(max(1, math.floor(later)))]
        words += ["--rounds", str(ROUNDS), "--retrain-method", method]
        if attacks:
            words += ["--attacks", *attacks, "--attack-samples", "generator=64", f"pgd={BANKED}"]
            words += DECAYING
        took = bench.run("rounds", folder, *words)
        return folder / "checkpoints/best.safetensors", took

    return row


GENERATOR = "generator:top_k=1,lam=10,steps=150"
ROWS: dict[str, Row] = {
    "standard": fitted("standard"),
    "rounds, generator": rounds("bank", [GENERATOR]),
    "rounds, PGD": rounds("bank", ["pgd"]),
    "rounds, both": rounds("bank", [GENERATOR, "pgd"]),
    "rounds": rounds("fast"),
    "pgd-at": fitted("pgd-at"),
    "trades": fitted("trades"),
    "mart": fitted("mart"),
    "fast": fitted("fast"),
    "free": fitted("free"),
    "ensemble": ensemble,
}


def measure(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    """Return a row of the table: made, or read where it was made before."""
    args = bench.args
    row = f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    fit, file = args.folder / f"{row}-fit.json", args.folder / f"{row}.json"
    if not fit.exists():  # one that was cut short is timed anew as a whole, in another folder
        weights, seconds = ROWS[name](bench, unused(args.folder / row), seed, args.seconds)
        fit.write_text(json.dumps({"weights": str(weights), "seconds": seconds}))
    if not file.exists():
        fitted, place = json.loads(fit.read_text()), args.folder / f"{row}-evaluated"
        words = ["--attacks", "pgd:steps=50", "autoattack", "--eps", args.eps]
        words += ["--test-samples", str(args.test_samples), "--weights", fitted["weights"]]
        bench.run("evaluate", place, *words)
        summary = json.loads((place / "summary.json").read_text())
        robust = {key: each["robust_accuracy"] for key, each in summary["attacks"].items()}
        found = {"clean": summary["clean_accuracy"], **robust, "seconds": fitted["seconds"]}
        file.write_text(json.dumps(found))
    return dict(json.loads(file.read_text()))


def fraction(text: str) -> float:
    """Return the number that a text such as 4/255 stands for."""
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--model", default="smallcnn")
    parser.add_argument("--eps", default="4/255")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--test-samples", type=int, default=500)
    return parser.parse_args()


def main() -> None:
    """Print a line of the table as each is done."""
    args = arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    train = load_dataset(args.data, "train", samples=args.train_samples)
    bench = Bench(args, len(train))
    print("| method | seed | clean | PGD-50 | AutoAttack | seconds |\n|---|--:|--:|--:|--:|--:|")
    for seed in args.seeds:
        for name in args.methods:
            row = measure(bench, name, seed)
            rates = [f"{row[key]:.1%}" for key in ("clean", "pgd", "autoattack")]
            cells = [name, str(seed), *rates, f"{row['seconds']:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
