"""The job `explain`: maps of what a classifier looked at, and scores of the maps."""

import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.common.randomness import derive_seed
from attacks.files import write_bytes
from augment import Dataset
from explain import ExplanationMethod
from explain.scores.deletion import area_under, deletion_curve, insertion_curve
from trainers.evaluate.evaluation import predict
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.intervals import mean_interval
from trainers.jobs.attack import class_number
from trainers.jobs.naming import sample_names
from trainers.run.cli.explain_config import ExplainConfig, ExplainFlags
from trainers.run.cli.specs.attacks import slug
from trainers.run.cli.specs.explanations import ALL, build_methods
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.checkpoint import is_finished, load_item, save_item
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import JobContext, load_split
from trainers.run.show.explanation_figures import explanation_figure
from trainers.run.show.images import write_png
from trainers.run.show.outcome import legend, outcome
from trainers.run.show.outcomes.explain import EXPLANATION_TERMS, explanation_table
from trainers.run.show.plots import to_picture
from trainers.run.show.progress import Progress
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)
Row = dict[str, Any]
CHUNK = 64  # samples in a pass of the scores
SCORES = {"deletion": deletion_curve, "insertion": insertion_curve}


@dataclass(frozen=True)
class Explained:
    """The samples of a run and the classes that are explained.

    Attributes:
        context: the job's classifier.
        ds: the samples, in their order.
        x: the samples, (N, C, ...).
        y: the classes, int64 (N,).
        probability: that the classifier gives these, (N,).
    """

    context: JobContext
    ds: Dataset
    x: Tensor
    y: Tensor
    probability: Tensor


def run_explain(config: ExplainConfig, folder: RunFolder) -> None:
    """Explain some samples by each method, score the maps, and show them."""
    flags = config.explaining
    methods = build_methods(flags.method, smoke=config.run.smoke)
    ds = load_split(config, flags.split, folder)
    ds = ds.subset(evenly_spaced(len(ds), flags.samples))
    asked = class_number(flags.explain_class, ds, flag="--explain-class")
    context = load_or_fit_classifier(config, folder, ds)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    explained = choose_classes(context, ds, asked)
    maps, rows, warnings = {}, [], []
    with Progress(folder, "explain", total=len(methods)) as bar:
        for name, method in methods.items():
            try:
                maps[name], scores = explain_resumable(explained, name, method, flags)
                rows += list_rows(explained, name, scores)
            except ValueError as error:
                if ALL not in flags.method:
                    raise
                warnings.append(f"without {name}: {error}")
                log.warning("%s", warnings[-1])
            bar.step()
    draw(explained, maps, rows, folder)
    write_scores(folder, rows)
    summary = {
        "job": "explain",
        "samples": len(ds),
        "methods": summarise_methods(rows, list(maps)),
        "warnings": warnings,
    }
    write_summary(folder.path / "summary.json", summary)
    publish(folder, board, summary, config=text)


def choose_classes(context: JobContext, ds: Dataset, asked: int | None) -> Explained:
    """Return the samples with the classes to explain: the one asked for, or the predicted ones."""
    x, _ = ds.stack(range(len(ds)))
    x = x.to(context.device)
    parts = torch.split(x, context.batch_size)
    shares = torch.cat([predict(context.model, part).softmax(1) for part in parts])  # (N, K)
    y = shares.argmax(1) if asked is None else torch.full_like(shares.argmax(1), asked)
    return Explained(context, ds, x, y, shares.gather(1, y[:, None])[:, 0].cpu())


def explain_resumable(
    explained: Explained, name: str, method: ExplanationMethod, flags: ExplainFlags
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Return a method's maps (N, ...) and their scores by name, (N,); made, or found as made."""
    context, size = explained.context, explained.context.batch_size
    found = []
    for number, start in enumerate(range(0, len(explained.x), size)):
        file = context.folder.checkpoints / f"explain-{slug(name)}" / f"{number:05}.safetensors"
        if not is_finished(file):
            context.folder.check_held()
            rows = slice(start, start + size)
            save_item(file, explain_batch(explained, name, method, flags, rows))
        found.append(load_item(file)[0])
    columns = {key: torch.cat([part[key] for part in found]) for key in found[0]}
    return columns.pop("maps"), columns


def explain_batch(
    explained: Explained, name: str, method: ExplanationMethod, flags: ExplainFlags, rows: slice
) -> dict[str, Tensor]:
    """Make the maps of some samples, with the areas under their curves and the seconds of each."""
    context, x, y = explained.context, explained.x[rows], explained.y[rows]
    ids = [derive_seed(each) for each in explained.ds.ids[rows]]
    seed, began = derive_seed(context.seed, "explain"), time.perf_counter()
    maps = method(context.model, x, y, seed=seed, sample_ids=ids)
    seconds = torch.full((len(x),), (time.perf_counter() - began) / len(x))
    curves = {
        score: curve(context.model, x, y, maps, steps=flags.score_steps, chunk=CHUNK)
        for score, curve in SCORES.items()
    }
    areas = {score: area_under(curve) for score, curve in curves.items()}
    return {"maps": maps, **areas, "seconds": seconds}


def list_rows(explained: Explained, name: str, scores: Mapping[str, Tensor]) -> list[Row]:
    """Return a row of scores.csv for each sample."""
    ds, numbers = explained.ds, explained.y.tolist()
    names = [ds.classes[i] if i < len(ds.classes) else str(i) for i in numbers]
    return [
        {
            "id": ds.ids[i],
            "class": names[i],
            "probability": float(explained.probability[i]),
            "method": name,
            **{key: float(column[i]) for key, column in scores.items()},
        }
        for i in range(len(ds))
    ]


def summarise_methods(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Row]:
    """Return the mean scores of each method, with their intervals."""
    found = {}
    for name in names:
        own = [row for row in rows if row["method"] == name]
        found[name] = {
            key: sum(row[key] for row in own) / len(own) for key in (*SCORES, "seconds")
        } | {f"{key}_interval": mean_interval([row[key] for row in own]) for key in SCORES}
    return found


def draw(
    explained: Explained, maps: Mapping[str, Tensor], rows: Sequence[Row], folder: RunFolder
) -> None:
    """Draw a figure for each sample."""
    names = sample_names([each.replace("/", "-") for each in explained.ds.ids], ".png")
    for i, name in enumerate(names):
        own = [row for row in rows if row["id"] == explained.ds.ids[i]]
        notes = {
            row["method"]: f"deletion {row['deletion']:.2f}\ninsertion {row['insertion']:.2f}"
            for row in own
        }
        title = f"{own[0]['class']}  {own[0]['probability']:.1%}" if own else ""
        single = {method: map_[i] for method, map_ in maps.items()}
        figure = explanation_figure(explained.x[i].cpu(), single, notes, title=title)
        write_png(folder.figures / f"explain-{name}.png", to_picture(figure))


def write_scores(folder: RunFolder, rows: Sequence[Row]) -> None:
    """Write scores.csv, a row for each sample and method."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder.path / "scores.csv", text.getvalue().encode(errors="surrogatepass"))


def publish(
    folder: RunFolder, board: TensorBoardWriter, summary: Mapping[str, Any], *, config: str
) -> None:
    """Show the outcome: TensorBoard, report, terminal."""
    pictures = sorted(folder.figures.glob("explain-*.png"))
    for picture in pictures:
        board.picture(f"explain/{picture.stem.removeprefix('explain-')}", picture, step=0)
    for name, scores in summary["methods"].items():
        values = {f"{key}/{name}": scores[key] for key in SCORES}
        folder.metrics.add(f"explain {name}", step=0, values=values)
    table = explanation_table(summary)
    board.text("results", table)
    board.close()
    content = {"outcome": table, "messages": summary["warnings"], "meanings": EXPLANATION_TERMS}
    write_report(folder, "outcome.html", content | {"pictures": pictures}, config=config)
    log.info("%s\n", legend(EXPLANATION_TERMS))
    log.info("%s", outcome(folder))
