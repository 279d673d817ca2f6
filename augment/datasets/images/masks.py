"""Images with masks of concepts: which pixels belong to what people have named."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from attacks.errors import RefusedInput
from augment.dataset import as_float
from augment.datasets.broken import BROKEN, describe_error
from augment.datasets.folders import join_some
from augment.datasets.images.images import (
    ImageForm,
    image_suffixes,
    open_image,
    read_header,
    read_image,
)

T = TypeVar("T")
LAYOUT = "write DIR/images/NAME.jpg (or .png, ...) and DIR/masks/CONCEPT/NAME.png"


@dataclass(frozen=True)
class MaskedImages:
    """Images and masks of a folder, decoded in batches each time they are iterated.

    Attributes:
        images: the files, sorted.
        masks: for each concept its files by the name of their image.
        form: that the images and, to the nearest pixel, the masks are brought to.
        batch_size: images in a batch.
    """

    images: Sequence[Path]
    masks: Mapping[str, Mapping[str, Path]]
    form: ImageForm
    batch_size: int

    @property
    def concepts(self) -> list[str]:
        """Their names, sorted."""
        return list(self.masks)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, C, H, W) float32 in [0, 1], and bool (B, K, H, W) of the K concepts."""
        for start in range(0, len(self.images), self.batch_size):
            yield self.read(range(start, min(start + self.batch_size, len(self.images))))

    def read(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return some images (B, C, H, W), and bool (B, K, H, W) of the concepts.

        Raises:
            RefusedInput: for a file that is broken.
        """
        chosen = [self.images[number] for number in numbers]
        x = torch.stack([as_float(_try(read_image, path, self.form)) for path in chosen])
        masks = torch.zeros(len(x), len(self.masks), *x.shape[2:], dtype=torch.bool)
        for row, path in enumerate(chosen):
            for column, files in enumerate(self.masks.values()):
                if path.stem in files:
                    masks[row, column] = read_mask(files[path.stem], *x.shape[2:])
        return x, masks

    def digest(self) -> str:
        """Hash the names and the bytes of all files."""
        files = [(f"images/{path.name}", path) for path in self.images]
        files += [
            (f"{c}/{name}", path) for c, own in self.masks.items() for name, path in own.items()
        ]
        result = blake2b(digest_size=16)
        for name, path in files:
            with path.open("rb") as file:
                result.update(name.encode(errors="surrogatepass") + b"\0")
                result.update(file_digest(file, blake2b).digest())
        return result.hexdigest()


def find_masked_images(root: Path, form: ImageForm, *, batch_size: int) -> MaskedImages:
    """Find the images of a folder, `images/NAME.*`, and their masks, `masks/CONCEPT/NAME.png`.

    Args:
        root: the folder.
        form: that images and masks are brought to: scaled to cover it, and cropped.
        batch_size: images in a batch.

    Raises:
        RefusedInput: for a folder without these, masks of no image or of another size, or a file
            whose header is broken.
    """
    for folder in (root, root / "images", root / "masks"):
        if not folder.is_dir():
            raise RefusedInput(f"{folder}: no such folder; {LAYOUT}")
    images = [path for path in _files(root / "images") if path.suffix.lower() in image_suffixes()]
    if not images:
        raise RefusedInput(f"{root / 'images'}: no images in it; {LAYOUT}")
    by_name = {path.stem: path for path in images}
    if twice := [path for path in images if by_name[path.stem] != path]:
        raise RefusedInput(
            f"{twice[0]} and {by_name[twice[0].stem].name} have one name, by which masks are "
            "found; rename one of them"
        )
    folders = [each for each in _entries(root / "masks") if each.is_dir()]
    masks = {folder.name: _masks_of(folder, by_name) for folder in folders}
    if not masks:
        raise RefusedInput(f"{root / 'masks'}: no folder of a concept in it; {LAYOUT}")
    return MaskedImages(images, masks, form, batch_size)


def read_mask(path: Path, height: int, width: int) -> Tensor:
    """Read where a mask is not 0, bool (H, W), scaled to cover that size and cropped as images are.

    Of colours a pixel is 0 where all are, of a palette where its number is; transparency does not
    count.

    Raises:
        RefusedInput: when it cannot be read.
    """
    return _try(_read_mask, path, height, width)


def _read_mask(path: Path, height: int, width: int) -> Tensor:
    """Read a mask; let Pillow's errors through."""
    with open_image(path) as opened:
        image = ImageOps.exif_transpose(opened)
        solid = {"LA": "L", "RGBA": "RGB", "PA": "P"}.get(image.mode)
        values = np.asarray(image.convert(solid) if solid else image)
    there = (values != 0).reshape(*values.shape[:2], -1).any(2)
    whole = Image.fromarray(there.astype(np.uint8) * 255)
    cut = ImageOps.fit(whole, (width, height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(cut) > 0)


def _masks_of(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """Return the masks of a concept by the name of their image, all checked."""
    files = _files(folder)
    if not files:
        raise RefusedInput(f"{folder}: no masks in it; put some there, or remove the folder")
    if others := [path for path in files if path.suffix.lower() != ".png"]:
        raise RefusedInput(
            f"{others[0]}: masks are PNG, whose zeros stay zeros; convert it, or take it away"
        )
    if lost := [path for path in files if path.stem not in images]:
        raise RefusedInput(
            f"{folder}: no image for {join_some([path.name for path in lost], 3)}; give a mask the "
            "name of its image"
        )
    for path in files:
        mask, image = _try(read_header, path), _try(read_header, images[path.stem])
        if (mask.height, mask.width) != (image.height, image.width):
            raise RefusedInput(
                f"{path}: {mask.width} x {mask.height} pixels, and {images[path.stem].name} has "
                f"{image.width} x {image.height}; give a mask of the size of its image"
            )
    return {path.stem: path for path in files}


def _try(read: Callable[..., T], path: Path, *args: Any) -> T:
    """Read a file."""
    try:
        return read(path, *args)
    except BROKEN as error:
        raise RefusedInput(
            f"{path}: {describe_error(error)}; repair this file, or take it away"
        ) from error


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, hidden names apart, sorted."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder, hidden ones apart, sorted."""
    return [path for path in _entries(folder) if path.is_file()]
