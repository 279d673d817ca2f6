"""Codecs and code files that a user names: read, or refused with a sentence."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from attacks import RefusedInput
from attacks.files import write_bytes
from compress import Codec, FormatError, RestorationNet
from compress.file_format import CodeFile, parse_pack
from trainers.reconstruction.files import load_network
from trainers.run.folder.atomic import REMEDY, is_present, make_checked, read_bytes
from trainers.run.folder.folder import RunFolder
from trainers.run.folder.input_digests import list_codes

SUFFIX = ".sprc"  # of a code file
CODEC = "codec.sprt"  # a codec's file in a run folder
DELTA_CODEC = "codec-delta.sprt"  # that of differences, beside one of samples
NETWORK = "network.safetensors"  # and that of a network R
CODES = "codes"  # the folder of code files there


@contextmanager
def refuse_unreadable(path: Path, advice: str) -> Iterator[None]:
    """Refuse a file that the body cannot read or make sense of.

    Raises:
        RefusedInput: with what is wrong, and the advice.
    """
    try:
        yield
    except OSError as error:
        raise RefusedInput(f"cannot read {path}: {error.strerror}; {advice}") from error
    except FormatError as error:
        text = str(error) if str(error).startswith(str(path)) else f"{path}: {error}"
        raise RefusedInput(f"{text}; {advice}") from error


def read_codec(path: str | Path) -> Codec:
    """Read a codec's file."""
    with refuse_unreadable(Path(path), "give a codec.sprt that `compress fit` made"):
        return Codec.load(path)


def load_network_for(file: str | None, kinds: Sequence[str], advice: str) -> RestorationNet | None:
    """Load the R that a flag names, if it does, for files of some kinds.

    Raises:
        RefusedInput: for a file that holds none, or one for another kind, with the advice.
    """
    network = load_network(Path(file)) if file else None
    if network is not None and network.config.kind not in kinds:
        raise RefusedInput(f"{file} restores files of kind {network.config.kind}, {advice}")
    return network


def check_network(
    file: str | None, network: RestorationNet | None, name: str, shapes: Iterable[Sequence[int]]
) -> None:
    """Refuse an R, if there is one, that was made for other samples than those of some shapes.

    Raises:
        RefusedInput: with what it is for.
    """
    config = network.config if network else None
    for shape in shapes:
        if config and (config.channels, config.dims) != (shape[0], len(shape) - 1):
            raise RefusedInput(
                f"{file} restores {config}, and {name} holds samples of {'x'.join(map(str, shape))}"
                "; give a network that `compress fit --network` made of such samples"
            )


def read_code(path: Path) -> list[CodeFile]:
    """Read a code file, or a pack of several."""
    with refuse_unreadable(path, "give a whole file that `compress encode` made"):
        return parse_intact(path.read_bytes())


def parse_intact(data: bytes) -> list[CodeFile]:
    """Take a code file apart, or a pack of several, once all chunks are whole.

    Raises:
        FormatError: when they are not; damage is told before anything is decoded.
    """
    files = parse_pack(data)
    for file in files:
        for number in range(len(file.checksums)):
            file.chunk(number)
    return files


def find_code_files(names: Sequence[str]) -> list[tuple[Path, str]]:
    """Return the code files of a list of files and folders, those of a folder in their order.

    Returns:
        Each with its name below the folder that was given, without the suffix.

    Raises:
        RefusedInput: for a folder without any.
    """
    files: list[tuple[Path, str]] = []
    for path in map(Path, names):
        root = path if path.is_dir() else path.parent
        inside = list_codes(path)
        if not inside:
            raise RefusedInput(f"{path}: no *{SUFFIX} file in this folder; give one with some")
        files += [(file, file.relative_to(root).as_posix().removesuffix(SUFFIX)) for file in inside]
    return files


def make_or_load_codec(
    folder: RunFolder,
    fit: Callable[[], Codec],
    *,
    name: str = CODEC,
    beside: Callable[[], Sequence[Path]] = tuple,
) -> Codec:
    """Return the codec of a run; where there is none, fit and keep it first.

    Args:
        folder: the run folder.
        fit: fits it.
        name: of its file there.
        beside: lists the files that `fit` wrote too; see `cached_json`.
    """
    file, seal = folder.path / name, folder.checkpoints / f"{name}.json"
    make_checked(file, seal, lambda: save_codec(folder, fit(), name=name), beside=beside)
    return read_codec(file)


def save_codec(folder: RunFolder, codec: Codec, *, name: str = CODEC) -> None:
    """Keep a codec in a run folder, which can then not be begun anew with other options."""
    folder.checkpoints.mkdir(exist_ok=True)
    codec.save(folder.path / name)


def make_or_load_code(folder: RunFolder, name: str, make: Callable[[], bytes]) -> bytes:
    """Return the bytes of a code file of a run; where there is none, make and keep it first.

    Raises:
        RefusedInput: when it was damaged after it was written.
    """
    path, seal = code_paths(folder, name)
    if is_present(path):
        with refuse_unreadable(path, REMEDY):
            parse_intact(read_bytes(path))

    def write() -> None:
        data = make()
        folder.check_held()
        write_bytes(path, data)

    make_checked(path, seal, write)
    return read_bytes(path)


def code_paths(folder: RunFolder, name: str) -> tuple[Path, Path]:
    """Return a code file of a run, and the item of work that knows its digest."""
    return folder.path / CODES / f"{name}{SUFFIX}", folder.checkpoints / CODES / f"{name}.json"


def first_samples_of(chunks: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """Yield the first samples of chunks, one at a time, and decode no more of them than that."""
    for chunk in chunks:
        yield from chunk[:count]
        count -= len(chunk)
        if count <= 0:
            return
