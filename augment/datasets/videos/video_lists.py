"""Video sets whose splits are lists: `ucf101:DIR[:FOLD]`, `hmdb51:DIR[:FOLD]`, `kinetics:DIR`."""

import csv
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.classlist import ClassList
from augment.datasets.folders import DataFile, DataFolder, suffix_of, walk_files
from augment.datasets.labelled import data_folder, label_files
from augment.datasets.request import Request
from augment.datasets.videos.video_formats import video_suffixes
from augment.datasets.videos.videofolder import cut_clips, read_videofolder
from augment.splits import Split, hash_split, source_split

logger = logging.getLogger(__name__)
MOST_BYTES = 2**26  # of a list; that of Kinetics-700 has 25 million
FOLDS = ("1", "2", "3")
_UCF_TAKE = re.compile(r"_c\d+$")  # takes of one person in one place follow each other
_HMDB_PARTS: dict[str, Split] = {"1": "train", "2": "test"}
_HEADER = "label,youtube_id,time_start,time_end,split"
_KINETICS_PARTS: dict[str, Split] = {
    "train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class ListedVideo:
    """A line of a list: a video, its class and part, and which others were cut from its film.

    Attributes:
        key: How its file is found: CLASS/NAME or NAME, without suffix.
        folder: Name of the class; empty when unlabelled.
        part: The part it belongs to.
        film: Videos of one film are never in two splits.
    """

    key: str
    folder: str
    part: Split
    film: str


def read_ucf101(request: Request) -> Dataset:
    """Read one split of UCF-101 by its lists; a tenth of the training groups validates.

    Args:
        request: `target` is DIR or DIR:FOLD, the fold 1, 2 or 3 (1 when not given). DIR holds
            trainlist01.txt, testlist01.txt and classInd.txt, and CLASS/v_CLASS_g01_c01.avi, at
            any depth.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder, a list or every video is missing, or a list cannot be read.
    """
    root, fold = _split_target(request.target, "ucf101")
    listed = []
    parts: tuple[Split, ...] = ("train", "test")
    for part in parts:
        file = _find_list(root, f"{part}list0{fold}.txt")
        for line in _read_lines(file):
            key = re.sub(r"\.\w+( \d+)?$", "", line)
            folder, _, name = key.partition("/")
            if not name:
                raise _line_error(file, line, "CLASS/FILE.avi, in training lists with a number")
            listed.append(ListedVideo(key, folder, part, _UCF_TAKE.sub("", name)))
    classes = _read_class_numbers(_find_list(root, "classInd.txt"))
    return _build_dataset(root, listed, request, name="ucf101", classes=classes)


def _read_class_numbers(file: Path) -> ClassList:
    """Read a class list of numbers from 1 and names, in the order of the numbers."""
    found: dict[str, str] = {}
    known: set[str] = set()
    for line in _read_lines(file):
        number, _, name = line.partition(" ")
        if not number.isdecimal() or not name.strip() or {number, name.strip()} & known:
            raise _line_error(file, line, "a number and a class, each once")
        known |= {number, name.strip()}
        found[number] = name.strip()
    order = [str(number + 1) for number in range(len(found))]
    if {*order} != {*found}:
        raise RefusedInput(
            f"{file}: numbers its classes {', '.join(found)[:100]}; allowed: 1, 2, 3 and so on; "
            "fetch the official list again"
        )
    names = [found[number] for number in order]
    return ClassList(names, {name: [i] for i, name in enumerate(names)}, str(file))


def read_hmdb51(request: Request) -> Dataset:
    """Read one split of HMDB-51 by its lists; a tenth of the training films validates.

    Args:
        request: `target` is DIR or DIR:FOLD, the fold 1, 2 or 3 (1 when not given). DIR holds
            CLASS_test_split1.txt for every class, and CLASS/FILE.avi, at any depth.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder, the lists or every video is missing, or a list cannot be read.
    """
    root, fold = _split_target(request.target, "hmdb51")
    ending = f"_test_split{fold}.txt"
    files = sorted(root.rglob(f"*{ending}"))
    if not files:
        _find_list(root, f"CLASS{ending}")
    listed = []
    for file in files:
        folder = file.name.removesuffix(ending)
        for line in _read_lines(file):
            name, _, number = line.rpartition(" ")
            if not name or number not in ("0", *_HMDB_PARTS):
                raise _line_error(file, line, "FILE.avi and 1 (train), 2 (test) or 0 (neither)")
            if number != "0":
                stem = name.strip().removesuffix(".avi")
                film = stem.rpartition(f"_{folder}_")[0] or stem
                listed.append(ListedVideo(f"{folder}/{stem}", folder, _HMDB_PARTS[number], film))
    return _build_dataset(root, listed, request, name="hmdb51")


def read_kinetics(request: Request) -> Dataset:
    """Read one split of Kinetics: class folders as of `videofolder`, or flat folders and csv lists.

    Args:
        request: `target` is DIR. Lists are csv files in it or its folders, with the columns
            label, youtube_id, time_start, time_end and split (or split in the file's name);
            videos are named YOUTUBEID_000010_000020.mp4, anywhere in DIR.

    Raises:
        ValueError: No folder is given.
        RefusedInput: The folder or every video is missing, or a list cannot be read.
    """
    root = data_folder(request.target, "kinetics")
    files = [*sorted(root.glob("*.csv")), *sorted(root.glob("*/*.csv"))]
    if not files:
        return read_videofolder(request, name="kinetics")
    listed = [entry for file in files for entry in _read_annotations(file)]
    return _build_dataset(root, list(dict.fromkeys(listed)), request, name="kinetics")


def _read_annotations(file: Path) -> list[ListedVideo]:
    """Read the lines of a csv list of Kinetics."""
    try:
        header, *rows = csv.reader(_read_lines(file) or [""])
    except csv.Error as error:
        raise RefusedInput(f"{file}: {error}; fetch the official list again") from error
    if not {"youtube_id", "time_start", "time_end"} <= {*header}:
        raise _line_error(file, ",".join(header), f"the header {_HEADER}")
    listed = []
    for row in rows:
        cells = dict(zip(header, row, strict=False))
        try:
            film = cells["youtube_id"]
            start, end = (round(float(cells[name])) for name in ("time_start", "time_end"))
            part = _KINETICS_PARTS[cells.get("split") or file.stem.rpartition("_")[2]]
        except (LookupError, OverflowError, ValueError) as error:
            told = "seconds, and a split train, val or test"
            raise _line_error(file, ",".join(row), told) from error
        key = f"{film}_{start:06d}_{end:06d}"
        listed.append(ListedVideo(key, cells.get("label", ""), part, film))
    return listed


def _build_dataset(
    root: Path,
    listed: Sequence[ListedVideo],
    request: Request,
    *,
    name: str,
    classes: ClassList | None = None,
) -> Dataset:
    """Build the dataset of those listed videos of a split that are there."""
    chosen = _select_split(listed, request.split, root)
    paths, _, problems = walk_files(root)
    places = _index_paths([path for path in paths if suffix_of(path) in video_suffixes()])
    _check_present(root, chosen, places, request.split)
    there, everything = (
        [
            DataFile(places[entry.key], entry.key, entry.folder or None, entry.part)
            for entry in dict.fromkeys(some)
            if entry.key in places
        ]
        for some in (chosen, listed)
    )
    folders = sorted({entry.folder for entry in listed if entry.folder})
    folder = DataFolder(root, sorted(everything, key=lambda file: file.path), folders, problems)
    files = label_files(folder, there, request, kind="videos", classes=classes)
    return cut_clips(files, request, name=name)


def _select_split(listed: Sequence[ListedVideo], split: Split, root: Path) -> list[ListedVideo]:
    """Select the lines of one split; a validation split without a list is cut by film."""
    home, test = source_split(split, {entry.part for entry in listed}, origin=f"{root}")
    chosen = [entry for entry in listed if entry.part == home]
    if test is None:
        return chosen
    return [chosen[i] for i in hash_split([entry.film for entry in chosen], split, test=test)]


def _index_paths(paths: Sequence[str]) -> dict[str, str]:
    """Map the names that a list may use to the path of each video, without suffix."""
    places: dict[str, str] = {}
    for path in paths:
        parts = path.rpartition(".")[0].split("/")
        places |= {"/".join(parts[-1:]): path, "/".join(parts[-2:]): path}
    return places


def _check_present(
    root: Path, chosen: Sequence[ListedVideo], places: Mapping[str, str], split: Split
) -> None:
    """Check that videos of a split are there, and log how many are not."""
    if not chosen:
        raise RefusedInput(
            f"{root}: its lists have no video for the {split} split; use one that they have, or "
            "more videos to cut one from"
        )
    missing = [entry.key for entry in chosen if entry.key not in places]
    if len(missing) == len(chosen):
        raise RefusedInput(
            f"{root}: none of the {len(chosen)} videos listed for the {split} split is there, such "
            f"as {missing[0]}; unpack the videos into that folder"
        )
    if missing:
        logger.warning(
            f"{root}: {len(missing)} of the {len(chosen)} videos listed for the {split} split are "
            f"not there, such as {missing[0]}"
        )


def _split_target(target: str, name: str) -> tuple[Path, str]:
    """Split DIR:FOLD or DIR into folder and fold."""
    folder, _, fold = target.rpartition(":")
    if fold in FOLDS and folder:
        return data_folder(folder, name), fold
    return data_folder(target, name), FOLDS[0]


def _find_list(root: Path, name: str) -> Path:
    """Find the list of a name in a data folder."""
    found = sorted(root.rglob(name))
    if not found:
        raise RefusedInput(f"{root}: there is no {name} in it; unpack the set's lists there too")
    return found[0]


def _read_lines(file: Path) -> list[str]:
    """Read the lines of a list that are not empty."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        return [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise RefusedInput(f"{file}: {error}; fetch the official list again") from error


def _line_error(file: Path, line: str, wanted: str) -> RefusedInput:
    return RefusedInput(
        f"{file}: a line is {line[:100]!r}; allowed: {wanted}; fetch the official list again"
    )
