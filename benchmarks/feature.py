"""Compare the batched solver of `feature` with SciPy's L-BFGS-B, sample by sample.

    python benchmarks/feature.py --data imagefolder:DIR --classes FILE --model NAME --layer LAYER
        [--weights FILE] [--eps 10/255] [--samples 32] [--reference 8] [--steps 110]

Both lead the same sources to the same guides, the reference with the paper's 500 iterations. The
batch holds all samples; the reference, which takes them one by one, has the first of them.
"""

import argparse
import sys
import time
from fractions import Fraction
from pathlib import Path

# This file's folder comes first on the path, where `attacks` would be another file.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from attacks import AttackResult
from attacks.common.randomness import derive_seed
from attacks.feature.feature import FeatureAdversary
from augment import load_dataset
from trainers import load_classifier
from trainers.evaluate.guides import choose_guides
from trainers.run.session import keep_freed_memory

ITERATIONS = 500


def main() -> None:
    """Lead the sources to their guides by both solvers; print distances and seconds."""
    options = parsed()
    keep_freed_memory()
    data = load_dataset(options.data, "test", classes=options.classes)
    model = load_classifier(
        options.model, num_classes=data.num_classes, weights=options.weights,
        in_channels=data.shape[0], image_size=data.shape[1:],
    )  # fmt: skip
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(options.seed))
    rows = order[: options.samples].tolist()
    x, y = data.stack(rows)
    ids = [derive_seed(data.ids[row]) for row in rows]
    guide, _ = data.stack(choose_guides(data, y, seed=options.seed, ids=ids))

    def timed(attack: FeatureAdversary, count: int) -> tuple[AttackResult, float]:
        began = time.perf_counter()
        result = attack(model, x[:count], y[:count], guide=guide[:count])
        return result, (time.perf_counter() - began) / count

    eps = float(Fraction(options.eps))
    few = min(options.reference, len(rows))
    batched, ours = timed(FeatureAdversary(options.layer, eps=eps, steps=options.steps), len(rows))
    solver = FeatureAdversary(options.layer, eps=eps, steps=ITERATIONS, solver="lbfgsb")
    show(f"momentum, {options.steps} steps", batched, few, ours)
    single, theirs = timed(solver, few)
    show(f"L-BFGS-B, {ITERATIONS} iterations", single, few, theirs)
    quotients = ratios(batched)[:few] / ratios(single)
    low, middle, high = quotients.quantile(quotients.new_tensor([0.25, 0.5, 0.75])).tolist()
    print(f"distance, ours / theirs: median {middle:.3f}, quartiles {low:.3f} and {high:.3f}")
    print(f"seconds a sample, theirs / ours: {theirs / ours:.1f}")


def show(name: str, result: AttackResult, few: int, seconds: float) -> None:
    """Print what a solver left of the distance, of the samples that both had."""
    left = ratios(result)[:few]
    print(
        f"{name}: {left.median():.3f} of the distance is left (median of {few}; mean "
        f"{left.mean():.3f}), {int(result.queries.max())} passes, {seconds:.2f} s a sample",
        flush=True,
    )


def ratios(result: AttackResult) -> Tensor:
    """Return the distances that are left, as shares of those at the start."""
    return result.info["distance_ratio"]


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--classes")
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--layer", required=True)
    parser.add_argument("--eps", default="10/255")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--reference", type=int, default=8)
    parser.add_argument("--steps", type=int, default=110)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
