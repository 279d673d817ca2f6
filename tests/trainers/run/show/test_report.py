"""What report.html holds, of runs whose folders are written here by hand."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from attacks import RefusedInput
from trainers.run.folder.claim import REPORT
from trainers.run.folder.record import read_record
from trainers.run.show.report import render_comparison, write_report
from trainers.run.show.reports.parts.charts import inline_svg
from trainers.run.show.reports.parts.content import Table


class Page(HTMLParser):
    """Headings of tables with their explanations, pictures, links, and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[list[str | None]] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        for name in ("src", "xlink:href"):
            if known.get(name):
                self.sources.append(known[name])
        if tag == "a":
            self.links.append(known["href"])
        if tag == "th":
            self.headings.append([None])
        if tag == "abbr" and "th" in self.open[-1:]:
            self.headings[-1][0] = known["title"]
        if tag not in ("img", "meta", "br", "path", "use", "image", "rect", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["svg"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def page(tmp_path: Path, make_run) -> Page:
    text = write_report(make_run(tmp_path / "<run>")).read_text()
    assert text.startswith(REPORT)
    return Page(text)


def test_numbers_have_their_intervals_and_counts(page: Page) -> None:
    assert "70.0% 95 % : 60 to 78 % of 100 test samples" in page.text
    assert "90.0% 95 % : 82 to 95 % of 100 test samples" in page.text


def test_it_stands_alone(page: Page, tmp_path: Path) -> None:
    text = (tmp_path / "<run>/report.html").read_text()
    assert page.sources
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert all((tmp_path / "<run>" / link).exists() for link in page.links)
    assert "http" not in text
    assert "prefers-color-scheme: dark" in text


def test_each_column_is_explained(page: Page) -> None:
    assert len(page.headings) > 8
    assert all(heading[0] for heading in page.headings)


def test_what_others_wrote_is_escaped(page: Page, tmp_path: Path) -> None:
    text = (tmp_path / "<run>/report.html").read_text()
    assert not any(tag in text for tag in ("<u>", "<b>", "<run>"))
    assert "a <u> b" in page.text
    assert r"0007\udcff" in page.text  # an id that is no text


def test_a_failure_shows_what_was_said_before_and_after(page: Page) -> None:
    assert "true: cat<b> FOOLED cat<b> (75.0%) → dog (25.0%)" in page.text


def test_it_says_how_to_get_the_run_again(page: Page, tmp_path: Path) -> None:
    assert "python train.py fit --seed 0" in page.text
    assert "--resume it" not in page.text
    assert f"--config={tmp_path}/<run>/config.toml" in page.text.replace("'", "")


def test_a_picture_that_is_missing_is_left_out(tmp_path: Path, make_run) -> None:
    run = make_run(tmp_path / "run")
    (run / "figures/failure-1.png").unlink()
    text = write_report(run).read_text()
    assert "<img" not in text
    assert "true: cat" in text


def test_a_summary_that_was_changed_is_refused(tmp_path: Path, make_run) -> None:
    run = make_run(tmp_path / "run")
    (run / "status.json").write_text('{"state": "finished", "summary": "other"}')
    with pytest.raises(RefusedInput, match=r"summary\.json is damaged"):
        write_report(run)


def test_headings_take_the_longest_term_they_contain() -> None:
    table = Table([{"pgd acc.": "1", "of": "2", "?": "3"}], {"acc.": "a", "c.": "b", "of": "o"})
    assert table.meanings == {"pgd acc.": "a", "of": "o"}


def test_charts_take_the_colours_of_the_page() -> None:
    svg = inline_svg(
        '<?xml?><svg width="9pt" xmlns="http://x" viewBox="0 0 1 1"><metadata>m</metadata>'
        '<defs><path id="p1"/></defs><g id="figure_1" style="fill: #222222"/>'
        '<use xlink:href="#p1" style="stroke: #2563eb"/></svg>'
    )
    assert all(kept in svg for kept in ("var(--ink)", "var(--series-0)", 'id="p1"'))
    assert not any(gone in svg for gone in ("http", "width", "metadata", "figure_1", "#2563eb"))


def test_a_comparison_names_what_differs_and_flags_what_cannot_be_compared(
    tmp_path: Path, make_run
) -> None:
    pgd = {"budget": "linf 0.1", "robust_accuracy": 0.6, "robust_accuracy_interval": (0.6, 0.78)}
    other = {"fgsm": pgd | {"robust_accuracy": 0.8}, "pgd": pgd}
    runs = [
        make_run(tmp_path / "a"),
        make_run(tmp_path / "b", eps=0.2, attacks=other, clean_accuracy=0.85),
        make_run(tmp_path / "c"),
    ]
    records = [read_record(run) for run in runs]
    page = Page(render_comparison(records))
    assert "Not comparable: eps differs (a: 0.1; b: 0.2; c: 0.1)." in page.text
    assert "eps 0.1 0.2 0.1" in page.text
    assert "90.0% (82-95), of 100 85.0% (82-95), of 100 90.0% (82-95), of 100" in page.text
    assert "pgd linf 0.1 70.0% (60-78) 60.0% (60-78) 70.0% (60-78)" in page.text
    assert "fgsm linf 0.1 - 80.0% (60-78) -" in page.text
    assert all(heading[0] for heading in page.headings)
    other = replace(records[2], options={"levels": 4, "seed": 1}, config="\n# eps =\n")
    page = Page(render_comparison([records[0], other]))
    assert "seed 0 1" in page.text
    assert "eps 0.1 not set" in page.text, "which its job has, and the run did not set"
    assert "levels" not in page.text, "an option of one job alone"
    alike = Page(render_comparison([records[0], records[2]]))
    assert "Not comparable" not in alike.text
    assert "Options that differ" not in alike.text
