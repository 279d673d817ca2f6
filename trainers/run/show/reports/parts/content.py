"""What a report is made of: sections with text, charts, pictures, tables and tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from trainers.run.show.headline import Headline

Rows = Sequence[Mapping[str, str]]
REPORTED = "what the attack alone reports of a sample; docs/attacks.md says of which attack"


@dataclass(frozen=True)
class Table:
    """Rows by heading.

    Attributes:
        rows: with the same keys each; none shows no table.
        terms: what headings mean; a heading takes the longest term that it is or contains.
        prose: whether the cells hold sentences.
    """

    rows: Rows
    terms: Mapping[str, str]
    prose: bool = False

    @property
    def meanings(self) -> dict[str, str]:
        """What each heading means, where that is known."""
        found = {name: _meaning(name, self.terms) for name in (self.rows[0] if self.rows else ())}
        return {name: meaning for name, meaning in found.items() if meaning}


@dataclass(frozen=True)
class Tile:
    """A picture of a sample with what is to be said of it.

    Attributes:
        picture: its file.
        heading: such as its label.
        lines: what is said of it.
        verdict: "FOOLED", "held" or "", shown as a mark.
        table: a small table below.
        folded: whether the table is opened by a click alone.
    """

    picture: Path
    heading: str
    lines: Sequence[str] = ()
    verdict: str = ""
    table: Table | None = None
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        heading: of the part.
        lines: what is to be seen, a paragraph each.
        charts: drawn as SVG.
        figures: pictures; of one with an SVG file beside it that is shown.
        tables: rows by heading.
        tiles: pictures of samples by heading; those below a heading stand in one row.
        folded: whether it is opened by a click alone.
    """

    heading: str
    lines: Sequence[str] = ()
    charts: Sequence[Markup] = ()
    figures: Sequence[Path] = ()
    tables: Sequence[Table] = ()
    tiles: Mapping[str, Sequence[Tile]] = field(default_factory=dict)
    folded: bool = False

    @property
    def empty(self) -> bool:
        """Tell whether there is nothing to see: not of what it is to show, or no line."""
        things = (*self.charts, *self.figures, *self.tables, *self.tiles.values())
        if not things:
            return not self.lines
        seen = any(file.is_file() for file in self.figures) or any(t.rows for t in self.tables)
        return not (seen or self.charts or any(self.tiles.values()))


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Attributes:
        lead: what was run, in a sentence or two.
        headlines: the numbers that it comes to.
        warnings: what to heed.
        sections: all else.
    """

    lead: str
    headlines: Sequence[Headline]
    warnings: Sequence[str]
    sections: Sequence[Section]


def _meaning(heading: str, terms: Mapping[str, str]) -> str:
    """Return what a heading means; "" where no term tells.

    >>> _meaning("pgd acc.", {"acc.": "accuracy", "c": "other"})
    'accuracy'
    """
    known = [term for term in terms if term == heading]
    known += sorted((term for term in terms if term in heading), key=len, reverse=True)
    return terms[known[0]] if known else ""
