"""Where the objects of samples are, as a folder of pictures says."""

from pathlib import Path

import torch
from torch import Tensor

from attacks import RefusedInput
from attacks.files import digest
from augment import Dataset
from augment.datasets.images.masks import read_mask
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
    if empty := [str(file) for file, mask in zip(files, masks, strict=True) if not mask.any()]:
        raise RefusedInput(
            f"{empty[0]} holds no object: all its pixels are 0 once it has the size of the samples "
            f"(so of {len(empty)} of {len(files)} masks); mend it, or explain other samples"
        )
    folder.inputs.check(f"--masks {path}", digest({"masks": masks}, ""))
    return masks
