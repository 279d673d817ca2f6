"""Time the attacks against torchattacks, foolbox, ART and the classifier alone.

    python benchmarks/attacks.py [--data imagefolder:DIR] [--weights FILE] [--only ROW ...]

All candidates of a row attack the same samples of the same classifier with the same budget, in
turn, several rounds in one run. The limit is the classifier's bare forward pass and input gradient
on all samples, as often as the budget says (DeepFool, AutoAttack: as often as ours asks the
classifier). Peak memory is that of one run in a process of its own, against one bare pass.
Candidates that are not there are left out, and the row says so.

Ratios hold on any machine; absolute times do not. On a busy machine set OMP_NUM_THREADS=1 and take
--clock cpu.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

# This file's folder comes first on the path, where `attacks` would be this file.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks import ATTACKS
from benchmarks.bars import bars
from benchmarks.measure import Record, compare, machine
from benchmarks.peak import available, peak_of
from benchmarks.rows import LIMIT, OURS, ROWS, jobs, missing, precisions
from benchmarks.subject import Subject, prepare
from trainers.run.checkpoint import save_tensors
from trainers.run.figures import write_png

PRECISION, MEMORY = "precision", "memory"
MEASURED = ("pgd-10", "deepfool", "cw")  # in memory
HEADS = ("seconds", "x ours", "of limit", "success", "median l2")


def main() -> None:
    """Run the rows asked for; write a JSON, a figure and the fitted weights."""
    options = parsed()
    file: Path = options.output
    file.parent.mkdir(parents=True, exist_ok=True)
    subject = prepare(
        options.data, options.weights, samples=options.samples, training=options.training,
        epochs=options.epochs, device=options.device,
    )  # fmt: skip
    if options.weights is None:
        weights = file.with_name("small-resnet.safetensors")
        save_tensors(weights, subject.model.state_dict(), {})
        print(f"weights are in {weights}; give them with --weights next time")
    report: Record = {"machine": machine(options.device), "data": options.data}
    report |= {"samples": options.samples, "clean accuracy": subject.clean_accuracy, "rows": {}}
    for name in options.only or default_rows(options.device):
        report["rows"][name] = measured(name, subject, options)
        file.write_text(json.dumps(report, indent=2))
    draw(report, file.with_suffix(".png"), clock=options.clock)
    print(f"written to {file} and {file.with_suffix('.png')}")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="synthetic", help="synthetic, imagefolder:DIR, ...")
    parser.add_argument("--weights", type=Path, help="of subject.small_resnet; else it is fitted")
    parser.add_argument("--training", type=int, default=1500, help="samples to fit it on")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=64, help="how many to attack")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="of the ratios")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="+", choices=(*ROWS, PRECISION, MEMORY), metavar="ROW",
                        help=f"of {', '.join((*ROWS, PRECISION, MEMORY))}")  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/attacks.json"))
    return parser.parse_args()


def default_rows(device: str) -> list[str]:
    """Return all rows; that of bfloat16 and compilation is for GPUs."""
    return [*ROWS, *([PRECISION] if device == "cuda" else []), MEMORY]


def measured(name: str, subject: Subject, options: argparse.Namespace) -> Record:
    """Measure and print one row."""
    if name == MEMORY:
        return memory(subject, options)
    row = ROWS.get(name, ROWS["pgd-10"])
    skipped = {} if name == PRECISION else missing(row)
    out: Record = {"budget": dict(row.budget), "skipped": skipped, "candidates": {}}
    print(f"\n{name}", *(f"  left out: {who}, {why}" for who, why in skipped.items()), sep="\n")
    if OURS in skipped:
        return out
    part = subject.first(row.samples or len(subject.x))
    out["candidates"] = compare(
        precisions(part) if name == PRECISION else jobs(row, part),
        part,
        rounds=row.rounds or options.rounds,
        warm_up=row.rounds is None,
        clock=options.clock,
    )
    table(out["candidates"], clock=options.clock)
    return out


def table(candidates: dict[str, Record], *, clock: str) -> None:
    """Print a line for each candidate."""
    print(f"  {'':24}", *(f"{head:>10}" for head in HEADS))
    limit = candidates[LIMIT]["ratio"]
    for name, record in candidates.items():
        fastest = min(record[clock])
        values = [
            f"{fastest:10.3f}",
            f"{record['ratio']:10.2f}",
            f"{record['ratio'] / limit:10.2f}",
        ]
        for key in ("success", "median_l2"):
            values.append(f"{record[key]:10.3f}" if key in record else " " * 10)
        print(f"  {name:24}", *values)


def memory(subject: Subject, options: argparse.Namespace) -> Record:
    """Measure and print the peaks of the candidates of MEASURED, as ratios to the limit's."""
    print(f"\n{MEMORY}: peak in MiB, and against one bare pass")
    out: Record = {}
    if not available(options.device):
        print("  left out: this system does not tell")
        return out
    file = options.output.with_name("subject.safetensors")
    subject.save(file)
    limit = peak_of(MEASURED[0], LIMIT, file, options.device)
    for name in MEASURED:
        row = ROWS[name]
        if row.attack not in ATTACKS:
            print(f"  {name}: left out, there is no attack {row.attack!r} yet")
            continue
        for who in jobs(row, subject):
            peak = limit if who == LIMIT else peak_of(name, who, file, options.device)
            out[f"{name}, {who}"] = {"bytes": peak, "ratio": peak / limit}
            print(f"  {name + ', ' + who:34} {peak / 2**20:10.1f} {peak / limit:10.2f}")
    return out


def draw(report: Record, file: Path, *, clock: str) -> None:
    """Draw the ratios of times to ours."""
    groups: dict[str, dict[str, Any]] = {
        name: {who: record["ratio"] for who, record in row["candidates"].items()}
        for name, row in report["rows"].items()
        if row.get("candidates")
    }
    if groups:
        write_png(file, bars(groups, title="Time of one run", across=f"{clock} time against ours"))


if __name__ == "__main__":
    main()
