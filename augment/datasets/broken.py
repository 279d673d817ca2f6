"""Files that nobody has checked: the errors that decoders raise, and trying many files."""

import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from PIL import Image

_Result = TypeVar("_Result")
BROKEN = (  # on hostile bytes nearly anything but a signal
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def describe_error(error: BaseException) -> str:
    """Describe in a few words what is wrong with a file."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def try_each(
    function: Callable[[str], _Result], paths: Sequence[str], *, threads: int = 1
) -> tuple[dict[str, _Result], dict[str, Exception]]:
    """Call a function on every file.

    Returns:
        By path, the results and the errors of broken files.
    """
    results: dict[str, _Result] = {}
    errors: dict[str, Exception] = {}

    def call(path: str) -> None:
        try:
            results[path] = function(path)
        except BROKEN as error:
            errors[path] = error

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, paths))
    return results, errors
