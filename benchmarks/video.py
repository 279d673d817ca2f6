"""Time the attacks on clips against a loop over clips, and against the classifier alone.

    python benchmarks/video.py [--data videofolder:DIR --size 64] [--models c3d-small lrcn]

All clips at once, then the same attack on one clip after the other, then as many bare forward
passes and input gradients as the attack asked for on average; in turn, several rounds, in one run.
Batch and loop must fool the same clips. Each model is fitted first, or read from --weights.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

# This file's folder comes first on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn

from attacks import ATTACKS, Attack, AttackResult
from attacks.common.frozen import frozen
from augment import load_dataset
from benchmarks.measure import Clock, clock_of, machine, typical_ratio
from trainers import FitOptions, fit_classifier, load_classifier, predict
from trainers.run.session import keep_freed_memory

STEPS = 20
ROWS: dict[str, dict[str, object]] = {
    "pgd": {"eps": 0.1, "steps": STEPS},
    "flicker": {"steps": STEPS},
    "keyframe": {"steps": STEPS},
    "generator": {"steps": STEPS},
    "square": {"eps": 0.1, "queries": 5 * STEPS},
}
FORWARD_ONLY = ("square",)


def main() -> None:
    """Time every attack on every model; print a table, write a JSON."""
    options = parsed()
    keep_freed_memory()
    report: dict[str, object] = {"machine": machine("cpu"), "data": options.data, "rows": []}
    rows = []
    print(f"{'':24}", *(f"{head:>12}" for head in HEADS))
    for name in options.models:
        model, x, y = prepared_model(name, options)
        for attack in options.attacks:
            row = measured(model, x, y, attack, rounds=options.rounds, clock=options.clock)
            rows.append({"model": name, "attack": attack} | row)
            print(f"{name + ', ' + attack:24}", *(f"{row[head]:12.3f}" for head in HEADS))
            report["rows"] = rows
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(report, indent=2))
    print(f"written to {options.output}")


HEADS = ("s / clip", "queries", "loop / ours", "ours / limit", "success", "same clips")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="moving-digits", help="moving-digits, videofolder:DIR")
    parser.add_argument("--size", type=int, help="side of the frames")
    parser.add_argument("--models", nargs="+", default=["c3d-small", "lrcn"])
    parser.add_argument("--attacks", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/video.json"))
    return parser.parse_args()


def prepared_model(name: str, options: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """Fit a classifier, and take test clips that it gets right, x (B, C, T, H, W) and y (B,)."""
    train = load_dataset(options.data, "train", size=options.size)
    test = load_dataset(options.data, "test", size=options.size)
    torch.manual_seed(0)
    model = load_classifier(name, num_classes=train.num_classes, in_channels=train.shape[0])
    batch = min(32, max(4, len(train) // 8))
    fit_classifier(model, train, FitOptions(epochs=options.epochs, batch_size=batch), seed=0)
    x, y = test.stack(range(min(len(test), 4 * options.clips)))
    right = predict(model, x).argmax(1) == y
    return model.eval(), x[right][: options.clips], y[right][: options.clips]


def measured(
    model: nn.Module, x: Tensor, y: Tensor, name: str, *, rounds: int, clock: Clock
) -> dict[str, float]:
    """Return the medians over the rounds of one attack's times and ratios."""
    attack: Attack = ATTACKS[name](**ROWS[name])
    now = clock_of(clock)
    ids = list(range(len(x)))
    taken: dict[str, list[float]] = {"batch": [], "loop": [], "limit": []}
    for number in range(rounds + 1):  # the first one warms up
        start = now()
        batch = attack(model, x, y, sample_ids=ids)
        there = now()
        loop = [attack(model, x[i : i + 1], y[i : i + 1], sample_ids=[i]) for i in ids]
        looped = now()
        bare(model, x, passes=round(float(batch.queries.double().mean())), name=name)
        ended = now()
        if number:
            spans = (there - start, looped - there, ended - looped)
            for key, seconds in zip(taken, spans, strict=True):
                taken[key].append(seconds)
    same = torch.cat([result.success for result in loop]) == batch.success
    return {
        "s / clip": min(taken["batch"]) / len(x),
        "queries": float(batch.queries.double().mean()),
        "loop / ours": typical_ratio(taken["loop"], taken["batch"]),
        "ours / limit": typical_ratio(taken["batch"], taken["limit"]),
        "success": float(batch.success.double().mean()),
        "same clips": float(same.double().mean()),
        "largest difference": largest_difference(batch, loop),
    }


def largest_difference(batch: AttackResult, loop: list[AttackResult]) -> float:
    """Return the largest difference of a pixel between the two ways to the same samples."""
    alone = torch.cat([result.x_adv for result in loop])
    return float((alone - batch.x_adv).abs().max())


def bare(model: nn.Module, x: Tensor, *, passes: int, name: str) -> None:
    """Run the classifier on all clips, and back to its input unless the attack needs no gradient.

    The model gets the clips as they are: what an attack does about their layout counts for it.
    """
    forward: Callable[[Tensor], Tensor] = model
    with frozen(model):
        for _ in range(passes):
            if name in FORWARD_ONLY:
                with torch.no_grad():
                    forward(x)
            else:
                leaf = x.detach().requires_grad_()
                torch.autograd.grad(forward(leaf).logsumexp(1).sum(), leaf)


if __name__ == "__main__":
    main()
