"""Fit universal perturbations to more and more images, and try them on three architectures.

    python examples/universal.py --output OUT

Repeats two experiments of Moosavi-Dezfooli et al. 2017: the fooling rate on held-out images over
the number of images that the perturbation was fitted to (figure 6), with both solvers, and how
far a perturbation made on one architecture fools another (table 2). On the embedded digits that
takes about two minutes; docs/attacks.md shows it, and the outcome on photographs.

Writes universal.json (all numbers), universal-rate.png, universal-transfer.png and
universal-samples.png.
"""

import argparse
import math
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from attacks import Perturbation, UniversalPerturbation, fooled_counts, transfer_matrix
from attacks.common.randomness import generator_for
from attacks.universal.sample_loader import Loader
from attacks.universal.universal import Solver
from augment import Dataset, load_dataset
from trainers import FitOptions, clean_accuracy, fit_classifier, load_classifier
from trainers.models.networks.resnet_cifar import ResNet18CIFAR
from trainers.run.cli.numbers import number
from trainers.run.folder.atomic import write_json
from trainers.run.show.images import FONT, INK, amplification, to_image, write_png
from trainers.run.show.plots import line_chart, to_picture

Row = dict[str, Any]
BATCH = 32
CELL, MARGIN, GAP = 96, 130, 8  # pixels


def resnet(*, num_classes: int, in_channels: int) -> nn.Module:
    """Build a narrow ResNet-18, as an example of a factory of one's own."""
    return ResNet18CIFAR(num_classes=num_classes, in_channels=in_channels, width=16)


def perceptron(*, num_classes: int, in_channels: int) -> nn.Module:
    """Build a classifier without convolutions, of means over an 8x8 grid."""
    layers = (nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64 * in_channels, 128))
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(128, num_classes))


def main() -> None:
    """Fit classifiers and perturbations, print the tables, draw the figures."""
    args = parsed()
    train = load_dataset(args.data, "train", samples=args.train_samples)
    test = load_dataset(args.data, "test", samples=args.test_samples)
    args.output.mkdir(parents=True, exist_ok=True)
    models = {short(text): classifier(text, train, args) for text in args.models}
    held_out = batches(test, range(len(test)))
    name, model = next(iter(models.items()))
    rows = [
        measured(model, train, held_out, args, solver=solver, images=count, seed=seed)
        for count in sorted({min(count, len(train)) for count in args.counts})
        for solver in ("gradient", "deepfool")
        for seed in range(args.seeds)
    ]
    made = {name: fitted(m, train, range(len(train)), args) for name, m in models.items()}
    matrix = transfer_matrix(list(models.values()), list(made.values()), held_out).tolist()
    accuracy = {name: clean_accuracy(m, test) for name, m in models.items()}
    facts = {name: getattr(args, name) for name in ("data", "norm", "eps", "steps", "passes")}
    facts |= {"torch": torch.__version__, "train": len(train), "test": len(test)}
    found = {"accuracy": accuracy, "attacked": name, "rates": rows, "transfer": matrix}
    write_json(args.output / "universal.json", facts | found)
    report(rows, accuracy, matrix)
    draw(args.output, rows, matrix, models, made, test, f"{name}, {args.norm} {args.eps:.3g}")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    own = [f"{Path(__file__).resolve()}:{factory.__name__}" for factory in (resnet, perceptron)]
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--data", default="digits", help="digits, imagefolder:DIR, cifar10:DIR")
    parser.add_argument("--train-samples", type=int, help="take so many of them")
    parser.add_argument("--test-samples", type=int, help="measure on so many of them")
    parser.add_argument(
        "--models", nargs="+", default=["smallcnn", *own], metavar="NAME[=WEIGHTS]",
        help="classifiers as load_classifier knows them; those without weights are trained",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, default=8, help="of that training")
    parser.add_argument("--norm", default="l2", choices=("linf", "l2", "l1"))
    parser.add_argument("--eps", default=2.0, type=number, help="radius, such as 8/255")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--seeds", type=int, default=3, help="sets of images of each size")
    parser.add_argument("--steps", type=int, default=200, help="of either, at least")
    parser.add_argument("--passes", type=int, default=2, help="of deepfool, at least")
    return parser.parse_args()


def short(text: str) -> str:
    """Return how a classifier is called in tables: `smallcnn`, or the name of its factory."""
    return text.partition("=")[0].rpartition(":")[2]


def classifier(text: str, train: Dataset, args: argparse.Namespace) -> nn.Module:
    """Load a classifier, and train it unless its weights are given."""
    name, _, weights = text.partition("=")
    torch.manual_seed(0)
    model = load_classifier(
        name, num_classes=train.num_classes, weights=weights or None, in_channels=train.shape[0]
    )
    if not weights:
        print(f"training {short(text)}", flush=True)
        fit_classifier(model, train, FitOptions(epochs=args.epochs), seed=0)
    return model


def batches(ds: Dataset, rows: Iterable[int]) -> list[tuple[Tensor, Tensor]]:
    """Return some samples of a dataset in batches, x (B, C, H, W) and y (B,)."""
    x, y = ds.stack(list(rows))
    return list(zip(x.split(BATCH), y.split(BATCH), strict=True))


def fitted(
    model: nn.Module,
    train: Dataset,
    rows: Iterable[int],
    args: argparse.Namespace,
    *,
    solver: Solver = "gradient",
) -> Perturbation:
    """Fit a perturbation to some images, with as many steps for few images as for many.

    A step of "gradient" takes a batch, one of "deepfool" an image.
    """
    loader = batches(train, rows)
    if solver == "gradient":
        passes = math.ceil(args.steps / len(loader))
    else:
        passes = max(args.passes, math.ceil(args.steps / sum(len(x) for x, _ in loader)))
    options = UniversalPerturbation(args.norm, args.eps, 1.0, solver=solver, passes=passes)
    return options.fit(model, loader)


def measured(
    model: nn.Module,
    train: Dataset,
    held_out: Loader,
    args: argparse.Namespace,
    *,
    solver: Solver,
    images: int,
    seed: int,
) -> Row:
    """Fit to a random choice of images; return the fooling rate on them and on others."""
    start = time.perf_counter()
    rows = torch.randperm(len(train), generator=generator_for(seed, "images"))[:images]
    made = fitted(model, train, rows.tolist(), args, solver=solver)
    seconds = time.perf_counter() - start
    own = max(record["fooling_rate"] for record in made.history)
    fooled, could = (int(count) for count in fooled_counts([model], [made], held_out))
    rate = fooled / could
    shown = f"{own:.2f}, held out {rate:.2f} of {could}"
    print(f"{solver}, {images} images, set {seed}: {shown}", flush=True)
    row: Row = {"solver": solver, "images": images, "set": seed, "seconds": seconds}
    return row | {"fitted": own, "held_out": rate, "held_out_images": could}


def report(rows: list[Row], accuracy: dict[str, float], matrix: list[list[float]]) -> None:
    """Print the rates over the number of images, and the table of transfers."""
    print(
        "\n| solver | images | on them | held out: mean | lowest | highest |\n" + "|---" * 6 + "|"
    )
    for solver, images in sorted({(row["solver"], row["images"]) for row in rows}):
        own, others = (values(rows, solver, images, kind) for kind in ("fitted", "held_out"))
        cells = [solver, str(images)]
        cells += [f"{v:.2f}" for v in (mean(own), mean(others), min(others), max(others))]
        print(f"| {' | '.join(cells)} |")
    print(f"\n| attacked | accuracy | {' | '.join(f'made on {name}' for name in accuracy)} |")
    print("|---" * (2 + len(accuracy)) + "|")
    for name, rates in zip(accuracy, matrix, strict=True):
        print(f"| {name} | {' | '.join(f'{v:.2f}' for v in (accuracy[name], *rates))} |")


def values(rows: list[Row], solver: str, images: int, kind: str) -> list[float]:
    """Return a column's values of all sets of a size."""
    return [r[kind] for r in rows if (r["solver"], r["images"]) == (solver, images)]


def draw(
    folder: Path,
    rows: list[Row],
    matrix: list[list[float]],
    models: dict[str, nn.Module],
    made: dict[str, Perturbation],
    test: Dataset,
    attacked: str,
) -> None:
    """Write the three figures."""
    counts = sorted({row["images"] for row in rows})
    lines = {
        f"{solver}, {word}": [(n, mean(values(rows, solver, n, kind))) for n in counts]
        for solver in ("gradient", "deepfool")
        for kind, word in (("held_out", "held out"), ("fitted", "own"))
    }
    title = f"Fooling rate on held-out images and on its own ({attacked})"
    rate = line_chart(
        lines, title=title, x_label="images it was fitted to", y_label="fooling rate", log_x=True
    )
    write_png(folder / "universal-rate.png", to_picture(rate))
    write_png(folder / "universal-transfer.png", heat_map(matrix, list(models)))
    write_png(folder / "universal-samples.png", gallery(models, made, test))


def heat_map(matrix: list[list[float]], names: list[str]) -> Image.Image:
    """Draw a table of rates as coloured cells, a row for each model attacked."""
    side = len(names) * CELL
    image = Image.new("RGB", (MARGIN + side + GAP, 3 * GAP + 40 + side), "white")
    pen, top = ImageDraw.Draw(image), 2 * GAP + 40
    pen.text((GAP, GAP), "Fooling rate; across: made on, down: attacked", fill=INK, font=FONT)
    for i, name in enumerate(names):
        at = (i + 0.5) * CELL
        pen.text((MARGIN + at, top - 10), name, fill=INK, font=FONT, anchor="mm")
        pen.text((MARGIN - GAP, top + at), name, fill=INK, font=FONT, anchor="rm")
        for j, rate in enumerate(matrix[i]):
            left, upper = MARGIN + j * CELL, top + i * CELL
            white = round(255 * (1 - rate))
            box = (left, upper, left + CELL - 2, upper + CELL - 2)
            pen.rectangle(box, fill=(white, 128 + white // 2, 255))
            middle = (left + CELL / 2, upper + CELL / 2)
            pen.text(middle, f"{rate:.2f}", fill=INK, font=FONT, anchor="mm")
    return image


def gallery(
    models: dict[str, nn.Module], made: dict[str, Perturbation], test: Dataset
) -> Image.Image:
    """Draw, for each model, a sample that is fooled: original | perturbed | perturbation."""
    x, _ = test.stack(list(range(min(len(test), 200))))  # (B, C, H, W)
    side = max(1, 144 // x.shape[-1]) * x.shape[-1]
    image = Image.new("RGB", (3 * (side + GAP) + GAP, len(models) * (side + 40)), "white")
    pen = ImageDraw.Draw(image)
    for i, (name, model) in enumerate(models.items()):
        x_adv, delta = made[name].apply(x), made[name].delta
        with torch.no_grad():
            before, after = model(x).argmax(1), model(x_adv).argmax(1)  # (B,)
        row = int((before != after).int().argmax())  # the first, should none be fooled
        factor = amplification(float(delta.abs().quantile(0.95)))
        was, now = (test.classes[int(answer[row])] for answer in (before, after))
        change = (0.5 + factor * delta, f"perturbation x {factor}")
        pen.text((GAP, i * (side + 40) + 2), name, fill=INK, font=FONT)
        for j, (tile, caption) in enumerate(((x[row], was), (x_adv[row], now), change)):
            left, top = GAP + j * (side + GAP), i * (side + 40) + 18
            image.paste(to_image(tile, side // x.shape[-1]), (left, top))
            pen.text((left, top + side + 2), caption, fill=INK, font=FONT)
    return image


if __name__ == "__main__":
    main()
