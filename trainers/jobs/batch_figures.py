"""Figures of an attacked batch: images or clips before and after, and the loss by step."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from attacks.files import write_bytes
from trainers.evaluate.evaluation import AttackedBatch, predict
from trainers.evenly_spaced import evenly_spaced
from trainers.run.show.images import (
    Pair,
    draw_sheet,
    draw_strips,
    encode_gif,
    frame_heat_map,
    is_clip,
    write_png,
)
from trainers.run.show.plots import line_chart, to_picture

PICTURES = ("samples.png", "clips.gif", "frames.png", "loss.png")  # of a batch, by their ends
SHOWN = 8  # images in a picture
CLIPS = 4  # clips in one


def picture_file(stem: Path, end: str) -> Path:
    """Return where a picture of a batch is.

    >>> picture_file(Path("figures/attack"), "loss.png").name
    'attack-loss.png'
    """
    return stem.with_name(f"{stem.name}-{end}")


def drawn_pictures(stem: Path) -> list[Path]:
    """Return the pictures that `draw_batch` has made of a batch."""
    return [file for end in PICTURES if (file := picture_file(stem, end)).is_file()]


def draw_batch(
    stem: Path, model: nn.Module, batch: AttackedBatch, classes: Sequence[str]
) -> list[Path]:
    """Write STEM-samples.png, and STEM-loss.png when the attack took several steps.

    Of clips STEM-samples.png shows some frames, and STEM-clips.gif all; STEM-frames.png shows how
    much each frame weighed where the attack chose among them.

    Args:
        stem: where to, and how the names begin.
        model: the attacked classifier, asked for its answers.
        batch: one attacked batch.
        classes: names of the classes.

    Returns:
        The files.
    """
    ranked = torch.argsort(~batch.clean, stable=True).cpu()  # those once right first
    pool = ranked[: max(SHOWN, int(batch.clean.sum()))]
    clips = is_clip(batch.result.x[0])
    # Spread, for data sorted by class.
    order = pool[evenly_spaced(len(pool), CLIPS if clips else SHOWN)]
    pairs = caption_pairs(model, batch, order, classes)
    images = {"samples.png": draw_strips(pairs) if clips else draw_sheet(pairs)}
    if batch.result.history is not None and len(batch.result.history) > 1:
        history = batch.result.history.cpu()[:, order].T.tolist()  # (samples, steps)
        lines = {f"sample {i + 1}": list(enumerate(line)) for i, line in enumerate(history)}
        title, x_label = "Loss of each sample", "step of the attack"
        chart = line_chart(lines, title=title, x_label=x_label, y_label="attack loss")
        images["loss.png"] = to_picture(chart)
    info = batch.result.info
    if clips and {"weights", "keyframes"} <= info.keys():
        weights, keyframes = (info[name].cpu()[order] for name in ("weights", "keyframes"))
        x = torch.stack([pair.x for pair in pairs])  # (N, C, T, H, W)
        before = [pair.before for pair in pairs]
        images["frames.png"] = frame_heat_map(x, weights, before, keyframes=keyframes)
    for end, image in images.items():
        write_png(picture_file(stem, end), image)
    ends = list(images)
    if clips:
        write_bytes(picture_file(stem, "clips.gif"), encode_gif(pairs))
        ends.append("clips.gif")
    return [picture_file(stem, end) for end in ends]


def caption_pairs(
    model: nn.Module, batch: AttackedBatch, order: Tensor, classes: Sequence[str]
) -> list[Pair]:
    """Take some samples of a batch, order (N,), and caption them with the classifier's answers."""
    x, x_adv = (t.cpu()[order] for t in (batch.result.x, batch.result.x_adv))
    device = batch.result.x.device
    before, after = (predict(model, t.to(device)).softmax(1).max(1) for t in (x, x_adv))
    return [
        Pair(x[i], x_adv[i], _says(before, i, classes), _says(after, i, classes))
        for i in range(len(order))
    ]


def _says(top: torch.return_types.max, row: int, classes: Sequence[str]) -> str:
    """Return the classifier's answer for a row, with its score."""
    number = int(top.indices[row])
    name = classes[number] if number < len(classes) else str(number)
    return f"{name}  {float(top.values[row]):.2f}"
