"""Time the attacks against torchattacks, foolbox, ART and the classifier alone.

    python benchmarks/attacks.py [--data imagefolder:DIR] [--weights FILE] [--only ROW ...]

All candidates of a row attack the same samples of the same classifier with the same budget, in
turn, several rounds in one run. Each is timed until it is known which samples were fooled: ours and
foolbox say so, torchattacks and ART take a forward pass more, and the time without it is shown,
too. The limit is the classifier's bare forward pass and input gradient on all samples, as often as
the budget says (DeepFool, AutoAttack: as often as ours asks the classifier). Peak memory is that
of one run in a process of its own, against one bare pass. Who is not there is left out.

Ratios hold on any machine; absolute times do not. On a busy one set OMP_NUM_THREADS=1 and take
--clock cpu.
"""

import argparse
import json
import sys
from pathlib import Path

# This file's folder comes first on the path, where `attacks` would be this file.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bars import bars
from benchmarks.candidates import LIMIT, ROWS, jobs, missing, precisions
from benchmarks.measure import Record, compare, machine, peak, peaks_are_known
from benchmarks.subject import Subject, prepare
from trainers.run.folder.checkpoint import save_tensors
from trainers.run.session import keep_freed_memory
from trainers.run.show.images import write_png

PRECISION, MEMORY = "precision", "memory"
MEASURED = ("pgd-10", "deepfool", "cw, 50 steps")  # in memory
SPEED = ("of limit", "ours / it", "success", "median l2")


def main() -> None:
    """Run the rows asked for; write a JSON, a figure and the fitted weights."""
    options = parsed()
    keep_freed_memory()
    file: Path = options.output
    file.parent.mkdir(parents=True, exist_ok=True)
    subject = prepare(
        options.data, options.weights, samples=options.samples, training=options.training,
        epochs=options.epochs, undefended=options.undefended, device=options.device,
    )  # fmt: skip
    if options.weights is None:
        weights = file.with_name("small-resnet.safetensors")
        save_tensors(weights, subject.model.state_dict(), {})
        print(f"weights are in {weights}; give them with --weights next time")
    report: Record = {"machine": machine(options.device), "data": options.data, "rows": {}}
    report |= {"samples": options.samples, "clean accuracy": subject.clean_accuracy}
    report |= {"clock": options.clock, "rounds": options.rounds}
    for name in options.only or default_rows(options.device):
        report["rows"][name] = measured(name, subject, options)
        file.write_text(json.dumps(report, indent=2))
    draw(report, file.with_suffix(".png"))
    print(f"\nwritten to {file} and {file.with_suffix('.png')}")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="synthetic", help="synthetic, imagefolder:DIR, ...")
    parser.add_argument("--weights", type=Path, help="of subject.small_resnet; else it is fitted")
    parser.add_argument("--training", type=int, default=1500, help="samples to fit it on")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--undefended", action="store_true", help="fit it without attacks")
    parser.add_argument("--samples", type=int, default=64, help="how many to attack")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
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
        return memory(subject, options.device)
    row = ROWS["pgd-10" if name == PRECISION else name]
    left_out = {} if name == PRECISION else missing(row)
    print(f"\n{name}", *(f"  left out: {who}, {why}" for who, why in left_out.items()), sep="\n")
    out: Record = {"budget": dict(row.budget), "left out": left_out, "candidates": {}}
    part = subject.first(row.samples)
    candidates = precisions(part) if name == PRECISION else jobs(row, part)
    rounds, warm_up = row.rounds or options.rounds, row.rounds is None
    out["candidates"] = compare(
        candidates, part, rounds=rounds, warm_up=warm_up, clock=options.clock
    )
    table(out["candidates"])
    return out


def table(candidates: dict[str, Record]) -> None:
    """Print a line for each candidate: its fastest round, and what `compare` says."""
    print(f"  {'':24}", *(f"{head:>10}" for head in ("seconds", "unjudged", *SPEED)))
    for name, record in candidates.items():
        values = [min(record["seconds"]), min(record["unjudged"])]
        values += [record.get(key, float("nan")) for key in SPEED]
        print(f"  {name:24}", *(f"{value:10.3f}" for value in values))


def memory(subject: Subject, device: str) -> Record:
    """Measure and print the peaks of the candidates of MEASURED, as ratios to the limit's."""
    print(f"\n{MEMORY}: peak in MiB, and against one bare pass")
    out: Record = {}
    if not peaks_are_known(device):
        print("  left out: this system does not tell")
        return out
    limit = peak(ROWS[MEASURED[0]], LIMIT, subject)
    for name in MEASURED:
        row = ROWS[name]
        for who in jobs(row, subject):
            size = limit if who == LIMIT else peak(row, who, subject)
            out[f"{name}, {who}"] = {"bytes": size, "of limit": size / limit}
            print(f"  {name + ', ' + who:34} {size / 2**20:10.1f} {size / limit:10.2f}")
    return out


def draw(report: Record, file: Path) -> None:
    """Draw the times over those of the limit."""
    groups = {
        name: {who: record["of limit"] for who, record in row["candidates"].items()}
        for name, row in report["rows"].items()
        if row.get("candidates")
    }
    if groups:
        title = "Time until it is known who is fooled"
        write_png(file, bars(groups, title=title, x_label=f"{report['clock']} time of the limit's"))


if __name__ == "__main__":
    main()
