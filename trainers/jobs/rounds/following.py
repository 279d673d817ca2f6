"""The same held-out samples through the rounds: what the attack makes of them, and how."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attacks.files import write_bytes
from augment import Dataset
from trainers.evaluate.evaluation import OWN, AttackedBatch, predict
from trainers.evaluate.failures import named_classes, top_scores
from trainers.evaluate.measure_resumable import item_file
from trainers.evaluate.per_class import class_name
from trainers.evaluate.scores import Columns
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.rounds.setup import Rounds, round_name
from trainers.run.folder.checkpoint import load_item, save_item
from trainers.run.show.figures.followed import FollowedSample, Outcome, encode_followed
from trainers.run.show.images import frame_heat_map, is_clip, write_png

KEPT = 64  # attacked samples whose pixels outlive their batch, at most
FOLLOWED = 8
FRAMES = "frames.png"
POINTS = 100  # of the curve of losses by step
Row = dict[str, Any]


@dataclass(frozen=True)
class KeptSamples:
    """Some of the samples that the main attack perturbed.

    Attributes:
        rows: where they stand among all that it attacked.
        x_adv: the perturbed samples (N, C, ...).
        history: the loss before each step, (N, steps); None of an attack that keeps none.
    """

    rows: list[int]
    x_adv: Tensor
    history: Tensor | None


def keep_batch(folder: Path, count: int, number: int, batch: AttackedBatch) -> list[Path]:
    """Keep the pixels and the losses of some samples of a batch.

    Args:
        folder: where to.
        count: how many samples are attacked in all.
        number: of the batch.
        batch: the batch.

    Returns:
        The file; none where no sample of the batch is kept.
    """
    wanted = torch.isin(batch.index.cpu(), torch.tensor(evenly_spaced(count, KEPT)))  # (B,)
    if not wanted.any():
        return []
    tensors = {"row": batch.index.cpu()[wanted], "x_adv": batch.result.x_adv.cpu()[wanted]}
    if batch.result.history is not None:
        tensors["history"] = batch.result.history.T.cpu()[wanted].contiguous()  # (n, steps)
    save_item(file := folder / item_file(number), tensors)
    return [file]


def load_kept(folder: Path) -> KeptSamples:
    """Read what `keep_batch` kept of all batches."""
    parts = [load_item(file)[0] for file in sorted(folder.glob("*.safetensors"))]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return KeptSamples(joined["row"].tolist(), joined["x_adv"], joined.get("history"))


def choose_followed(columns: Columns, rows: Sequence[int]) -> list[int]:
    """Choose which samples to follow: as many fooled as held where there are, fooled ones first.

    Args:
        columns: what was measured in round 0, (N,) each.
        rows: the samples there are to choose from.
    """
    at = torch.tensor(rows)
    attackable, fooled = columns["attackable"][at], columns["fooled"][at]
    groups = [at[attackable & fooled].tolist(), at[attackable & ~fooled].tolist()]
    half = FOLLOWED // 2
    few = min(len(group) for group in groups)
    counts = [half, half] if few >= half else [FOLLOWED - few] * 2
    chosen = [group[i] for group, n in zip(groups, counts, strict=True)
              for i in evenly_spaced(len(group), n)]  # fmt: skip
    others = [row for row in rows if row not in chosen]
    return (chosen + others)[:FOLLOWED]


def follow(
    rounds: Rounds,
    number: int,
    some: Dataset,
    columns: Columns,
    kept: KeptSamples,
    ids: Sequence[str],
) -> list[Row]:
    """Draw the followed samples of a round, and tell what the classifier answers.

    Args:
        rounds: the run.
        number: the round.
        some: the samples that the main attack perturbed.
        columns: what was measured of them, (N,) each.
        kept: the pixels of some of them.
        ids: of the samples that are followed; empty chooses them.

    Returns:
        For each its id, label, outcome, size of change, top classes before and after, and picture.
    """
    rows = [some.ids.index(name) for name in ids] or choose_followed(columns, kept.rows)
    model, device = rounds.context.model, rounds.context.device
    x = some.stack(rows)[0]
    x_adv = kept.x_adv[[kept.rows.index(row) for row in rows]]
    before, after = (predict(model, part.to(device)).softmax(1).cpu() for part in (x, x_adv))
    tops = top_scores("before", before) | top_scores("after", after)
    told = []
    for i, row in enumerate(rows):
        file = f"figures/{round_name(number)}/sample-{i + 1}.{'gif' if is_clip(x[i]) else 'png'}"
        found = {
            "id": some.ids[row],
            "label": class_name(some.classes, int(columns["label"][row])),
            "outcome": outcome_of(columns, row),
            "linf": float(columns["linf"][row]),
            "l2": float(columns["l2"][row]),
            "before": named_classes(tops, "before", i, some.classes),
            "after": named_classes(tops, "after", i, some.classes),
            "picture": file,
        }
        write_bytes(
            rounds.context.folder.path / file, encode_followed(picture_of(found, x[i], x_adv[i]))
        )
        told.append(found)
    return told


def draw_frames(
    rounds: Rounds, number: int, some: Dataset, columns: Columns, followed: Sequence[Row]
) -> None:
    """Draw how much each frame of the followed clips weighed, where the attack chose among them.

    Args:
        rounds: the run.
        number: the round.
        some: the samples that the main attack perturbed.
        columns: what was measured of them, (N,) or (N, T) each.
        followed: what `follow` told.
    """
    weights, chosen = (columns.get(f"{OWN}{name}") for name in ("weights", "keyframes"))
    if weights is None or chosen is None:
        return
    rows = [some.ids.index(each["id"]) for each in followed]
    labels = [each["label"] for each in followed]
    sheet = frame_heat_map(some.stack(rows)[0], weights[rows], labels, keyframes=chosen[rows])
    write_png(rounds.context.folder.figures / round_name(number) / FRAMES, sheet)


def followed_ids(row: Row | None) -> list[str]:
    """Return the ids of the samples that an earlier round followed; none where there was none."""
    return [each["id"] for each in row.get("followed", ())] if row else []


def followed_pictures(folder: Path) -> list[Path]:
    """Return the pictures in a round's folder of figures, those of the samples first."""
    frames = folder / FRAMES
    return [*sorted(folder.glob("sample-[1-9].*")), *([frames] if frames.is_file() else [])]


def outcome_of(columns: Columns, row: int) -> Outcome:
    """Return what came of an attack on a sample."""
    if not columns["attackable"][row]:
        return "wrong"
    return "fooled" if columns["fooled"][row] else "held"


def picture_of(found: Row, x: Tensor, x_adv: Tensor) -> FollowedSample:
    """Return a sample x (C, ...) with what was told of it, for its picture."""
    before, after = (
        (top["class"], math.nan if top["probability"] is None else top["probability"])
        for top in (found["before"][0], found["after"][0])
    )
    return FollowedSample(x, x_adv, found["label"], before, after, found["outcome"])


def mean_history(history: Tensor) -> list[tuple[int, float]]:
    """Return the mean loss of samples by step, at no more than `POINTS` steps.

    A sample that had left counts with its last value.

    Args:
        history: (N, steps), NaN where a sample had left.

    >>> mean_history(torch.tensor([[4.0, 2.0], [2.0, torch.nan]]))
    [(0, 3.0), (1, 2.0)]
    """
    steps = history.shape[1]
    known = torch.isfinite(history)
    last = torch.where(known, torch.arange(steps), -1).cummax(1).values  # (N, steps)
    filled = history.double().gather(1, last.clamp_min(0)).masked_fill(last < 0, torch.nan)
    means = filled.nanmean(0)
    shown = [(i, float(means[i])) for i in evenly_spaced(steps, POINTS)]
    return [(i, value) for i, value in shown if math.isfinite(value)]
