"""inputs.json: what a run depends on, known by content, so that a resumed run reads the same."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b, file_digest
from inspect import getmodule
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from attacks import RefusedInput
from attacks.files import digest
from augment.datasets.folders import SPLIT_FOLDERS
from trainers.models.factory import is_users, needs_weights
from trainers.run.cli.toml import flag, flatten
from trainers.run.errors import OURS
from trainers.run.folder.atomic import REMEDY, damaged_file, is_present, read_json, write_json

FILES = (
    "weights",
    "judge_weights",
    "reference_weights",
    "codec",
    "delta_codec",
    "network",
    "classes",
    "detector",
)
MODELS = ("model", "judge_model", "reference_model")
ATTACKS = (
    "attack",
    "attacks",
    "test_attacks",
    "unseen_attacks",
    "evasion",
    "final_attacks",
)  # whose texts may name the file of a fitted one
FOLDERS_OF_SAMPLES = ("imagefolder", "videofolder")  # data that is whatever is in a folder
PYTHON = sys.stdlib_module_names | {"__main__"}


class ChangedInput(RefusedInput):
    """Something that a run reads is not what it was when the run was begun."""


class InputDigests:
    """The digests of what a run has read, by name."""

    def __init__(self, file: Path) -> None:
        """Read those that are kept.

        Raises:
            RefusedInput: when the file is damaged or gone: what the work done was made from is
                then not known, and to go on might mix two classifiers.
        """
        self.file = file
        unknown = "so what the run reads is not known; begin another run with another --run-dir"
        if not is_present(file):
            raise RefusedInput(f"{file} is gone, {unknown}")
        try:
            self._known: dict[str, str] = read_json(file, dict)
            if not all(isinstance(value, str) for value in self._known.values()):
                raise damaged_file(file, "a digest in it is no text")
        except RefusedInput as error:
            raise RefusedInput(f"{str(error).removesuffix(REMEDY)}{unknown}") from error

    def check(self, name: str, content: str) -> None:
        """Keep a digest, or compare it to the one that is kept.

        Args:
            name: of what was read, as the user knows it.
            content: its digest.

        Raises:
            ChangedInput: when it is another.
        """
        if self._known.get(name, content) != content:
            raise ChangedInput(
                f"{name} is not what it was when the run in {self.file.parent} was begun; put back "
                "what was there, or begin another run with another --run-dir"
            )
        if name not in self._known:
            self._known[name] = content
            write_json(self.file, dict(sorted(self._known.items())))

    def check_files(self, config: Any) -> None:
        """Do that for every file that the options name; one that is not there is the job's to say.

        Raises:
            ChangedInput: naming the first that differs.
        """
        for name, file in sorted(list_named_files(config)):
            if file.is_file():
                self.check(name, digest_of_file(file))
        options = flatten(config)
        for text in options.get("code", ()):
            if (path := Path(text)).is_dir():
                names = [file.relative_to(path).as_posix() for file in list_codes(path)]
                self.check(f"--code {text} (its list of files)", digest({}, "\n".join(names)))
        for name in MODELS:
            self._check_own(f"--{flag(name)}", options.get(name) or "")

    def _check_own(self, name: str, text: str) -> None:
        """Compare the sources of a classifier of the user's own that are known, before any runs."""
        folder = Path(text.rpartition(":")[0]).expanduser().parent
        for known in list(self._known):
            shown, mark, rest = known.partition(f", of {name} {text},")
            if mark and not rest and (folder / shown).is_file():
                self.check(known, digest_of_file(folder / shown))

    def check_model(self, name: str, text: str, model: nn.Module, *, given: bool) -> None:
        """Do that for a classifier that is not fitted here: its weights, and the user's source.

        Args:
            name: the flag that names it.
            text: its value.
            model: what it made.
            given: whether its weights came from a file, which is compared by itself.

        Raises:
            ChangedInput: when it is another.
        """
        if needs_weights(text or None):
            return
        if is_users(text):
            for shown, file in source_files(text.rpartition(":")[0], model).items():
                self.check(f"{shown}, of {name} {text},", digest_of_file(file))
        if not given:
            weights = {key: value.detach().cpu() for key, value in model.state_dict().items()}
            self.check(f"the classifier that {name} {text} makes", digest(weights, ""))


def check_apart(config: Any, run: Path) -> None:
    """Refuse a run folder whose pictures would be read as samples when the run goes on.

    Beside the folders of several splits nothing is read.

    Args:
        config: the job's options.
        run: the run folder.

    Raises:
        ValueError: naming both folders.
    """
    kind, _, target = str(flatten(config).get("data") or "").partition(":")
    root, place = Path(target).expanduser().resolve(), run.resolve()
    if kind not in FOLDERS_OF_SAMPLES or not place.is_relative_to(root):
        return
    splits = {SPLIT_FOLDERS.get(path.name.casefold()) for path in root.iterdir() if path.is_dir()}
    first = (*place.relative_to(root).parts, "")[0]
    if len(splits - {None}) > 1 and first.casefold() not in SPLIT_FOLDERS:
        return
    raise ValueError(
        f"--run-dir {run} is in the data folder {target}, where the run's own pictures would be "
        "read as samples when it goes on; choose a --run-dir elsewhere"
    )


def digest_of_file(path: Path) -> str:
    """Return a hash of a file's bytes."""
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


def list_named_files(config: Any) -> Iterator[tuple[str, Path]]:
    """Yield the files that options name, each with its flag."""
    options = flatten(config)
    for name in FILES:
        for text in texts(options.get(name)):
            yield f"--{flag(name)} {text}", Path(text)
    for name in ATTACKS:
        for text in texts(options.get(name)):
            for part in (text, *(each.partition("=")[2].strip() for each in text.split(","))):
                if part.endswith(".safetensors"):
                    yield f"--{flag(name)} {part}", Path(part)
    yield from _list_others(options)
    for text in options.get("code", ()):
        for file in list_codes(Path(text)):
            yield f"--code {file}", file


def _list_others(options: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yield the weights of further classifiers, each with its flag."""
    for name, mark in (("static", ""), ("transfer", "=")):
        for text in options.get(name, ()):
            weights = text.partition(mark)[2] if mark else text
            yield f"--{name} {text}", Path(weights.partition(",model=")[0])


def texts(value: str | Sequence[str] | None) -> Sequence[str]:
    """Return the texts of an option that is one, several or none."""
    return (value,) if isinstance(value, str) else value or ()


def list_codes(path: Path) -> list[Path]:
    """Return the code files below a folder, or the one file."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*.sprc") if file.is_file())


def source_files(where: str, model: nn.Module) -> dict[str, Path]:
    """Return the files of a loaded module, of those that it imports, and of a model's classes.

    Args:
        where: `path/to/file.py` or `package.module`.
        model: what the module made, maybe by means that it imports only then.

    Returns:
        The user's files, each by its name below the module's root, or else by its module's.
    """
    if where.endswith(".py"):
        place, depth = Path(where).expanduser().resolve(), 0
        first = next(module for module in list(sys.modules.values()) if _file(module) == place)
    else:
        first, depth = sys.modules[where], where.count(".")
    own = _file(first)
    found: dict[str, Path] = {}
    classes = {kind for part in model.modules() for kind in type(part).__mro__}
    todo = [first, *filter(None, map(getmodule, classes))]
    while own and todo:
        module, root = todo.pop(), own.parents[depth]
        file = _file(module)
        if file and _is_users(module.__name__, file):
            inside = file.is_relative_to(root)
            shown = str(file.relative_to(root)) if inside else f"the module {module.__name__}"
            if shown not in found:
                found[shown] = file
                todo += filter(None, map(getmodule, list(vars(module).values())))
    return dict(sorted(found.items()))


def _file(module: ModuleType) -> Path | None:
    """Return the source file of a module, where it has one."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) and file.endswith(".py") else None


def _is_users(name: str, file: Path) -> bool:
    """Tell whether a module of a file is neither ours, nor installed, nor Python's."""
    installed = not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
    return not installed and name.partition(".")[0] not in {*OURS, *PYTHON}
