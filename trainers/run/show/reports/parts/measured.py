"""Attacks measured on test samples, as sections: what `evaluate`, `fit` and `rounds` share."""

from collections.abc import Mapping
from typing import Any

from trainers.run.show.outcome import ATTACK_TERMS, attack_rows, worst_lines
from trainers.run.show.outcomes.defence import TERMS, WAYS, cell, verdict
from trainers.run.show.reports.parts.content import Section, Table

Row = Mapping[str, Any]
ATTACKED_TERMS = ATTACK_TERMS | {
    "attack": "its name and options, as on the command line",
    "of": "how many samples could be attacked: those that were right before",
    "seconds": "that the attack took on all samples",
}
CLASS_TERMS = {
    "class": "the label",
    "n": "test samples of the class",
    "clean": "share that is right without an attack",
    "worst case": ATTACK_TERMS["worst case"],
}


def attacked_section(summary: Row, *, heading: str = "Attacks") -> Section:
    """Return the table of attacks, and what makes up the worst cases."""
    table = Table(attack_rows(summary), ATTACKED_TERMS)
    return Section(heading, worst_lines(summary), tables=[table])


def defence_section(defence: Row) -> Section:
    """Return what a defended classifier withstands, by what an attack knows."""
    rows = [
        {"attack": name, **{title: cell(rates[way]) for way, title in WAYS.items()}}
        for name, rates in defence["attacks"].items()
    ]
    lines = [
        f"clean accuracy through {' '.join(defence['defences'])} "
        f"{cell(defence['clean_accuracy'])}, without {cell(defence['undefended_clean_accuracy'])}",
        TERMS,
        *(verdict(*each) for each in defence["attacks"].items()),
    ]
    right = "share that is right under the attack, made"
    terms = {
        "attack": ATTACKED_TERMS["attack"],
        "without defence": f"{right} on the bare classifier, and tried on it",
        "blind": f"{right} on the bare classifier",
        "as it is": f"{right} through the defence, along its own gradients",
        "adaptive": f"{right} through the defence, with surrogates and mean gradients",
    }
    return Section("Defences", lines, tables=[Table(rows, terms)])
