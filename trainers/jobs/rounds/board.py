"""The rounds in TensorBoard: each as it is done, and at the end what is handed over."""

from collections.abc import Mapping, Sequence
from typing import Any

from explain.network.projector import write_embedding
from trainers.jobs.rounds.explaining import FIGURE
from trainers.jobs.rounds.features import features_file
from trainers.jobs.rounds.following import followed_pictures
from trainers.jobs.rounds.setup import round_name
from trainers.run.folder.atomic import is_present
from trainers.run.folder.checkpoint import load_item
from trainers.run.folder.folder import RunFolder
from trainers.run.show.figures.followed import BADGES
from trainers.run.show.images import write_png
from trainers.run.show.outcome import rounds_table
from trainers.run.show.plots import line_chart, to_picture
from trainers.run.show.tensorboard_writer import (
    TensorBoardWriter,
    escape_markdown,
    markdown_table,
)
from trainers.run.show.text_table import percent

CLASSES = 50  # in a table; of more, those that most samples are lost of
LOSSES = "attack-loss.png"
SIZE = (4.2, 3.1)  # inches: in a card of TensorBoard its words can be read
Row = Mapping[str, Any]


class RoundsBoard:
    """What TensorBoard shows of the rounds, from their rows and the files of the run alone."""

    def __init__(self, folder: RunFolder, config: str) -> None:
        """Open TensorBoard's folder; `config` is all options in TOML."""
        self.folder = folder
        self.writer = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, config)

    def show_round(self, rows: Sequence[Row]) -> None:
        """Show the last of the rounds so far."""
        row, number = rows[-1], rows[-1]["round"]
        self.folder.metrics.add(round_name(number), step=number, values=scalars(row))
        for picture in followed_pictures(self.folder.figures / round_name(number)):
            self.writer.picture(f"followed/{picture.stem}", picture, step=number)
        self.writer.markdown("top classes", top_classes_text(row), step=number)
        self.writer.markdown("accuracy by class", class_text(row["classes"]), step=number)
        lines = {f"round {r['round']}": r["loss_by_step"] for r in rows if r["loss_by_step"]}
        if lines:
            title = f"Mean loss of {row['attack']}"
            chart = line_chart(lines, title=title, x_label="step of the attack")
            chart.set_size_inches(SIZE)
            write_png(self.folder.figures / LOSSES, to_picture(chart))
            self.writer.picture(
                "figures/attack loss by step", self.folder.figures / LOSSES, step=number
            )

    def finish(self, rows: Sequence[Row], summary: Row) -> None:
        """Show what is handed over, and put the run into the table of runs."""
        last = rows[-1]["round"]
        if (looked_at := self.folder.figures / FIGURE).is_file():
            self.writer.picture("figures/looked at", looked_at, step=last)
        self._project(summary["best_round"])
        self.writer.text("rounds", rounds_table(rows))
        self.writer.close(summary)

    def _project(self, number: int) -> None:
        """Show the features of test samples, clean and perturbed, in the projector."""
        file = features_file(self.folder.checkpoints, number)
        if not is_present(file):  # its layers cannot be looked at
            return
        tensors, note = load_item(file)
        self.writer.forget_embeddings()
        write_embedding(
            self.writer.writer,
            tensors["vectors"],
            labels=note.pop("class"),
            x=tensors["sprites"].float() / 255,
            tag="features",
            further=note,
        )


def scalars(row: Row) -> dict[str, float]:
    """Return a round's numbers by TensorBoard tag."""
    robust = {f"robust/{name}": value for name, value in row["robust_accuracy"].items()}
    robust["robust/worst case"] = row["worst_case"]
    if row["validation"]:
        robust["validation/worst case"] = row["validation"]["worst_case"]
    names = (
        "clean_accuracy", "attack_success", "attackable", "fooled", "attack_loss", "delta_l1",
        "delta_sparsity", "median_linf", "median_l2", "median_l1", "bank_size", "accepted",
        "seconds",
    )  # fmt: skip
    single = {f"round/{name}": row[name] for name in names if row[name] is not None}
    for name, cost in (*row["costs"].items(), ("the main attack", row["attack_cost"])):
        single[f"measure/{name}/seconds"] = cost["seconds"]
        if cost["seconds"]:
            single[f"measure/{name}/samples_per_second"] = cost["samples"] / cost["seconds"]
    return robust | single


def top_classes_text(row: Row) -> str:
    """Return the top classes of the followed samples before and after the attack, in Markdown.

    Source: Rey-de-Castro & Rabitz 2018, tables 1 and 2.
    """
    parts = []
    for number, each in enumerate(row["followed"], 1):
        pairs = enumerate(zip(each["before"], each["after"], strict=True), 1)
        table = markdown_table(
            [
                {
                    "rank": str(rank),
                    "before": before["class"],
                    "probability": percent(before["probability"]),
                    "after": after["class"],
                    "probability after": percent(after["probability"]),
                }
                for rank, (before, after) in pairs
            ]
        )
        heading = f"sample {number}, class {each['label']}: {BADGES[each['outcome']][0]}"
        parts.append(f"**{escape_markdown(heading)}**\n\n{table}")
    return "\n\n".join(parts)


def class_text(classes: Sequence[Row]) -> str:
    """Return the accuracies of the classes, clean and under each attack, as a table in Markdown.

    Of many classes it has those that do worst.
    """
    shown = list(classes)
    if len(shown) > CLASSES:
        shown = sorted(shown, key=lambda row: (row["worst_case"] or row["clean"])["accuracy"])
    rows = [
        {
            "class": row["class"],
            "samples": str(row["samples"]),
            "clean": percent(row["clean"]["accuracy"]),
            **{name: percent(rate["accuracy"]) for name, rate in row["attacks"].items()},
            **({"worst case": percent(row["worst_case"]["accuracy"])} if row["worst_case"] else {}),
        }
        for row in shown[:CLASSES]
    ]
    return markdown_table(rows)
