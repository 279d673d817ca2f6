"""Show a picture under the fifteen common corruptions, each in five severities.

    python examples/corruptions.py --output corruptions.jpg
    python examples/corruptions.py --output small.png --size 32 --picture FILE

Three columns of five corruptions, in the order of the paper; beside each other severities 1 to 5.
"""

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from sklearn.datasets import load_sample_image
from torch import Tensor

from augment.corruptions import CORRUPTIONS, SEVERITIES, Benchmark
from trainers.run.show.images import to_image

CAPTION, GAP = 16, 12  # pixels of the sheet
ROWS = 5  # of pictures, in a column


def main() -> None:
    """Corrupt the picture and write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="PNG or JPEG file of the sheet")
    parser.add_argument("--picture", type=Path, help="default: one of scikit-learn's")
    parser.add_argument("--size", type=int, default=224, help="pixels that it is cut to")
    parser.add_argument("--benchmark", choices=get_args(Benchmark), help="default: by the size")
    parser.add_argument("--shown", type=int, default=112, help="pixels that each is shown with")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    photograph = Image.fromarray(load_sample_image("china.jpg"))
    picture = Image.open(args.picture).convert("RGB") if args.picture else photograph
    pixels = np.array(ImageOps.fit(picture, (args.size, args.size)))
    x = torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 255  # (1, 3, H, W)
    draw_sheet(x, benchmark=args.benchmark, shown=args.shown, seed=args.seed).save(args.output)


def draw_sheet(x: Tensor, *, benchmark: Benchmark | None, shown: int, seed: int) -> Image.Image:
    """Draw a picture (1, C, H, W) under all corruptions, each scaled to so many pixels."""
    width, height = shown * len(SEVERITIES) + GAP, shown + CAPTION
    columns = -(-len(CORRUPTIONS) // ROWS)
    sheet = Image.new("RGB", (columns * width - GAP, ROWS * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, corrupt) in enumerate(CORRUPTIONS.items()):
        left, top = number // ROWS * width, number % ROWS * height
        pen.text((left + 2, top + 2), name.replace("_", " "), fill="black")
        for severity in SEVERITIES:
            out = corrupt(x, severity=severity, seed=seed, sample_ids=[0], benchmark=benchmark)
            smooth = shown < x.shape[-1]
            filter_ = Image.Resampling.BOX if smooth else Image.Resampling.NEAREST
            cell = to_image(out[0]).resize((shown, shown), filter_)
            sheet.paste(cell, (left + shown * (severity - 1), top + CAPTION))
    return sheet


if __name__ == "__main__":
    main()
