"""Inputs of `compress encode`: samples of a data set, or the pictures of a folder as they are."""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from attacks import RefusedInput
from attacks.files import digest
from augment import Dataset
from augment.datasets.broken import BROKEN, describe_error
from augment.datasets.images.native import ImageFile, ImageFolder, list_images
from augment.datasets.labelled import NAMED
from augment.datasets.request import Request
from augment.splits import Split
from compress.checks import describe_excess
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.naming import shorten_name
from trainers.run.cli.jobs.compress import CompressEncodeConfig
from trainers.run.folder.folder import RunFolder
from trainers.run.folder.input_digests import digest_of_file
from trainers.run.job_context import load_split

log = logging.getLogger(__name__)
VALUES = 2**27  # of samples in a file, at most: half a GiB of floats while it is made
FOLDER = "imagefolder:"
CROP, CROPS = 256, 200  # pixels, and how many pictures: what a codec is fitted to
_CROP_VALUES = 2**23
Shape = tuple[int, ...]


class Unreadable(Exception):
    """A picture's file is broken behind its head; the text names it."""


def read_picture(picture: ImageFile) -> Tensor:
    """Return a picture's pixels, (C, H, W).

    Raises:
        Unreadable: when it cannot be decoded.
    """
    try:
        return picture.read()
    except BROKEN as error:
        raise Unreadable(f"{picture.path}: {describe_error(error)}") from error


@dataclass(frozen=True)
class CodePart:
    """A code file that is to be written: its name and its samples.

    Attributes:
        name: of the file, below the folder of codes, without its suffix.
        groups: numbers of samples; those of a group have one shape.
        named: whether the file holds the samples' names.
    """

    name: str
    groups: list[list[int]]
    named: bool = False


@dataclass(frozen=True)
class EncodeInputs:
    """Samples to code.

    Attributes:
        name: where they are from.
        ids: a name for each.
        labels: the name of each one's class, or nothing.
        shapes: of each, (C, H, W) or (C, T, H, W).
        source: what reads them.
        lost: what of each one's file is not kept.
        left_out: a line for each file that is not coded.
        split: which they are; "all" of a folder that has none.
        is_folder: whether they are the files of a folder, each to become one.
    """

    name: str
    ids: list[str]
    labels: list[str]
    shapes: list[Shape]
    source: Dataset | ImageFolder
    lost: list[tuple[str, ...]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    split: str = "all"
    is_folder: bool = False

    def stack(self, rows: Sequence[int]) -> Tensor:
        """Return samples of one shape, (B, ...).

        Raises:
            Unreadable: when the file of one is broken.
        """
        if isinstance(self.source, Dataset):
            return self.source.stack(rows)[0]
        return torch.stack([read_picture(self.source.files[i]) for i in rows])

    def readable(self, rows: Sequence[int]) -> list[int]:
        """Return those whose files are whole."""
        if isinstance(self.source, Dataset):
            return list(rows)
        whole = []
        for i in rows:
            with suppress(Unreadable):
                self.stack([i])
                whole.append(i)
        return whole

    def parts(self, *, pack: bool) -> list[CodePart]:
        """Return the files that the samples become, with `pack` one."""
        if not self.is_folder:
            groups = enumerate(self._groups())
            return [CodePart(f"{i:05}", [rows], named=pack) for i, rows in groups]
        if pack:
            return [CodePart("00000", self._groups(), named=True)]
        short = enumerate(map(shorten_name, self.ids))
        return [CodePart(name, [[i]], named=name != self.ids[i]) for i, name in short]

    def _groups(self) -> list[list[int]]:
        """Return samples by shape, so many that a file can hold them."""
        alike: dict[Shape, list[int]] = defaultdict(list)
        for i, shape in enumerate(self.shapes):
            alike[shape].append(i)
        out = []
        for shape, same in alike.items():
            each = max(1, VALUES // math.prod(shape))
            out += [same[start : start + each] for start in range(0, len(same), each)]
        return out


def read_inputs(config: CompressEncodeConfig, folder: RunFolder) -> EncodeInputs:
    """Look at what is to be coded.

    Raises:
        RefusedInput: when there is nothing, or pictures of several sizes are to be classified.
    """
    source, flags = config.source, config.coding
    split = flags.split or "test"
    if not source.data.startswith(FOLDER):
        return inputs_of_dataset(load_split(config, split, folder), split)
    most = source.train_samples if flags.split == "train" else source.test_samples
    request = Request(
        source.data.removeprefix(FOLDER), split, classes=source.classes,
        samples=most, seed=config.run.seed,
    )  # fmt: skip
    pictures = list_images(request, flags.split)
    lines = [f"{file.id!a} {digest_of_file(Path(file.path))}" for file in pictures.files]
    folder.inputs.check(f"--data {source.data}", digest({}, "\n".join(lines)))
    found = inputs_of_pictures(pictures, size=source.size)
    log_inputs(found)
    if flags.kind == "x":
        return found
    sizes = {shape[1:] for shape in found.shapes}
    if source.size is None and len(sizes) > 1:
        raise RefusedInput(
            f"{found.name} holds pictures of {len(sizes)} sizes, and --kind {flags.kind} asks a "
            "classifier, which takes one; give --size N to bring all to N x N, or --kind x"
        )
    return inputs_of_dataset(load_split(config, split, folder), split, is_folder=True)


def inputs_of_dataset(ds: Dataset, split: Split, *, is_folder: bool = False) -> EncodeInputs:
    """Return the samples of a split of a data set."""
    labels = [ds.classes[n] if n >= 0 else "" for n in ds.labels.tolist()]
    shapes: list[Shape] = [ds.shape] * len(ds)
    return EncodeInputs(
        ds.name, ds.ids, labels, shapes, ds, [], list(ds.skipped), split, is_folder=is_folder
    )


def inputs_of_pictures(pictures: ImageFolder, *, size: int | None = None) -> EncodeInputs:
    """Return a folder's pictures as they are, or with a size scaled and cut to squares.

    Raises:
        RefusedInput: when none of them can be coded.
    """
    left_out, files = list(pictures.left_out), []
    for picture in pictures.files:
        if size is not None:
            picture = replace(picture, shape=(picture.shape[0], size, size))
        text = describe_excess(1, picture.shape)
        files += [] if text else [picture]
        left_out += [f"{picture.path}: {text}"] if text else []
    if not files:
        raise RefusedInput(
            f"{pictures.root}: no picture in it can be coded ({'; '.join(left_out[:3])}); name a "
            "folder with some"
        )
    return EncodeInputs(
        str(pictures.root),
        [file.id for file in files],
        [file.label for file in files],
        [file.shape for file in files],
        ImageFolder(pictures.root, files),
        [file.lost for file in files],
        left_out,
        pictures.split or "all",
        is_folder=True,
    )


def log_inputs(inputs: EncodeInputs) -> None:
    """Say what is coded, and what is not kept or left out."""
    sizes = Counter(inputs.shapes)
    some = "one size" if len(sizes) == 1 else f"{len(sizes)} sizes"
    log.info("%s: %d pictures (%s) of %s", inputs.name, len(inputs.ids), inputs.split, some)
    for what, count in Counter(text for lost in inputs.lost for text in lost).items():
        first = next(n for n, lost in zip(inputs.ids, inputs.lost, strict=True) if what in lost)
        log.warning("not kept of %d pictures: %s (%s first)", count, what, first)
    for line in inputs.left_out[:NAMED]:
        log.warning("left out %s", line)
    if (more := len(inputs.left_out) - NAMED) > 0:
        log.warning("left out %d more files; summary.json names them", more)


def crop_centres(inputs: EncodeInputs) -> Tensor:
    """Return the middles of pictures, (B, C, side, side), for a codec to be fitted to.

    The side is such that at least half of the pictures have as much; channels are those that most
    of them have.
    """
    channels = Counter(shape[0] for shape in inputs.shapes).most_common(1)[0][0]
    rows = [i for i, shape in enumerate(inputs.shapes) if shape[0] == channels]
    ordered = sorted(min(inputs.shapes[i][-2:]) for i in rows)
    side = min(CROP, ordered[len(ordered) // 2])
    rows = [i for i in rows if min(inputs.shapes[i][-2:]) >= side]
    most = max(1, min(CROPS, _CROP_VALUES // (channels * side * side)))
    parts = []
    for place in evenly_spaced(len(rows), most):
        with suppress(Unreadable):
            x = inputs.stack([rows[place]])[0]
            top, left = ((n - side) // 2 for n in x.shape[-2:])
            parts.append(x[:, top : top + side, left : left + side])
    if not parts:
        raise RefusedInput(
            f"{inputs.name}: none of the pictures can be decoded; put whole ones there"
        )
    return torch.stack(parts)
