"""Where the objects of samples are, as a folder of pictures says."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from attacks import RefusedInput
from attacks.files import digest
from augment import Dataset
from augment.datasets.images.images import open_image
from trainers.jobs.naming import sample_names
from trainers.run.folder.folder import RunFolder


def load_masks(path: str, ds: Dataset, folder: RunFolder) -> Tensor:
    """Read the mask of each image, bool (N, H, W): a PNG of its name, in which objects are not 0.

    A mask of another size than the samples is scaled and cropped as pictures are.

    Args:
        path: the folder of the masks, below which each has the path that its sample has in the
            data, and the suffix .png.
        ds: the samples.
        folder: the run's, whose inputs the masks are of.

    Raises:
        ValueError: for samples that are videos.
        RefusedInput: when a mask is missing or cannot be read, or masks are others than the run
            was begun with.
    """
    if ds.is_video:
        raise ValueError(
            f"--masks has a picture for each sample, and {ds.name} holds videos; leave it out"
        )
    names = sample_names(ds.ids, ".png")
    files = [Path(path).expanduser() / f"{name}.png" for name in names]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise RefusedInput(
            f"{missing[0]}: no such file, and {len(missing)} of {len(files)} masks are missing; "
            "--masks DIR holds a PNG for each sample that is explained, named after it, in which "
            "the pixels of its object are not 0"
        )
    masks = torch.stack([read_mask(file, *ds.shape[-2:]) for file in files])  # (N, H, W)
    folder.inputs.check(f"--masks {path}", digest({"masks": masks}, ""))
    return masks


def read_mask(file: Path, height: int, width: int) -> Tensor:
    """Read which pixels of a picture are not 0 in every channel, bool (H, W).

    Raises:
        RefusedInput: when it cannot be read.
    """
    try:
        with open_image(file) as image:
            shown = image.convert("RGB") if image.mode in ("RGBA", "LA", "PA", "P") else image
            pixels = np.asarray(shown)
    except (OSError, ValueError, SyntaxError) as error:
        raise RefusedInput(f"--masks: {file} cannot be read ({error}); give a PNG") from error
    inside = (pixels.reshape(*pixels.shape[:2], -1) != 0).any(-1)  # (H, W)
    mask = Image.fromarray(inside.astype(np.uint8) * 255)
    if mask.size != (width, height):
        mask = ImageOps.fit(mask, (width, height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(mask) > 0)
