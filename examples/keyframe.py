"""Compare ways to choose the frames of a video that an attack may change.

    python examples/keyframe.py --output OUT
    python examples/keyframe.py --output OUT --data videofolder:DIR --stride 2 --per-video 5

Repeats the comparison of Xu et al. 2023 on small classifiers, each trained with several seeds:
frames by the gradient, with weights that switch; SA, the first frames with constant weights; the
first frames, frames evenly spread, and those that differ most from the one before (IFD), which
all switch, too, so that the choice of frames is their only difference. All of them get as many
frames as the gradient took on average; "gradient, same" takes exactly that many.

Writes keyframe.json (all numbers), keyframe-rate-MODEL.png (the fooling rate over the iterations
allowed, the paper's figure 2) and keyframe-weights-MODEL.png (when the classifier looked).
"""

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from attacks import AttackResult, Keyframe, sparsity
from augment import Dataset, classic_for, load_dataset
from trainers import FitOptions, clean_accuracy, fit_classifier, load_classifier, predict
from trainers.jobs.evaluate import finite_or_none
from trainers.run.folder.atomic import write_json
from trainers.run.show.images import frame_heat_map, write_png
from trainers.run.show.plots import line_chart, to_picture

Row = dict[str, Any]
FIGURES = ("fooling_rate", "queries", "map", "map_unit", "untouched", "touched")
DRAWN = 6  # clips in the picture of weights
BATCH = 16


def main() -> None:
    """Train, attack, print the tables, draw the figures."""
    args = parsed()
    options = {"size": args.size, "stride": args.stride, "clips": args.per_video}
    train = load_dataset(args.data, "train", samples=args.train_samples, **options)
    test = load_dataset(args.data, "test", **options)
    args.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name in args.models:
        for seed in range(args.seeds):
            rows += compared(name, train, test, args, seed=seed)
        draw_rates(args.output, [row for row in rows if row["model"] == name], name)
    facts = {
        k: getattr(args, k) for k in ("data", "size", "clips", "seeds", "steps", "lam", "targeted")
    }
    table = tabled(rows)
    found = {"rows": [written(row) for row in rows], "means": [written(row) for row in table]}
    write_json(args.output / "keyframe.json", facts | found)
    report(table)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--data", default="moving-digits", help="moving-digits, videofolder:DIR")
    parser.add_argument("--size", type=int, help="side of the frames, where they are larger")
    parser.add_argument("--stride", type=int, default=1, help="of the frames of a clip")
    parser.add_argument("--per-video", type=int, default=1, help="clips taken from each video")
    parser.add_argument("--train-samples", type=int, help="take so many of them")
    parser.add_argument("--models", nargs="+", default=["c3d-small", "lrcn"])
    parser.add_argument("--epochs", type=int, default=10, help="of training")
    parser.add_argument("--clips", type=int, default=40, help="attacked, of those that are right")
    parser.add_argument("--seeds", type=int, default=3, help="classifiers of each kind")
    parser.add_argument("--steps", type=int, help="500 by default, for a target 1000")
    parser.add_argument("--lr", type=float, default=1e-3, help="of the attack")
    parser.add_argument("--lam", type=float, default=0.003, help="constant weight of SA's norm")
    parser.add_argument("--targeted", action="store_true", help="to the next class")
    return parser.parse_args()


def compared(
    name: str, train: Dataset, test: Dataset, args: argparse.Namespace, *, seed: int
) -> list[Row]:
    """Train a classifier, attack what it has right, and return a row for each way."""
    torch.manual_seed(seed)
    model = load_classifier(name, num_classes=train.num_classes, in_channels=train.shape[0])
    fit = FitOptions(epochs=args.epochs, batch_size=min(64, max(8, len(train) // 16)))
    fit_classifier(model, train, fit, seed=seed, augment=classic_for(train.name, train.shape))
    accuracy = clean_accuracy(model, test)
    x, y = right(model.eval(), test, args.clips)
    print(f"{name}, seed {seed}: accuracy {accuracy:.3f}, {len(x)} clips", flush=True)
    target = (y + 1) % train.num_classes if args.targeted else None
    common = {"steps": args.steps, "lr": args.lr}
    chosen = run(Keyframe(**common), model, x, y, target)
    count = max(
        1, round(float(torch.cat([r.info["keyframes"] for r in chosen]).sum(1).float().mean()))
    )
    ways = {
        "gradient, same": Keyframe(count=count, **common),
        "SA: first, constant": Keyframe(frames="fixed", count=count, lam=args.lam, **common),
        "first": Keyframe(frames="fixed", count=count, **common),
        "uniform": Keyframe(frames="fixed", fixed="uniform", count=count, **common),
        "IFD": Keyframe(frames="ifd", count=count, **common),
    }
    results = {"gradient": chosen}
    results |= {way: run(attack, model, x, y, target) for way, attack in ways.items()}
    if seed == 0:
        picture = weights_picture(model, test, chosen[0])
        write_png(args.output / f"keyframe-weights-{name}.png", picture)
    about = {"model": name, "seed": seed, "accuracy": accuracy, "clips": len(x), "count": count}
    return [about | {"way": way} | measured(result) for way, result in results.items()]


def right(model: nn.Module, ds: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """Return up to `count` clips, evenly spread, that a classifier has right."""
    x, y = ds.stack(list(range(len(ds))))
    with torch.no_grad():
        hits = torch.cat([predict(model, part).argmax(1) for part in x.split(BATCH)]) == y
    rows = hits.nonzero()[:, 0]
    rows = rows[torch.linspace(0, len(rows) - 1, min(count, len(rows))).long()]
    return x[rows], y[rows]


def run(
    attack: Keyframe, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None
) -> list[AttackResult]:
    """Attack all clips, batch by batch."""
    return [
        attack(model, x[i : i + BATCH], y[i : i + BATCH],
               target=None if target is None else target[i : i + BATCH])
        for i in range(0, len(x), BATCH)
    ]  # fmt: skip


def measured(results: list[AttackResult]) -> Row:
    """Return the figures of all batches together, and each clip's first success."""
    names = ("queries_to_success", "first_success", "keyframes")
    info = {name: torch.cat([r.info[name] for r in results]) for name in names}
    fields = ("x", "x_adv", "success", "already", "queries", "loss")
    whole = AttackResult(
        *(torch.cat([getattr(r, name) for r in results]) for name in fields), info=info
    )
    return {**sparsity(whole), "first": info["first_success"].tolist()}


def tabled(rows: list[Row]) -> list[Row]:
    """Return the mean of each figure over the seeds."""
    keys = dict.fromkeys((row["model"], row["way"]) for row in rows)
    groups = {key: [r for r in rows if (r["model"], r["way"]) == key] for key in keys}
    return [
        {"model": model, "way": way, **{f: mean(r[f] for r in group) for f in FIGURES}}
        for (model, way), group in groups.items()
    ]


def written(row: Row) -> Row:
    """Return a row as JSON has it: what is undefined is null, and no clip's own numbers."""
    shown = {name: value for name, value in row.items() if name != "first"}
    return shown | {name: finite_or_none(shown[name]) for name in FIGURES}


def report(table: list[Row]) -> None:
    """Print the table, with each way's queries and change over those of the gradient."""
    print("\n| model | frames | FR | MQ | MAP (0-255) | SR | touched |\n" + "|---" * 7 + "|")
    for row in table:
        cells = [row["model"], row["way"], f"{row['fooling_rate']:.3f}", f"{row['queries']:.1f}"]
        cells += [f"{row['map']:.4f}", f"{row['untouched']:.3f}", f"{row['touched']:.3f}"]
        print(f"| {' | '.join(cells)} |")


def draw_rates(folder: Path, rows: list[Row], name: str) -> None:
    """Draw the share of clips fooled within each number of iterations."""
    lines = {}
    for way in dict.fromkeys(row["way"] for row in rows):
        first = [step for row in rows if row["way"] == way for step in row["first"]]
        steps = sorted({step for step in first if step})
        points = [(step, sum(0 < f <= step for f in first) / len(first)) for step in steps]
        lines[way] = [(1, 0.0), *points] if 1 not in steps else points
    title = f"Fooling rate over the iterations allowed ({name})"
    chart = line_chart(lines, title=title, x_label="iterations", y_label="fooling rate")
    write_png(folder / f"keyframe-rate-{name}.png", to_picture(chart))


def weights_picture(model: nn.Module, ds: Dataset, result: AttackResult) -> Any:
    """Draw when the classifier looked at the first clips."""
    x = result.x[:DRAWN]
    answers = predict(model, x).argmax(1).tolist()
    return frame_heat_map(
        x,
        result.info["weights"][:DRAWN],
        [ds.classes[answer] for answer in answers],
        keyframes=result.info["keyframes"][:DRAWN],
    )


if __name__ == "__main__":
    main()
