"""Images of a folder in their own sizes, and the properties that 8-bit pixels lose."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image
from torch import Tensor

from augment.dataset import as_float
from augment.datasets.broken import describe_error, try_each
from augment.datasets.folders import SPLIT_FOLDERS, read_folder
from augment.datasets.images.images import (
    ImageForm,
    image_suffixes,
    open_image,
    read_header,
    read_image,
)
from augment.datasets.labelled import data_folder, find_labelled_files
from augment.datasets.request import Request
from augment.splits import Split

_METADATA = frozenset(("exif", "icc_profile", "xmp", "XML:com.adobe.xmp", "comment", "photoshop"))


@dataclass(frozen=True)
class ImageFile:
    """An image file, not decoded yet.

    Attributes:
        path: the file.
        id: its path below the folder, or below that of its split.
        label: name of its class folder, or nothing.
        shape: `(C, H, W)`, upright.
        lost: properties of the file that a tensor of bytes does not keep, such as `alpha`.
    """

    path: str
    id: str
    label: str
    shape: tuple[int, int, int]
    lost: tuple[str, ...]

    def read(self) -> Tensor:
        """Return the pixels `(C, H, W)`, float32 in [0, 1]; raises like `open_image`."""
        return as_float(read_image(self.path, ImageForm(*self.shape)))


@dataclass(frozen=True)
class ImageFolder:
    """The image files of a folder.

    Attributes:
        root: the folder.
        files: those that can be read, sorted.
        left_out: a line for each file that is no image, or is broken.
        split: the split of the files; None for all files.
    """

    root: Path
    files: list[ImageFile]
    left_out: list[str] = field(default_factory=list)
    split: Split | None = None


def list_images(request: Request, split: Split | None) -> ImageFolder:
    """List the image files of a folder, without decoding them.

    Args:
        request: `target` is the folder; of `samples` given, so many are taken.
        split: the split wanted; None takes all of a folder without split folders, of others test.

    Raises:
        ValueError: no folder is given.
        RefusedInput: there is no such folder, or no such split.
    """
    root = data_folder(request.target, "imagefolder")
    if split is None and _has_splits(root):
        split = "test"
    if split is not None:
        wanted = replace(request, split=split)
        found = find_labelled_files(wanted, image_suffixes(), name="imagefolder", kind="images")
        names = [found.classes[n] if n >= 0 else "" for n in found.labels.tolist()]
        ids = [file.name for file in found.wanted]
        named = dict(zip(found.paths, zip(ids, names, strict=True), strict=True))
        left_out = list(found.folder.problems)
    else:
        named, left_out = _walk_images(root, request.samples)
    files, broken = try_each(lambda path: _inspect_image(path, *named[path]), [*named])
    left_out += [f"{path}: {describe_error(error)}" for path, error in broken.items()]
    return ImageFolder(root, [*files.values()], left_out, split)


def _has_splits(root: Path) -> bool:
    """Tell whether a folder has split folders; only one with such names is searched."""
    named = any(entry.name.casefold() in SPLIT_FOLDERS for entry in os.scandir(root))
    return named and bool(read_folder(root, image_suffixes()).splits)


def _walk_images(root: Path, most: int | None) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return id and folder of all pictures, or the first, by path, and lines for other files."""
    names: list[str] = []
    left_out: list[str] = []
    suffixes = image_suffixes()
    errors: list[OSError] = []
    for here, folders, files in os.walk(root, onerror=errors.append):
        links = [name for name in folders if os.path.islink(os.path.join(here, name))]
        left_out += [f"{Path(here, name)}: a link to a folder, not followed" for name in links]
        folders[:] = [n for n in folders if not n.startswith(".") and n not in links]
        for path in (Path(here, name) for name in files if not name.startswith(".")):
            if path.suffix.lower() in suffixes:
                names.append(path.relative_to(root).as_posix())
            else:
                left_out.append(f"{path}: no suffix of a picture")
    left_out += [f"{error}" for error in errors]
    chosen = sorted(names)[:most]
    parts = [name.rpartition("/")[0].partition("/")[0] for name in chosen]
    return {str(root / n): (n, part) for n, part in zip(chosen, parts, strict=True)}, left_out


def _inspect_image(path: str, name: str, label: str) -> ImageFile:
    frame = read_header(path)
    with open_image(path) as image:
        lost = tuple(_list_lost(image))
    shape = (3 if frame.colour else 1, frame.height, frame.width)
    return ImageFile(path, name, label, shape, lost)


def _list_lost(image: Image.Image) -> Sequence[str]:
    """List the properties of an opened image that 8-bit grey or RGB pixels lose."""
    lost = []
    if image.has_transparency_data:
        lost.append("alpha")
    tiles = " ".join(str(tile) for tile in image.tile)  # type: ignore[attr-defined]
    if image.mode == "F" or image.mode.startswith("I") or ";16" in tiles or ";12" in tiles:
        lost.append("more than 8 bits")
    if image.mode in ("CMYK", "YCCK", "LAB", "HSV"):
        lost.append(f"{image.mode} colours")
    if getattr(image, "n_frames", 1) > 1:
        lost.append("frames after the first")
    # What a TIFF says of its pixels is among its EXIF too.
    if _METADATA & image.info.keys() or (image.format != "TIFF" and image.getexif()):
        lost.append("metadata")
    return lost
