"""Make clips flicker until a classifier errs: single clips, all clips, clips out of step.

    python examples/flicker.py --output OUT
    python examples/flicker.py --output OUT --data videofolder:DIR --clips 4

Repeats experiments of Naeh et al. 2020 on a small C3D that is trained first, or loaded: a pattern
for each clip (figure 2), what beta1 and beta2 trade (figure 5), one pattern for all clips, with and
without random shifts while it is fitted, at every shift, and the fooling ratio over the number of
clips that it was fitted to (figure 3), beside `sup` and a universal perturbation in linf. There
all fits get as many steps and the same limit, and each is made from several draws of clips.

Writes flicker.json (all numbers), and of the experiments that run flicker-pattern.png,
flicker-path.png, flicker-universal.png and flicker-shifts.png, flicker-counts.png.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks import (
    AttackResult,
    Flicker,
    FlickerUniversal,
    Perturbation,
    SparseUniversalPerturbation,
    UniversalPerturbation,
    fooling_over_shifts,
)
from attacks.common.randomness import generator_for
from attacks.universal.sample_loader import Loader
from augment import Dataset, load_dataset
from trainers import FitOptions, clean_accuracy, fit_classifier, load_classifier
from trainers.evaluate.evaluation import predict
from trainers.run.cli.numbers import number
from trainers.run.folder.atomic import write_json
from trainers.run.show.images import write_png
from trainers.run.show.plots import line_chart, path_figure, pattern_figure, to_picture

Row = dict[str, Any]
BATCH = 8
EXPERIMENTS = ("single", "path", "shifts", "counts")
BETAS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Universal attacks whose fooling ratios are drawn over the number of clips. Each takes the command
# line, and how often to go through the clips.
UNIVERSAL: dict[str, Callable[[argparse.Namespace, int], Any]] = {
    "flicker": lambda args, passes: universal_flicker(args, passes, roll=False),
    "linf": lambda args, passes: UniversalPerturbation(
        "linf", args.eps, target_rate=1.0, passes=passes
    ),
    "sup": lambda args, passes: SparseUniversalPerturbation(eps=args.eps, passes=passes),
}


def main() -> None:
    """Train a classifier, run the experiments, print the tables, draw the figures."""
    args = parsed()
    train = loaded(args, "train", args.train_samples)
    test = loaded(args, "test", args.test_samples)
    args.output.mkdir(parents=True, exist_ok=True)
    model = classifier(train, args)
    held_out = batches(test, range(len(test)))
    x, y = right_clips(model, test, args.attacked)
    facts = {n: getattr(args, n) for n in ("data", "model", "size", "steps", "fit_steps", "eps")}
    facts |= {"lam": args.lam, "torch": torch.__version__}
    facts |= {"train": len(train), "test": len(test), "accuracy": clean_accuracy(model, test)}
    print(f"accuracy {facts['accuracy']:.2f}; {len(x)} clips are attacked", flush=True)
    run: dict[str, Callable[[], list[Row]]] = {
        "single": lambda: single(model, x, y, args),
        "path": lambda: path(model, x, y, args),
        "shifts": lambda: shifts(model, train, held_out, args),
        "counts": lambda: counts(model, train, held_out, args),
    }
    found = {name: run[name]() for name in args.experiments}
    write_json(args.output / "flicker.json", facts | found)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--data", default="moving-digits", help="or videofolder:DIR")
    parser.add_argument("--clips", type=int, default=1, help="clips taken from each video")
    parser.add_argument("--stride", type=int, default=1, help="of the frames of a clip")
    parser.add_argument("--size", type=int, help="side of the frames")
    parser.add_argument("--train-samples", type=int, help="take so many of them")
    parser.add_argument("--test-samples", type=int, help="measure on so many of them")
    parser.add_argument("--model", default="c3d-small", help="as load_classifier knows it")
    parser.add_argument("--weights", help="of the classifier; without, it is trained")
    parser.add_argument("--epochs", type=int, default=8, help="of that training")
    parser.add_argument("--attacked", type=int, default=16, help="clips with a pattern each")
    parser.add_argument("--steps", type=int, default=100, help="of each pattern, at most")
    parser.add_argument("--eps", type=number, default=0.2, help="largest value, such as 8/255")
    parser.add_argument("--lam", type=float, default=1.0, help="weight of what is visible")
    parser.add_argument("--fit-steps", type=int, default=200, help="of a universal fit, at least")
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 8, 32, 128], help="of clips")
    parser.add_argument("--seeds", type=int, default=3, help="draws of these clips")
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS)
    return parser.parse_args()


def loaded(args: argparse.Namespace, split: str, samples: int | None) -> Dataset:
    """Load a split of the data."""
    many = {"clips": args.clips, "stride": args.stride, "samples": samples, "size": args.size}
    return load_dataset(args.data, split, **many)


def classifier(train: Dataset, args: argparse.Namespace) -> nn.Module:
    """Load the classifier, and train it unless its weights are given."""
    torch.manual_seed(0)
    model = load_classifier(
        args.model,
        num_classes=train.num_classes,
        weights=args.weights,
        in_channels=train.shape[0],
    )
    if not args.weights:
        print(f"training {args.model}", flush=True)
        fit_classifier(model, train, FitOptions(epochs=args.epochs), seed=0)
    return model


def batches(ds: Dataset, rows: range | list[int]) -> list[tuple[Tensor, Tensor]]:
    """Return some clips of a dataset in batches, x (B, C, T, H, W) and y (B,)."""
    x, y = ds.stack(list(rows))
    return list(zip(x.split(BATCH), y.split(BATCH), strict=True))


def right_clips(model: nn.Module, ds: Dataset, most: int) -> tuple[Tensor, Tensor]:
    """Return clips that the model gets right, at most so many, spread over the dataset."""
    x, y = ds.stack(list(range(len(ds))))
    rows = (torch.cat([predict(model, part) for part in x.split(BATCH)]).argmax(1) == y).nonzero()
    if not len(rows):
        raise SystemExit("the classifier gets no clip right; train it longer: --epochs")
    rows = rows.flatten()[torch.arange(min(most, len(rows))) * len(rows) // min(most, len(rows))]
    return x[rows], y[rows]


def single(model: nn.Module, x: Tensor, y: Tensor, args: argparse.Namespace) -> list[Row]:
    """Give each clip its own pattern, for any class and for the next one; draw the first."""
    next_class = (y + 1) % predict(model, x[:1]).shape[1]
    rows = []
    for name, target in (("untargeted", None), ("targeted", next_class)):
        start = time.perf_counter()
        result = flicker(args)(model, x, y, target=target)
        rows.append({"goal": name, "seconds": time.perf_counter() - start, **seen(result)})
        print(told(name, rows[-1]), flush=True)
        if name == "untargeted":
            fooled = int(result.success.int().argmax())  # the first one, should none be fooled
            pattern = result.info["pattern"][fooled]
            figure = pattern_figure(pattern, title="The pattern of a clip")
            write_png(args.output / "flicker-pattern.png", figure)
    return rows


def flicker(args: argparse.Namespace, **options: Any) -> Flicker:
    """Return the attack on single clips."""
    return Flicker(steps=args.steps, eps=args.eps, **{"lam": args.lam, **options})


def seen(result: AttackResult) -> Row:
    """Return the share of clips that were fooled, and what is visible of their patterns."""
    fooled = result.success
    row: Row = {"fooled": float(fooled.double().mean()), "clips": len(fooled)}
    for name in ("thickness", "roughness", "thickness_clipped", "roughness_clipped"):
        row[name] = float(result.info[name][fooled].mean()) if fooled.any() else None
    first = result.info["first_success"][fooled]
    return row | {"first_success": float(first.double().mean()) if len(first) else None}


def told(name: str, row: Row) -> str:
    """Return a line about a row."""
    if not row["fooled"]:
        return f"{name}: none of {row['clips']} clips fooled"
    thick, rough = row["thickness"], row["roughness"]
    share = f"{row['fooled']:.2f} of {row['clips']} clips fooled"
    return f"{name}: {share}, thickness {thick:.2f} %, roughness {rough:.2f} %"


def path(model: nn.Module, x: Tensor, y: Tensor, args: argparse.Namespace) -> list[Row]:
    """Weigh thickness against roughness; clips that all weights fool are compared."""
    results = [flicker(args, beta1=beta, beta2=1 - beta)(model, x, y) for beta in BETAS]
    always = torch.stack([result.success for result in results]).all(0)
    points = [
        (beta, result.info["thickness"][always], result.info["roughness"][always])
        for beta, result in zip(BETAS, results, strict=True)
    ]
    rows: list[Row] = [
        {"beta1": beta, "beta2": 1 - beta, "compared": int(always.sum()), **seen(result)}
        for beta, result in zip(BETAS, results, strict=True)
    ]
    for row, (beta, thick, rough) in zip(rows, points, strict=True):
        if len(thick):
            row |= {"thickness": float(thick.mean()), "roughness": float(rough.mean())}
        print(told(f"beta1 {beta}", row), flush=True)
    figure = path_figure(points, title=f"{int(always.sum())} clips")
    write_png(args.output / "flicker-path.png", figure)
    return rows


def universal_flicker(args: argparse.Namespace, passes: int, *, roll: bool) -> FlickerUniversal:
    """Return the options of a universal flicker."""
    return FlickerUniversal(eps=args.eps, lam=args.lam, passes=passes, roll=roll)


def passes_for(loader: Loader, args: argparse.Namespace) -> int:
    """Return how often to go through batches, so that few clips get as many steps as many."""
    return -(-args.fit_steps // sum(1 for _ in loader))


def shifts(
    model: nn.Module, train: Dataset, held_out: Loader, args: argparse.Namespace
) -> list[Row]:
    """Fit one pattern to all clips, with and without shifts, and measure it at every shift."""
    loader, rows, lines = batches(train, range(len(train))), [], {}
    for roll in (False, True):
        options = universal_flicker(args, passes_for(loader, args), roll=roll)
        made = options.fit(model, loader)
        found = fooling_over_shifts(model, made, held_out)
        row: Row = {"roll": roll, "synchronised": found.synchronised, "mean": found.mean}
        row |= {"minimum": found.minimum, "clips": found.clips, **made.history[-1]}
        print(", ".join(f"{k} {v:.2f}" for k, v in row.items()), flush=True)
        lines[f"roll {roll}".lower()] = list(enumerate(found.ratios.tolist()))
        rows.append(row)
    draw_universal(made, args)
    title = "Fooling ratio on held-out clips"
    chart = line_chart(lines, title=title, x_label="shift in frames", y_label="fooling ratio")
    write_png(args.output / "flicker-shifts.png", to_picture(chart))
    return rows


def draw_universal(made: Perturbation, args: argparse.Namespace) -> None:
    """Draw a universal pattern, as that of a clip."""
    figure = pattern_figure(made.delta.flatten(1), title="One pattern for all clips")
    write_png(args.output / "flicker-universal.png", figure)


def counts(
    model: nn.Module, train: Dataset, held_out: Loader, args: argparse.Namespace
) -> list[Row]:
    """Fit to more and more clips, drawn anew with each seed; return the ratios on others."""
    rows: list[Row] = []
    for count in sorted({min(count, len(train)) for count in args.counts}):
        for name, options in UNIVERSAL.items():
            for seed in range(args.seeds):
                order = torch.randperm(len(train), generator=generator_for(seed, "clips")).tolist()
                loader = batches(train, order[:count])
                made = options(args, passes_for(loader, args)).fit(model, loader, seed=seed)
                row: Row = {"attack": name, "clips": count, "seed": seed}
                row |= {"thickness": 100 * float(made.delta.abs().mean())}
                row |= {"fitted": share_fooled(model, made, loader)}
                rows.append(row | {"held_out": share_fooled(model, made, held_out)})
            print(f"{name} of {count} clips: {in_words(rows[-args.seeds :])}", flush=True)
    draw_counts(rows, args)
    return rows


def share_fooled(model: nn.Module, made: Perturbation, loader: Loader) -> float:
    """Return the fooling ratio of a perturbation on clips that were right when clean."""
    fooled = count = 0
    for x, y in loader:
        right = predict(model, x).argmax(1) == y
        fooled += int((right & (predict(model, made.apply(x)).argmax(1) != y)).sum())
        count += int(right.sum())
    return fooled / max(count, 1)


def in_words(rows: list[Row]) -> str:
    """Return the means of some rows, and their range."""
    names = ("held_out", "fitted", "thickness")
    found = [(name, *summary([row[name] for row in rows])) for name in names]
    return ", ".join(f"{name} {m:.2f} ({low:.2f} to {high:.2f})" for name, m, low, high in found)


def summary(values: list[float]) -> tuple[float, float, float]:
    """Return the mean, the lowest and the highest value."""
    return sum(values) / len(values), min(values), max(values)


def draw_counts(rows: list[Row], args: argparse.Namespace) -> None:
    """Draw the mean ratios over the counts, and how far the seeds lie apart."""
    lines: dict[str, list[tuple[float, float]]]
    lines, spread = ({name: [] for name in UNIVERSAL} for _ in range(2))
    for start in range(0, len(rows), args.seeds):
        name, count = rows[start]["attack"], rows[start]["clips"]
        mean, low, high = summary([r["held_out"] for r in rows[start : start + args.seeds]])
        lines[name].append((count, mean))
        spread[name].append((low, high))
    title = "Fooling ratio on held-out clips"
    chart = line_chart(
        lines,
        title=title,
        x_label="clips fitted to",
        y_label="fooling ratio",
        log_x=True,
        ranges=spread,
    )
    write_png(args.output / "flicker-counts.png", to_picture(chart))


if __name__ == "__main__":
    main()
