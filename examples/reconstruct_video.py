"""Train R on coded videos, with and without a temporal term, and measure how they flicker.

    python examples/reconstruct_video.py --output OUT
    python examples/reconstruct_video.py --output OUT --data videofolder:DIR --clips 2

R is trained three times: for squared error alone, with the temporal term matched to each video's
own frame changes, and with the raw one of Rey-de-Castro & Rabitz 2018, section 5.4. The gate is
measured on videos of which R saw no clip. Prints a table, and writes reconstruct-video.json,
reconstruct-flicker.png (how much each frame of a clip changes) and reconstruct-clip.png (frames of
it, and how far their changes are from its own), both of what R gives behind its gate.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from augment import load_dataset
from augment.datasets.clips import video_of
from compress import BlendWeight, Codec, RestorationNet
from trainers import ReconstructionOptions, coded_steps, fit_network
from trainers.evaluate.quality import psnr
from trainers.reconstruction.terms import flicker
from trainers.run.folder.atomic import write_json
from trainers.run.show.images import FONT, INK, to_image, write_png
from trainers.run.show.plots import line_chart, to_picture

Row = dict[str, Any]
FRAMES = 8  # of the clip that is shown
FACTOR = 8  # by which differences of changes are shown


def main() -> None:
    """Train, measure, draw."""
    args = parsed()
    args.output.mkdir(parents=True, exist_ok=True)
    train, videos = loaded(args, "train")
    test, _ = loaded(args, "test")
    print(f"{len(train)} clips of {len(set(videos))} videos; {len(test)} to test with", flush=True)
    rows, shown = measured(args, train, videos, test)
    table(rows)
    write_json(args.output / "reconstruct-video.json", {"rows": rows, "torch": torch.__version__})
    write_png(args.output / "reconstruct-flicker.png", changes(shown))
    write_png(args.output / "reconstruct-clip.png", frames(shown))


def measured(
    args: argparse.Namespace, train: Tensor, videos: list[str], test: Tensor
) -> tuple[list[Row], dict[str, Tensor]]:
    """Train each R and measure it at each step; also return a clip at the coarsest, by name."""
    codec = Codec.fit(train, time_levels=args.time_levels)
    steps = coded_steps(codec, train, args.bytes)
    files = [codec.encode(test, step=step) for step in steps]
    plain = [codec.decode(file) for file in files]
    coded = list(zip(plain, steps, [len(file) / len(test) for file in files], strict=True))
    shown = {"original": test[args.shown], "plain": plain[-1][args.shown]}
    rows = [facts("plain", step, size) | seen(got, test) for got, step, size in coded]
    base = ReconstructionOptions(
        width=args.width, epochs=args.epochs, batch_size=args.batch_size, bf16=args.bf16
    )
    for name, options in {
        "R, error alone": base,
        "R, matched": replace(base, temporal=args.temporal),
        "R, raw": replace(base, temporal=args.temporal, temporal_form="raw"),
    }.items():
        start = time.perf_counter()
        network = fit_network(codec, train, options, steps=steps, groups=videos).network
        print(f"trained: {name}, {time.perf_counter() - start:.0f} s", flush=True)
        for decoded, step, size in coded:
            kept = network.restore(decoded, step, batch=4)
            found = (
                facts(name, step, size)
                | {"share": network.blend_weight.at(step)}
                | seen(kept, test)
            )
            before = seen(alone(network, decoded, step), test)
            rows.append(found | {f"alone_{key}": value for key, value in before.items()})
        shown[name] = kept[args.shown]
    return rows, shown


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", required=True, type=Path, help="folder for what is made")
    parser.add_argument("--data", default="moving-digits", help="or videofolder:DIR")
    parser.add_argument("--samples", type=int, help="train R on so many clips")
    parser.add_argument("--test-samples", type=int, help="measure on so many others")
    parser.add_argument("--clips", type=int, default=1, help="clips taken from each video")
    parser.add_argument("--stride", type=int, default=1, help="of the frames of a clip")
    parser.add_argument("--size", type=int, help="side of the frames")
    parser.add_argument("--bytes", type=float, nargs="+", default=[100, 300], help="a clip")
    parser.add_argument("--time-levels", type=int, help="of the transform; 0 codes frames apart")
    parser.add_argument("--width", type=int, default=8, help="of R")
    parser.add_argument("--epochs", type=int, default=8, help="of R")
    parser.add_argument("--batch-size", type=int, default=4, help="of its training")
    parser.add_argument("--bf16", action="store_true", help="train R in bfloat16")
    parser.add_argument("--temporal", type=float, default=1.0, help="weight of the temporal term")
    parser.add_argument("--shown", type=int, default=0, help="number of the clip that is drawn")
    return parser.parse_args()


def loaded(args: argparse.Namespace, split: str) -> tuple[Tensor, list[str]]:
    """Load clips, (N, C, T, H, W), and the names of the videos that they are of."""
    samples = args.samples if split == "train" else args.test_samples
    many = {"clips": args.clips, "stride": args.stride, "size": args.size, "samples": samples}
    clips = load_dataset(args.data, split, **many)
    return clips.stack(range(len(clips)))[0], [video_of(clip) for clip in clips.ids]


def alone(network: RestorationNet, decoded: Tensor, step: float) -> Tensor:
    """Return what R makes of videos without its gate."""
    gate = network.blend_weight
    network.blend_weight = BlendWeight((step,), (1.0,))
    restored = network.restore(decoded, step, batch=4)
    network.blend_weight = gate
    return restored


def facts(name: str, step: float, size: float) -> Row:
    """Say what was coded: of which R, with which step, in how many bytes a clip."""
    return {"name": name, "step": step, "bytes": size}


def seen(got: Tensor, x: Tensor) -> Row:
    """Measure videos: how near they are to x, how far their frame changes are, and how large."""
    return {
        "psnr": psnr(got, x).mean().item(),
        "flicker": flicker(got, x).mean().item(),
        "changes": flicker(got, x, form="raw").mean().item(),
        "changes_of_x": flicker(x, x, form="raw").mean().item(),
    }


def table(rows: list[Row]) -> None:
    """Print what each R gives behind its gate, and alone: PSNR, flicker and changes."""
    print(f"{'':16}  bytes  share   gated: dB, flicker, changes   alone: dB, flicker, changes")
    for row in rows:
        line = f"{row['name']:16} {row['bytes']:6.0f} {row.get('share', 0):6.2f}"
        for prefix in ("", "alone_") if "share" in row else ("",):
            quality, *moves = (row[prefix + key] for key in ("psnr", "flicker", "changes"))
            line += f"   {quality:9.2f} {moves[0]:8.4f} {moves[1]:8.4f}"
        print(line, flush=True)


def changes(shown: dict[str, Tensor]) -> Image.Image:
    """Draw how much each frame of clips (C, T, H, W) changes from the one before."""
    lines = {
        name: list(enumerate(clip.diff(dim=1).abs().mean((0, 2, 3)).tolist(), start=1))
        for name, clip in shown.items()
    }
    title = "How much each frame differs from the one before"
    chart = line_chart(lines, title=title, x_label="frame", y_label="mean absolute change")
    return to_picture(chart)


def frames(shown: dict[str, Tensor]) -> Image.Image:
    """Lay out frames of clips, and below them how far their changes are from the original's."""
    original = shown["original"]
    times = [1 + i * (original.shape[1] - 1) // FRAMES for i in range(FRAMES)]
    rows: list[tuple[str, list[Tensor]]] = []
    for name, clip in shown.items():
        rows.append((name, [clip[:, t] for t in times]))
        if name != "original":
            off = (clip - original).diff(dim=1).abs()  # (C, T - 1, H, W)
            rows.append((f"its changes off, x {FACTOR}", [FACTOR * off[:, t - 1] for t in times]))
    scale = max(1, round(80 / original.shape[-1]))
    height, width = (n * scale + 4 for n in original.shape[-2:])
    image = Image.new("RGB", (150 + width * FRAMES, 8 + height * len(rows)), "white")
    pen = ImageDraw.Draw(image)
    for down, (name, pictures) in enumerate(rows):
        pen.text((6, 8 + down * height + height // 2), name, fill=INK, font=FONT)
        for across, picture in enumerate(pictures):
            image.paste(to_image(picture, scale), (150 + across * width, 4 + down * height))
    return image


if __name__ == "__main__":
    main()
