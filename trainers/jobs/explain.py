"""The job `explain`: maps of what a classifier looked at, and scores of the maps."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from explain import ExplanationMethod
from explain.black_box.blur_mask import MeaningfulPerturbation
from explain.perturbation.difference_map import DifferenceMap
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.jobs.attack import class_number
from trainers.jobs.attack_files import write_csv
from trainers.jobs.explanation.figures import draw_samples
from trainers.jobs.explanation.maps import SCORES, Explained, choose_classes, explain_resumable
from trainers.jobs.explanation.masks import load_masks
from trainers.jobs.explanation.tables import (
    BOX_COLUMNS,
    agreement_table,
    box_rows,
    score_rows,
    summarise_methods,
)
from trainers.run.cli.jobs.explain import ExplainConfig, ExplainFlags
from trainers.run.cli.specs.explanations import ALL, build_methods
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import load_split
from trainers.run.show.outcome import legend, outcome
from trainers.run.show.outcomes.explain import (
    explanation_table,
    explanation_terms,
)
from trainers.run.show.progress import Progress
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)
LEARN_PERTURBATIONS = (DifferenceMap, MeaningfulPerturbation)  # boxes are drawn around their maps


def run_explain(config: ExplainConfig, folder: RunFolder) -> None:
    """Explain some samples by each method, score the maps, and show them."""
    flags = config.explaining
    methods = build_methods(flags.method, smoke=config.run.smoke)
    ds = load_split(config, flags.split, folder)
    ds = ds.subset(evenly_spaced(len(ds), flags.samples))
    asked = class_number(flags.explain_class, ds, flag="--explain-class")
    masks = load_masks(flags.masks, ds, folder) if flags.masks else None
    context = load_or_fit_classifier(config, folder, ds)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    explained = choose_classes(context, flags, ds, asked=asked, masks=masks)
    found, warnings = explain_by_each(explained, methods)
    boxed = [name for name in found if isinstance(methods[name], LEARN_PERTURBATIONS)]
    drawn = draw_samples(explained, found, boxed, folder.figures)
    write_csv(folder.path / "scores.csv", score_rows(explained, found), columns=("id",))
    if boxed:
        rows = box_rows(explained, found, boxed)
        write_csv(folder.path / "boxes.csv", rows, columns=BOX_COLUMNS)
    summary = {
        "job": "explain",
        "samples": len(ds),
        "methods": summarise_methods(found),
        "agreement": agreement_table(found),
        "pictures": {each: [file.name for file in files] for each, files in drawn.items()},
        "warnings": warnings,
    }
    write_summary(folder.path / "summary.json", summary)
    publish(folder, board, summary, drawn)


def explain_by_each(
    explained: Explained, methods: Mapping[str, ExplanationMethod]
) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """Return what each method finds, and why some of all, or of the default ones, found nothing."""
    found, warnings = {}, []
    asked = explained.flags.method
    named = ALL not in asked and asked != ExplainFlags().method
    with Progress(explained.context.folder, "explain", total=len(methods)) as bar:
        for name, method in methods.items():
            try:
                found[name] = explain_resumable(explained, name, method, progress=bar.within)
            except ValueError as error:
                if named:
                    raise
                warnings.append(f"without {name}: {error}")
                log.warning("%s", warnings[-1])
            bar.step()
    return found, warnings


def publish(
    folder: RunFolder,
    board: TensorBoardWriter,
    summary: Mapping[str, Any],
    drawn: Mapping[str, Sequence[Path]],
) -> None:
    """Show the outcome: TensorBoard, report, terminal."""
    for picture in (file for files in drawn.values() for file in files):
        tag = f"explain/{picture.name.removeprefix('explain-').removesuffix('.png')}"
        board.picture(tag, picture, step=0)
    for name, scores in summary["methods"].items():
        values = {f"{key}/{name}": scores[key] for key in SCORES if scores.get(key) is not None}
        folder.metrics.add(f"explain {name}", step=0, values=values)
    board.text("results", explanation_table(summary))
    board.close(summary)
    write_report(folder.path)
    log.info("%s\n", legend(explanation_terms(summary)))
    log.info("%s", outcome(folder))
