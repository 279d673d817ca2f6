"""Names of files after the names of samples."""

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

LONGEST = 200  # bytes of a name's last part; with what is added, files may have 255


def sample_names(wanted: Sequence[str | None], suffix: str) -> list[str]:
    """Return a name for each decoded sample, without a suffix: unique, below one folder.

    Args:
        wanted: what each was called, its old suffix included; None takes its number.
        suffix: that the files get.

    Returns:
        A name for each. Who had that suffix keeps the name; where another would take the same, its
        old suffix goes into it.

    >>> sample_names(["a.jpg", "a.png", "b/c.webp", None], ".png")
    ['a-jpg', 'a', 'b/c', '00003']
    """
    names = [f"{number:05}" if name is None else name for number, name in enumerate(wanted)]
    # No file can be called as a folder that files are in.
    taken = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    out: dict[int, str] = {}
    order = sorted(range(len(names)), key=lambda i: _stem(names[i])[1] != suffix)
    for i in order:
        stem, old = _stem(names[i])
        stem = shorten_name(stem)
        choices = [stem, f"{stem}-{old[1:]}" if old else f"{stem}-1"]
        count = 1
        while f"{choices[0]}{suffix}" in taken:
            count += 1
            choices = [*choices[1:], f"{choices[-1]}-{count}"]
        out[i] = choices[0]
        taken.add(f"{choices[0]}{suffix}")
    return [out[i] for i in range(len(names))]


def _stem(name: str) -> tuple[str, str]:
    """Split off the suffix of a picture or a video; of a clip, `a.mp4#1`, the number stays."""
    whole, mark, clip = name.rpartition("#")
    name, mark, clip = (whole, mark, clip) if mark and clip.isdigit() else (name, "", "")
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    known = 2 <= len(suffix) <= 5 and suffix[1:].isalnum() and not suffix[1:].isdigit()
    stem = str(path.with_suffix("")) if known else name
    return stem + mark + clip, suffix if known else ""


def shorten_name(name: str) -> str:
    """Cut a name whose last part is too long for what is added to it, and tell it apart.

    >>> shorten_name("cats/a.jpg"), len(shorten_name("a" * 250 + ".jpg"))
    ('cats/a.jpg', 189)
    """
    folder, slash, last = name.rpartition("/")
    data = last.encode("utf-8", "surrogateescape")
    if len(data) <= LONGEST:
        return name
    digest = hashlib.sha256(data).hexdigest()[:16]
    start = data[: LONGEST - 32].decode("utf-8", "ignore")
    return f"{folder}{slash}{start}-{digest}{PurePosixPath(last).suffix[:8]}"
