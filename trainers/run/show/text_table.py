"""Tables as text: columns below their headings, two spaces apart."""

import math
from collections.abc import Mapping, Sequence

IN_BRACKETS = "in brackets the range, in %, that the true rate lies in with 95 % confidence"


def number(value: float | None, form: str) -> str:
    """Return a number in a format; "-" for none."""
    return "-" if value is None else format(value, form)


def percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    """Return a rate, with its interval in whole percent, rounded outwards.

    >>> percent(0.5, (0.301, 0.699)), percent(None)
    ('50.0% (30-70)', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    if interval is None:
        return f"{value:.1%}"
    low, high = math.floor(100 * interval[0]), math.ceil(100 * interval[1])
    return f"{value:.1%} ({low}-{high})"


def format_row(cells: Mapping[str, str], widths: Mapping[str, int], *, left: str = "") -> str:
    """Pad the cells of a row to the widths of their columns.

    Args:
        cells: texts by the heading of their column; the headings themselves for the first row.
        widths: characters by heading.
        left: heading of the column that is aligned to the left; the others are to the right.

    >>> format_row({"a": "1", "b": "2"}, {"a": 3, "b": 2}, left="a")
    '1     2'
    """
    return "  ".join(
        cell.ljust(widths[name]) if name == left else cell.rjust(widths[name])
        for name, cell in cells.items()
    )


def format_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay out rows with the same keys below their headings, the first column to the left.

    >>> print(format_table([{"codec": "jpeg", "dB": "30.0"}, {"codec": "x", "dB": "4.0"}]))
    codec    dB
    jpeg   30.0
    x       4.0
    """
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    headings = {name: name for name in widths}
    return "\n".join(format_row(row, widths, left=next(iter(widths))) for row in (headings, *rows))


def format_columns(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay out rows of words below their headings, every column to the left.

    >>> print(format_columns([{"run": "a", "state": "finished"}, {"run": "bb", "state": "-"}]))
    run  state
    a    finished
    bb   -
    """
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = [{name: name for name in widths}, *rows]
    return "\n".join(
        "  ".join(row[name].ljust(width) for name, width in widths.items()).rstrip()
        for row in lines
    )
