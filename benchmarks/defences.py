"""Fit a classifier through each defence, and measure it blind, as it is, and adaptively.

    python benchmarks/defences.py --folder runs/defences [--only jpeg:quality=50 ...] [OPTIONS]

OPTIONS are those of the jobs: --data, --train-samples, --eps, ... A row is printed for each
defence; what is finished in the folder is not done again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DEFENCES = (
    "jpeg:quality=50", "bit-depth:bits=3", "median-blur", "gaussian-blur", "total-variation",
    "wavelet", "resize-pad:largest=1.25", "crop-ensemble:crops=10",
)  # fmt: skip
NOTHING_ELSE = ("--curve", "none", "--masking-samples", "0")
COLUMNS = ("undefended", "blind", "as_is", "adaptive")


def job(folder: Path, *words: str) -> dict[str, Any]:
    """Run a job in a folder of its own, or find it finished; return its summary."""
    command = [sys.executable, str(ROOT / "train.py"), *words, "--run-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def cell(rate: dict[str, Any]) -> str:
    """Return a rate with its interval in percent."""
    low, high = rate["interval"]
    return f"{100 * rate['accuracy']:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(DEFENCES))
    parser.add_argument("--attack", default="pgd:steps=20")
    parser.add_argument("--epochs", default="10")
    known, words = parser.parse_known_args()
    print("| defence | clean | without defence | blind | as it is | adaptive |")
    print("|---|--:|--:|--:|--:|--:|")
    for text in known.only:
        place = known.folder / text.replace(":", "-")
        common = ("--defence", text, *words)
        fit = ("--epochs", known.epochs, "--test-attacks", "fgsm")
        job(place / "fit", "fit", *common, *fit)
        weights = str(place / "fit/checkpoints/round-000.safetensors")
        asked = ("--weights", weights, "--attacks", known.attack, *NOTHING_ELSE)
        defence = job(place / "evaluate", "evaluate", *common, *asked)["defence"]
        (rates,) = defence["attacks"].values()
        cells = [defence["clean_accuracy"], *(rates[name] for name in COLUMNS)]
        print(f"| `{text}` | {' | '.join(map(cell, cells))} |", flush=True)


if __name__ == "__main__":
    main()
