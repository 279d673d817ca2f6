"""What a defended classifier withstands, by how much of its defences an attack knows, as text."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from trainers.run.show.text_table import format_table, percent

WIDTH = 100  # characters of a line of prose
WAYS = {  # how an attack was made, by its key in summary.json
    "undefended": "without defence",
    "blind": "blind",
    "as_is": "as it is",
    "adaptive": "adaptive",
}
TERMS = (
    "Right under an attack; in all but the first column tested through the defence. without "
    "defence: attack and test on the bare classifier. blind: attack on the bare classifier. as it "
    "is: attack through the defence, along such gradients as it has. adaptive: with surrogates "
    "(BPDA) and mean gradients (EOT). The adaptive figure is what the defence is worth; the others "
    "show what a test misses that does not know it."
)


def defence_lines(defence: Mapping[str, Any]) -> list[str]:
    """Return the table of `compare_knowledge`, an attack a line, and a sentence on each."""
    rows = [
        {"attack": name, **{title: cell(rates[way]) for way, title in WAYS.items()}}
        for name, rates in defence["attacks"].items()
    ]
    clean = (
        f"clean accuracy through the defence {cell(defence['clean_accuracy'])}, without it "
        f"{cell(defence['undefended_clean_accuracy'])}"
    )
    lines = [f"defence: {' '.join(defence['defences'])}", format_table(rows), clean]
    for text in (TERMS, *(verdict(*each) for each in defence["attacks"].items())):
        lines += wrap(text, WIDTH)
    return lines


def cell(rate: Mapping[str, Any]) -> str:
    """Return a rate with its interval."""
    return percent(rate["accuracy"], rate["interval"])


def verdict(name: str, rates: Mapping[str, Any]) -> str:
    """Say what an adaptive attack leaves of a defence.

    >>> rate = lambda accuracy: {"accuracy": accuracy, "interval": (accuracy - .02, accuracy + .02)}
    >>> named = dict(undefended=rate(0), blind=rate(.8), as_is=rate(.7), adaptive=rate(.1))
    >>> verdict("pgd", named)
    'pgd: 80.0% right under the blind attack, 10.0% under the adaptive one.'
    """
    adaptive, blind = rates["adaptive"], rates["blind"]
    text = (
        f"{name}: {blind['accuracy']:.1%} right under the blind attack, {adaptive['accuracy']:.1%} "
        "under the adaptive one."
    )
    better = min(("blind", "as_is"), key=lambda way: float(rates[way]["accuracy"]))
    if rates[better]["accuracy"] < adaptive["interval"][0]:
        text += f" The {WAYS[better]} attack does better: give the attack more steps."
    elif adaptive["interval"][1] < rates["undefended"]["interval"][0]:
        text += " That is less than without the defence."
    elif adaptive["interval"][0] <= rates["undefended"]["interval"][1]:
        text += " That cannot be told from no defence."
    return text
