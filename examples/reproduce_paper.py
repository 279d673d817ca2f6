"""Repeat the image experiments of Rey-de-Castro & Rabitz 2018 with a classifier of your own.

    python examples/reproduce_paper.py --photos PHOTOS --model mobilenet.py:build \
        --weights mobilenet_v2.safetensors --classes classes.txt --output OUT

Prints the paper's table 1 (the best classes before and after) and draws its figures 3
(original | perturbed | difference) and 2c (loss curves), for eq. (1) on all photographs and for
eq. (2), which turns one of them into a class of your choice. Both are done twice: with this
project's default setting, and with the published one, which takes 2,000 steps and about ten times
as long (--published-steps 0 leaves it out). docs/reproduction.md shows the outcome.
"""

import argparse
import time
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from tqdm import tqdm

from attacks import LearnedGenerator
from augment import Dataset, load_dataset
from trainers import load_classifier
from trainers.evaluate.evaluation import predict
from trainers.run.show.images import FONT, amplification, to_image
from trainers.run.show.plots import line_chart, to_picture

GAP = 8  # pixels between pictures


class Outcome(NamedTuple):
    """What one attack did to some photographs; scores are softmax scores of all K classes."""

    names: list[str]
    x: Tensor  # (B, C, H, W)
    x_adv: Tensor  # (B, C, H, W)
    before: Tensor  # (B, K)
    after: Tensor  # (B, K)
    rounded: Tensor  # (B, K), the scores of x_adv rounded to 8 bits
    history: Tensor  # (steps, B)
    seconds: float
    target: int | None


def main() -> None:
    """Attack, print the tables, draw the figures."""
    args = parsed()
    ds = load_dataset(f"imagefolder:{args.photos}", "test", size=args.size, classes=args.classes)
    model = load_classifier(args.model, weights=args.weights, image_size=args.size)
    source = number([Path(name).stem for name in ds.ids], args.source, "--source")
    target = number(ds.classes, args.target, "--target")
    settings = {"default": LearnedGenerator(steps=args.steps)}
    if args.published_steps:
        settings["published"] = LearnedGenerator(
            space="paper", optimizer="adam", steps=args.published_steps
        )
    args.output.mkdir(parents=True, exist_ok=True)
    summed, aimed = {}, {}
    for name, attack in settings.items():
        keep = args.output / f"{name}-eq1.npz"
        summed[name] = outcome(model, attack, ds, range(len(ds)), keep=keep)
        report(f"eq. (1), {name}", summed[name], ds.classes)
        keep = args.output / f"{name}-eq2.npz"
        aimed[name] = outcome(model, attack, ds, [source], keep=keep, target=target)
        report(f"eq. (2), {args.target}, {name}", aimed[name], ds.classes)
    draw(args.output, summed, aimed, args.target, ds.classes)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", required=True, help="folder of photographs")
    parser.add_argument("--model", required=True, help="file.py:factory or a name of torchvision")
    parser.add_argument("--weights", required=True, help="its safetensors or .pt state dict")
    parser.add_argument("--classes", required=True, help="text file; line i names class i")
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--size", type=int, default=224, help="side the photographs are brought to")
    parser.add_argument("--source", default="dog", help="photograph for eq. (2), without suffix")
    parser.add_argument("--target", default="ice bear", help="class to turn it into")
    parser.add_argument("--steps", type=int, default=300, help="of the default setting")
    parser.add_argument("--published-steps", type=int, default=2000, help="0 leaves it out")
    return parser.parse_args()


def number(names: list[str], name: str, option: str) -> int:
    """Return where a name stands, or end with the most similar ones."""
    if name not in names:
        near = get_close_matches(name, names, n=5, cutoff=0)
        raise SystemExit(f"{option} is {name!r}; nearest: {', '.join(near)}")
    return names.index(name)


def outcome(
    model: nn.Module,
    attack: LearnedGenerator,
    ds: Dataset,
    rows: range | list[int],
    *,
    keep: Path,
    target: int | None = None,
) -> Outcome:
    """Attack photographs, or read what an earlier call kept of the same attack."""
    x, _ = ds.stack(list(rows))  # (B, C, H, W)
    before = predict(model, x).softmax(1)  # (B, K)
    settings = f"{attack} target={target}"
    if not keep.exists() or not same(keep, settings, before):
        aim = None if target is None else torch.full((len(x),), target)
        start = time.perf_counter()
        with tqdm(total=attack.steps, desc=keep.stem) as bar:
            result = attack(
                model, x, before.argmax(1), target=aim, progress=lambda *_: bar.update() and None
            )
        np.savez_compressed(
            keep, x_adv=result.x_adv.numpy(), history=result.history.numpy(),
            before=before.numpy(), settings=settings, seconds=time.perf_counter() - start,
        )  # fmt: skip
    kept = np.load(keep)
    x_adv, history = torch.from_numpy(kept["x_adv"]), torch.from_numpy(kept["history"])
    after = predict(model, x_adv).softmax(1)
    rounded = predict(model, (x_adv * 255).round() / 255).softmax(1)
    names = [Path(ds.ids[row]).stem for row in rows]
    seconds = float(kept["seconds"])
    return Outcome(names, x, x_adv, before, after, rounded, history, seconds, target)


def same(keep: Path, settings: str, before: Tensor) -> bool:
    """Tell whether a file is of the same attack on the same photographs and classifier."""
    kept = np.load(keep)
    close = kept["before"].shape == before.shape and np.allclose(kept["before"], before, atol=1e-4)
    return bool(close) and str(kept["settings"]) == settings


def report(title: str, out: Outcome, classes: list[str]) -> None:
    """Print how each photograph fared, then its best classes before and after."""
    print(f"\n## {title}: {len(out.history)} steps, {out.seconds:.0f} s\n")
    print(f"| photograph | {' | '.join(measures(out, 0))} |")
    print("|---" * (1 + len(measures(out, 0))) + "|")
    for i, name in enumerate(out.names):
        print(f"| {name} | {' | '.join(measures(out, i).values())} |")
    for i, name in enumerate(out.names):
        print(f"\n| {name}, before | | after | |\n|---|--:|---|--:|")
        for before, after in zip(best(out.before[i]), best(out.after[i]), strict=True):
            cells = [f"{classes[c]} | {score:.4f}" for c, score in (before, after)]
            print(f"| {' | '.join(cells)} |")


def measures(out: Outcome, row: int) -> dict[str, str]:
    """Return what the paper and its readers ask of one photograph, from its scores anew."""
    before, after, delta = out.before[row], out.after[row], (out.x_adv - out.x)[row].abs()
    top = [c for c, _ in best(before)] if out.target is None else [out.target]
    what = "original top 5" if out.target is None else "target"
    score = float(after[top].sum())
    distance = float((delta / torch.tensor(LearnedGenerator.std)[:, None, None]).mean())
    yes = {True: "yes", False: "no"}
    return {
        f"{what}, before": plain(float(before[top].sum())),
        f"{what}, after": plain(score),
        "top class changed": yes[bool(after.argmax() != before.argmax())],
        "mean difference": f"{float(delta.mean()):.4f} ({255 * float(delta.mean()):.1f} of 255)",
        "loss": f"{(score if out.target is None else 1 - score) + distance:.4f}",
        "same class as 8 bits": yes[bool(out.rounded[row].argmax() == after.argmax())],
    }


def plain(score: float) -> str:
    """Write a score with four digits, or its order when they would all be zero."""
    return f"{score:.4f}" if score >= 5e-5 else f"{score:.0e}"


def best(scores: Tensor) -> list[tuple[int, float]]:
    """Return the (up to) five best classes of scores (K,), best first."""
    top = scores.topk(min(5, len(scores) - 1))
    return list(zip(top.indices.tolist(), top.values.tolist(), strict=True))


def draw(
    folder: Path,
    summed: dict[str, Outcome],
    aimed: dict[str, Outcome],
    target: str,
    classes: list[str],
) -> None:
    """Write the figures: a row for each photograph, the curves, the second equation's rows."""
    for i, name in enumerate(summed["default"].names):
        write(folder / f"reproduction-{name}.png", [row_of(summed["default"], i, classes)])
    pages = [
        loss_chart(lines(out), title=f"Eq. (1), {name} setting") for name, out in summed.items()
    ]
    both = {name: line for name, out in aimed.items() for line in lines(out).values()}
    title = f"Eq. (2), {aimed['default'].names[0]} to {target}"
    write(folder / "reproduction-loss.png", [*pages, loss_chart(both, title=title)])
    rows = [row_of(out, 0, classes) for out in aimed.values()]
    write(folder / "reproduction-target.png", rows)


def loss_chart(losses: dict[str, list[tuple[float, float]]], *, title: str) -> Image.Image:
    """Draw losses by step."""
    return to_picture(line_chart(losses, title=title, x_label="step", y_label="loss"))


def lines(out: Outcome) -> dict[str, list[tuple[float, float]]]:
    """Return the loss of each photograph by step."""
    return {name: list(enumerate(out.history[:, i].tolist())) for i, name in enumerate(out.names)}


def row_of(out: Outcome, row: int, classes: list[str]) -> Image.Image:
    """Draw original | perturbed | difference of one photograph, with what the classifier says."""
    delta = out.x_adv[row] - out.x[row]
    factor = amplification(float(delta.abs().quantile(0.95)))
    (was, score), (now, changed) = best(out.before[row])[0], best(out.after[row])[0]
    cells = (
        (out.x[row], f"{classes[was]} {score:.4f}"),
        (out.x_adv[row], f"{classes[now]} {changed:.4f}"),
        (0.5 + factor * delta, f"difference x {factor}; mean {float(delta.abs().mean()):.4f}"),
    )
    height, width = (side + GAP for side in delta.shape[-2:])
    page = Image.new("RGB", (3 * width - GAP, height + 16), "white")
    for i, (tile, caption) in enumerate(cells):
        page.paste(to_image(tile), (i * width, 0))
        ImageDraw.Draw(page).text((i * width + 2, height - 4), caption, fill="#222222", font=FONT)
    return page


def write(path: Path, parts: list[Image.Image]) -> None:
    """Write pictures below one another as a PNG of 256 colours, a third of the full size."""
    page = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), "white")
    for i, part in enumerate(parts):
        page.paste(part, (0, sum(above.height for above in parts[:i])))
    palette = page.quantize(256, kmeans=1)
    page.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
