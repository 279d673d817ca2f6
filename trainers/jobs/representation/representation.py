"""The job `representation`: what layers make of samples that were led to the guides' place."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from explain.representation.analysis import ColumnSummary
from trainers.evaluate.scores import finite_or_none
from trainers.intervals import wilson
from trainers.jobs.attack_files import write_csv
from trainers.jobs.representation.adversaries import make_adversaries
from trainers.jobs.representation.analysis import HELD_OUT, NEIGHBOURS, TrialOutcome, run_trials
from trainers.jobs.representation.figures import draw_figures
from trainers.jobs.representation.inversions import KINDS, invert_layers
from trainers.jobs.representation.setup import (
    RepresentationSetup,
    set_up_representation,
    shown_layer,
)
from trainers.run.cli.jobs.representation import RepresentationConfig
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.show.outcome import legend, outcome
from trainers.run.show.outcomes.representation import (
    REPRESENTATION_TERMS,
    representation_table,
)
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)
Row = dict[str, Any]
SHOWN = 4  # pairs in the figure of pairs
NOTED = {"guide_ratio": "distance left", "likelihood": "likelihood", "rank_change": "rank change"}


def run_representation(config: RepresentationConfig, folder: RunFolder) -> None:
    """Make the adversaries of every trial, look at their representations, and show them."""
    flags = config.representing
    setup = set_up_representation(config, folder)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    outcomes, warnings = run_trials(setup)
    first = next(one.trial for one in outcomes if one.trial.compared)
    made = make_adversaries(setup, setup.context.model, first)
    inversions = {}
    if flags.invert:
        inversions = invert_layers(setup, made.x[: flags.invert], steps=flags.invert_steps)
    write_csv(folder.path / "representations.csv", list_rows(setup, outcomes))
    draw_figures(setup, outcomes, made.x[:SHOWN], inversions)
    summary = make_summary(setup, outcomes, inversions) | {
        "warnings": [*setup.pairs.warnings, *warnings, *said(outcomes)],
    }
    write_summary(folder.path / "summary.json", summary)
    publish(folder, board, summary)


def said(outcomes: Sequence[TrialOutcome]) -> list[str]:
    """Return what the attacks warned of."""
    return [
        f"{one.trial.name} in {shown_layer(one.trial.layer)}, {one.trial.budget}: {text}"
        for one in outcomes
        for text in one.warnings
        if one.trial.trained
    ]


def list_rows(setup: RepresentationSetup, outcomes: Sequence[TrialOutcome]) -> list[Row]:
    """Return a row of representations.csv for each trial and pair."""
    pairs, labels = setup.pairs, setup.pairs.ds.labels
    rows = []
    for one in outcomes:
        same = one.columns["answer"] == pairs.guide_answers
        led = pairs.source_answers != pairs.guide_answers
        for i, (s, g) in enumerate(zip(pairs.sources.tolist(), pairs.guides.tolist(), strict=True)):
            rows.append(
                {
                    "source": pairs.ds.ids[s],
                    "guide": pairs.ds.ids[g],
                    "source_class": pairs.name(int(labels[s])),
                    "guide_class": pairs.name(int(labels[g])),
                    "attack": one.trial.name,
                    "layer": shown_layer(one.trial.layer),
                    "budget": one.trial.budget,
                    "weights": "trained" if one.trial.trained else "random",
                    "answer": pairs.name(int(one.columns["answer"][i])),
                    "guide_label": bool(same[i]) if one.trial.trained and led[i] else "",
                    **{
                        name: float(column[i])
                        for name, column in one.columns.items()
                        if name != "answer"
                    },
                }
            )
    return rows


def make_summary(
    setup: RepresentationSetup,
    outcomes: Sequence[TrialOutcome],
    inversions: Mapping[str, Mapping[str, Tensor]],
) -> Row:
    """Return summary.json, without warnings; what is undefined is null."""
    pairs, labels = setup.pairs, setup.pairs.ds.labels
    right = (pairs.source_answers == labels[pairs.sources]).sum()
    return {
        "job": "representation",
        "pairs": len(pairs),
        "sources_right": int(right),
        "layers": [shown_layer(layer) for layer in setup.layers],
        "reference_split": setup.reference_split,
        "least_of_class": NEIGHBOURS + 2 * HELD_OUT,
        "trials": [describe(setup, one) for one in outcomes],
        "inversions": {
            shown_layer(layer): dict(zip(KINDS, found["errors"].mean(0).tolist(), strict=True))
            for layer, found in inversions.items()
        },
    }


def describe(setup: RepresentationSetup, one: TrialOutcome) -> Row:
    """Return what summary.json says of a trial."""
    pairs, trial = setup.pairs, one.trial
    led = pairs.source_answers != pairs.guide_answers  # to another answer than the source has
    n = int(led.sum())
    count = int((led & (one.columns["answer"] == pairs.guide_answers)).sum())
    label = None
    if n and trial.trained:  # random weights have no labels
        label = {"rate": count / n, "interval": wilson(count, n), "count": count, "of": n}
    return {
        "attack": trial.name,
        "layer": shown_layer(trial.layer),
        "budget": trial.budget,
        "trained": trial.trained,
        "compared": trial.compared,
        "guide_label": label,
        "seconds": one.seconds,
        "references": one.references,
        "one_class": one.one_class,
        "columns": {
            name: {key: finite_or_none(v) for key, v in asdict(ColumnSummary.of(column)).items()}
            for name, column in one.columns.items()
            if name != "answer"
        },
    }


def publish(folder: RunFolder, board: TensorBoardWriter, summary: Mapping[str, Any]) -> None:
    """Show the outcome: TensorBoard, report, terminal."""
    for trial in summary["trials"]:
        weights = "" if trial["trained"] else ", random weights"
        name = f"{trial['attack']} in {trial['layer']}, {trial['budget']}{weights}"
        known = {key: trial["columns"][column]["median"] for column, key in NOTED.items()}
        values = {f"{key}/{name}": v for key, v in known.items() if v is not None}
        if trial["guide_label"]:
            values[f"guide's label/{name}"] = trial["guide_label"]["rate"]
        folder.metrics.add(name, step=0, values=values)
    for picture in sorted(folder.figures.glob("*.png")):
        board.picture(f"representation/{picture.stem}", picture, step=0)
    table = representation_table(summary)
    board.text("results", table)
    board.close(summary)
    for warning in summary["warnings"]:
        log.warning("%s", warning)
    write_report(folder.path)
    log.info("%s\n", legend(REPRESENTATION_TERMS))
    log.info("%s", outcome(folder))
