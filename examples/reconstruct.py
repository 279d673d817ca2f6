"""Train R on coded images, and measure what it adds at each rate, and what it costs.

    python examples/reconstruct.py --output OUT
    python examples/reconstruct.py --output OUT --data imagefolder:DIR --samples 3000

Parts: "forms" compares forms of R and its losses with the plain decoder; "delta" is the codec of
Rey-de-Castro & Rabitz 2018, section 5.4, whose R sees the difference to a perturbed sample alone.
Prints tables, and writes reconstruct.json, reconstruct-rates.png and reconstruct-samples.png.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from attacks import PGD, LearnedGenerator
from augment import load_dataset
from compress import BlendWeight, Codec, RestorationNet
from compress.file_format import parse
from trainers import (
    FitOptions,
    ReconstructionOptions,
    coded_steps,
    fit_classifier,
    fit_network,
    load_classifier,
    network_bytes,
)
from trainers.evaluate.evaluation import predict
from trainers.evaluate.quality import psnr
from trainers.evenly_spaced import evenly_spaced
from trainers.run.cli.numbers import number
from trainers.run.folder.atomic import read_json, write_json
from trainers.run.show.images import FONT, INK, to_image, write_png
from trainers.run.show.plots import line_chart, to_picture

Row = dict[str, Any]
BATCH = 128


@dataclass(frozen=True)
class Work:
    """Images, classifiers and options.

    Attributes:
        args: the command line.
        train: images for R, (N, C, H, W).
        y: their labels, (N,).
        test: others.
        codec: for images themselves.
        model: the classifier that is attacked, and asked in the task term.
        judge: one trained on other images.
    """

    args: argparse.Namespace
    train: Tensor
    y: Tensor
    test: Tensor
    codec: Codec
    model: nn.Module
    judge: nn.Module

    @property
    def options(self) -> ReconstructionOptions:
        """Those that all parts begin with."""
        return ReconstructionOptions(
            width=self.args.width, epochs=self.args.epochs, bf16=self.args.bf16
        )


def main() -> None:
    """Run the parts, keep their numbers, draw the figures."""
    args = parsed()
    args.output.mkdir(parents=True, exist_ok=True)
    file = args.output / "reconstruct.json"
    found = read_json(file) if file.exists() else {}
    work = prepared(args)
    for part in args.parts:
        found[part] = PARTS[part](work)
        table(part, found[part])
        write_json(file, found | {"torch": torch.__version__})
    if {"forms", "delta"} <= found.keys():
        write_png(args.output / "reconstruct-rates.png", rates(found["forms"] + found["delta"]))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", default="digits", help="or imagefolder:DIR")
    parser.add_argument("--samples", type=int, help="train R on so many images")
    parser.add_argument("--test-samples", type=int, help="measure on so many others")
    parser.add_argument("--judge-samples", type=int, default=1000, help="for each classifier")
    parser.add_argument("--bytes", type=float, nargs="+", default=[8, 12, 20], help="an image")
    parser.add_argument("--delta-bytes", type=float, nargs="+", default=[8, 12, 20])
    parser.add_argument("--width", type=int, default=16, help="of R")
    parser.add_argument("--epochs", type=int, default=6, help="of R")
    parser.add_argument("--bf16", action="store_true", help="train R in bfloat16")
    parser.add_argument("--task", type=float, default=1.0, help="weight of the task term")
    parser.add_argument("--eps", type=number, default=8 / 255, help="of PGD")
    parser.add_argument("--generator-steps", type=int, default=40, help="of the generator P")
    parser.add_argument("--generator-samples", type=int, default=800, help="that P perturbs")
    return parser.parse_args()


def prepared(args: argparse.Namespace) -> Work:
    """Load images, fit the codec and two classifiers, each on images of its own."""
    whole = load_dataset(args.data, "train")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    parts = torch.split(order, args.judge_samples)
    models = []
    for rows in parts[:2]:
        torch.manual_seed(0)
        some = whole.subset(rows)
        model = load_classifier(
            "smallcnn", num_classes=whole.num_classes, in_channels=whole.shape[0]
        )
        fit_classifier(model, some, FitOptions(epochs=8), seed=0)
        models.append(model)
    train, y = whole.stack(order[: args.samples])
    tests = load_dataset(args.data, "test", samples=args.test_samples)
    test, labels = tests.stack(range(len(tests)))
    for name, model in zip(("M", "judge"), models, strict=True):
        right = (answers(model, test) == labels).float().mean()
        print(f"{name}: accuracy {right:.3f} on {len(test)} test images", flush=True)
    return Work(args, train, y, test, Codec.fit(train[:1000]), *models)


def answers(model: nn.Module, x: Tensor) -> Tensor:
    """Return the classes that a classifier sees in images, (N,)."""
    return torch.cat([predict(model, part) for part in x.split(BATCH)]).argmax(1)


def measured(
    work: Work, network: RestorationNet, file: bytes, codec: Codec, *, name: str, x: Tensor
) -> Row:
    """Decode a file of images x plainly, with R alone, and with R behind its gate."""
    step, gate = parse(file).head.step, network.blend_weight
    decoded = codec.decode(file)
    kept = network.restore(decoded, step)
    network.blend_weight = BlendWeight((step,), (1.0,))
    alone = network.restore(decoded, step)
    network.blend_weight = gate
    row: Row = {"name": name, "step": step, "bytes": len(file) / len(x), "share": gate.at(step)}
    judged = answers(work.judge, x)
    plain = network.base(decoded).clamp(0, 1)
    for key, got in (("plain", plain), ("alone", alone), ("gated", kept)):
        row[key] = psnr(got, x).mean().item()
        row[f"{key}_judge"] = (answers(work.judge, got) == judged).float().mean().item()
    return row


def forms(work: Work) -> list[Row]:
    """Compare forms of R and its losses, also at steps between those that R was trained on."""
    base, rows = work.options, []
    steps = coded_steps(work.codec, work.train[:1000], work.args.bytes)
    between = [(a * b) ** 0.5 for a, b in pairwise(steps)]
    files = [work.codec.encode(work.test, step=step) for step in sorted([*steps, *between])]
    for name, options in {
        "unet": base,
        "unet, MSE alone": replace(base, normalise=False),
        "paper": replace(base, form="paper", depth=1),
        "unet, task": replace(base, task=work.args.task),
    }.items():
        model = work.model if options.task else None
        fit = fit_network(work.codec, work.train, options, steps=steps, classifier=model)
        seconds = sum(record["seconds"] for record in fit.history)
        for file in files:
            row = measured(work, fit.network, file, work.codec, name=name, x=work.test)
            rows.append(row | {"seconds": seconds, "network_bytes": network_bytes(fit.network)})
        if name == "unet":
            some = evenly_spaced(len(work.test), 8)
            shown = work.codec.decode(files[-1])[some]
            pictures = [work.test[some], shown, fit.network.restore(shown, steps[-1])]
            picture = grid({"x": pictures[0], "plain": pictures[1], "unet": pictures[2]})
            write_png(work.args.output / "reconstruct-samples.png", picture)
    return rows


def delta(work: Work) -> list[Row]:
    """Code the difference to perturbed images, and let R make the images of it alone."""
    args, rows = work.args, []
    attacks: dict[str, tuple[Callable[..., Any], int]] = {
        "PGD": (PGD(eps=args.eps, steps=10), len(work.train)),
        "generator": (LearnedGenerator(steps=args.generator_steps), args.generator_samples),
    }
    for name, (attack, count) in attacks.items():
        train, test = (
            work.train[:count],
            work.test[evenly_spaced(len(work.test), max(8, count // 4))],
        )
        train_adv, flips = perturbed(work, attack, train)
        test_adv, _ = perturbed(work, attack, test)
        codec = Codec.fit(train[:1000], step=0.01, kind="delta", x_adv=train_adv[:1000])
        some = {"kind": "delta", "x_adv": train_adv[:1000]}
        steps = coded_steps(codec, train[:1000], args.delta_bytes, **some)
        base = replace(work.options, epochs=work.options.epochs * len(work.train) // count)
        files = [codec.encode(test, kind="delta", x_adv=test_adv, step=step) for step in steps]
        for options in (replace(base, form="paper", depth=1), base):
            fit = fit_network(codec, train, options, steps=steps, kind="delta", x_adv=train_adv)
            for file in files:
                title = f"{name}, {options.form}"
                row = measured(work, fit.network, file, codec, name=title, x=test)
                rows.append(row | {"flipped": flips})
        for size in args.delta_bytes:
            rows.append(plain_row(work, test, size, name=f"x beside {name}"))
    return rows


def perturbed(work: Work, attack: Callable[..., Any], x: Tensor) -> tuple[Tensor, float]:
    """Perturb images so that M sees something else in them; also say how often it does."""
    y = answers(work.model, x)
    results = [
        attack(work.model, part, label)
        for part, label in zip(x.split(BATCH), y.split(BATCH), strict=True)
    ]
    flipped = torch.cat([result.success for result in results]).float().mean().item()
    return torch.cat([result.x_adv for result in results]), flipped


def plain_row(work: Work, x: Tensor, size: float, *, name: str) -> Row:
    """Code the images themselves in so many bytes."""
    file = work.codec.encode(x, bytes_per_sample=size)
    got = work.codec.decode(file)
    kept = (answers(work.judge, got) == answers(work.judge, x)).float().mean().item()
    quality = psnr(got, x).mean().item()
    return {"name": name, "bytes": len(file) / len(x), "gated": quality, "gated_judge": kept}


PARTS: dict[str, Callable[[Work], list[Row]]] = {
    "forms": forms,
    "delta": delta,
}


def table(part: str, rows: list[Row]) -> None:
    """Print rows."""
    print(f"\n{part}", flush=True)
    for row in rows:
        cells = [f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()]
        print("  " + "  ".join(cells), flush=True)


def rates(rows: list[Row]) -> Image.Image:
    """Draw PSNR over bytes: x plain and with R, and what R makes of differences."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["name"] == "unet":
            lines.setdefault("x", []).append((row["bytes"], row["plain"]))
            lines.setdefault("x + R", []).append((row["bytes"], row["gated"]))
        elif "flipped" in row:
            lines.setdefault(row["name"], []).append((row["bytes"], row["gated"]))
    ordered = {name: sorted(points) for name, points in lines.items()}
    chart = line_chart(
        ordered,
        title="Quality with and without R",
        x_label="bytes an image, R's own aside",
        y_label="PSNR in dB",
    )
    return to_picture(chart)


def grid(rows: dict[str, Tensor]) -> Image.Image:
    """Lay out rows of images (N, C, H, W) below each other, each with its name."""
    first = next(iter(rows.values()))
    scale = max(1, round(96 / first.shape[-1]))
    height, width = (n * scale + 4 for n in first.shape[-2:])
    image = Image.new("RGB", (80 + width * len(first), 8 + height * len(rows)), "white")
    pen = ImageDraw.Draw(image)
    for down, (name, samples) in enumerate(rows.items()):
        pen.text((6, 8 + down * height + height // 2), name, fill=INK, font=FONT)
        for across, sample in enumerate(samples):
            image.paste(to_image(sample, scale), (80 + across * width, 4 + down * height))
    return image


if __name__ == "__main__":
    main()
