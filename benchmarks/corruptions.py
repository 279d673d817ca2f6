"""Compare the corruptions of ImageNet-C with imagecorruptions: how far apart, and how fast.

    pip install imagecorruptions
    python benchmarks/corruptions.py [--images FOLDER] [--count 128]

Differences are those of the same random numbers, in bytes, over pictures of scikit-learn and of
the folder, largest and mean for each severity. Frost is drawn here and a photograph there; its
pixels are not compared. Times are processor time on one thread for so many pictures of 32 x 32 and
of 224 x 224 (of these 16 are timed) at severity 3 in float32, and for the reference, which takes
one picture after another, of 16 (3 of glass blur) scaled up.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

# This file's folder comes first on the path, where it would hide the packages of the same names.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from augment.corruptions import CORRUPTIONS, SEVERITIES
from benchmarks.corruption_reference import corrupt, load, our_numbers

Array = np.ndarray[Any, Any]
SIDES = (32, 224)


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="folder of more pictures")
    parser.add_argument("--count", type=int, default=128, help="pictures that times are of")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference = load()
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    if options.images:
        files = sorted(
            f
            for f in options.images.rglob("*.*")
            if f.suffix.lower() in Image.registered_extensions()
        )
        photographs += [Image.open(file).convert("RGB") for file in files]
    pictures = [np.asarray(ImageOps.fit(p, (224, 224))) for p in photographs]
    pictures.append(np.asarray(ImageOps.fit(photographs[0], (131, 97))))
    print(
        f"{len(pictures)} pictures\n\n| corruption | 1 | 2 | 3 | 4 | 5 |\n|---|--:|--:|--:|--:|--:|"
    )
    for name in CORRUPTIONS:
        if name != "frost":
            cells = (difference(reference, name, pictures, severity) for severity in SEVERITIES)
            print("|", name, "|", " | ".join(cells), "|", flush=True)
    print(f"\n| ms for {options.count} | 32: ours | it | 224: ours | it |\n|---|--:|--:|--:|--:|")
    for name in CORRUPTIONS:
        cells = (
            f"{ms:.0f}"
            for side in SIDES
            for ms in times(reference, name, side, pictures, options.count)
        )
        print("|", name, "|", " | ".join(cells), "|", flush=True)


def difference(reference: ModuleType, name: str, pictures: list[Array], severity: int) -> str:
    """Return the largest and the mean difference, in bytes."""
    found = []
    for number, picture in enumerate(pictures):
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255
        options: dict[str, Any] = {
            "severity": severity,
            "sample_ids": [number],
            "benchmark": "imagenet-c",
        }
        ours = CORRUPTIONS[name](x[None], **options)[0].permute(1, 2, 0).double().numpy() * 255
        given = our_numbers(name, x, severity, seed=0, sample_id=number)
        theirs = corrupt(reference, name, picture, severity, given).clip(0, 255)
        found.append(np.abs(ours - theirs))
    return f"{max(d.max() for d in found):.3f} / {np.mean([d.mean() for d in found]):.4f}"


def times(
    reference: ModuleType, name: str, side: int, pictures: list[Array], count: int
) -> tuple[float, float]:
    """Return the processor time of `count` pictures, ours and the reference's, in milliseconds."""
    small = [np.asarray(Image.fromarray(p).resize((side, side))) for p in pictures]
    few = count if side <= 32 else 16
    rows = [small[i % len(small)] for i in range(few)]
    x = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float().contiguous() / 255
    options: dict[str, Any] = {"severity": 3, "sample_ids": range(few), "benchmark": "imagenet-c"}
    ours = milliseconds(lambda: CORRUPTIONS[name](x, **options)) / few
    one_by_one = rows[: 3 if name == "glass_blur" else 16]
    theirs = milliseconds(lambda: [corrupt(reference, name, row, 3) for row in one_by_one])
    return ours * count, theirs / len(one_by_one) * count


def milliseconds(work: Callable[[], Any]) -> float:
    """Return the processor time of the second of two runs."""
    work()
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    main()
