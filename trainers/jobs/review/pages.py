"""The templates and assets of the review page and the gallery."""

from importlib.resources import files

from jinja2 import PackageLoader

from trainers.run.show.report import TEMPLATES

HOME = "trainers.jobs.review"
# Renders them as the reports are: all that is not HTML already is escaped.
PAGES = TEMPLATES.overlay(loader=PackageLoader(HOME))


def asset(name: str) -> str:
    """Return the text of a style sheet or a script of ours."""
    return files(HOME).joinpath("templates", name).read_text(encoding="utf-8")
