"""A sample that is followed through the rounds: what the classifier says before and after."""

import io
from collections.abc import Mapping
from typing import Literal, NamedTuple

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trainers.run.show.figures.cells import enlarge
from trainers.run.show.images import (
    CHOSEN,
    INK,
    PAD,
    Pair,
    animate,
    choose_factor,
    fit_caption,
    is_clip,
)

Outcome = Literal["fooled", "held", "wrong"]
SIDE = 128  # pixels of a tile: with three of them TensorBoard shows the whole without shrinking
NAMED, LARGE, PLAIN = (ImageFont.load_default(size) for size in (16, 20, 18))
LINE = 26  # pixels of a line of text
HEADING = 38
BADGES: Mapping[Outcome, tuple[str, str]] = {
    "fooled": ("FOOLED", CHOSEN),
    "held": ("held", "#047857"),
    "wrong": ("wrong before", "#4b5563"),
}


class FollowedSample(NamedTuple):
    """A sample before and after an attack, with what the classifier answers.

    Attributes:
        x: (C, H, W), or of a clip (C, T, H, W), in [0, 1].
        x_adv: like x.
        label: the name of its class.
        before: the answer before the attack, and its probability.
        after: the same after it.
        outcome: whether the attack succeeded; "wrong" where there was nothing to attack.
    """

    x: Tensor
    x_adv: Tensor
    label: str
    before: tuple[str, float]
    after: tuple[str, float]
    outcome: Outcome


def draw_followed(sample: FollowedSample, *, factor: int | None = None) -> Image.Image:
    """Draw original | perturbed | difference of an image below its class and the outcome.

    The words are large enough for a card of TensorBoard.

    Args:
        sample: an image.
        factor: of the difference; None takes the one that makes it visible.
    """
    pair = Pair(sample.x, sample.x_adv, "", "")
    factor = choose_factor([pair]) if factor is None else factor
    tiles = [enlarge(tile, SIDE) for tile in pair.tiles(factor)]
    wide = max(max(tile.width for tile in tiles), SIDE)
    high = max(tile.height for tile in tiles)
    size = (3 * wide + 4 * PAD, HEADING + high + 3 * LINE + PAD)
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    _draw_heading(pen, sample, size[0])
    changed = f"difference x {factor}" if pair.mean_change else "no difference"
    names = ("original", "perturbed", changed)
    for place, (tile, name) in enumerate(zip(tiles, names, strict=True)):
        left = PAD + place * (wide + PAD)
        image.paste(tile, (left, HEADING))
        pen.text((left, HEADING + high + 3), name, fill=INK, font=NAMED)
    for line, (when, said) in enumerate((("before", sample.before), ("after", sample.after)), 1):
        top = HEADING + high + line * LINE
        text = fit_caption(f"{when}: {said[0]},  {said[1]:.1%}", size[0] - PAD, font=PLAIN)
        colour = BADGES["fooled"][1] if when == "after" and sample.outcome == "fooled" else INK
        pen.text((PAD, top), text, fill=colour, font=PLAIN)
    return image


def _draw_heading(pen: ImageDraw.ImageDraw, sample: FollowedSample, width: int) -> None:
    """Write what came of the attack on its colour, and the sample's class beside it."""
    word, colour = BADGES[sample.outcome]
    end = 2 * PAD + LARGE.getlength(word) + PAD
    pen.rounded_rectangle((PAD, 4, end, HEADING - 6), radius=6, fill=colour)
    pen.text((PAD + PAD, (HEADING - 2) / 2), word, fill="white", font=LARGE, anchor="lm")
    text = fit_caption(f"true: {sample.label}", round(width - end - PAD), font=LARGE)
    pen.text((end + PAD, (HEADING - 2) / 2), text, fill=INK, font=LARGE, anchor="lm")


def encode_followed(sample: FollowedSample) -> bytes:
    """Return the picture of a sample: a PNG, or of a clip an animated GIF of all its frames."""
    buffer = io.BytesIO()
    if not is_clip(sample.x):
        draw_followed(sample).save(buffer, "PNG")
        return buffer.getvalue()
    factor = choose_factor([Pair(sample.x, sample.x_adv, "", "")])
    frames = (
        sample._replace(x=sample.x[:, t], x_adv=sample.x_adv[:, t])
        for t in range(sample.x.shape[1])
    )
    return animate(draw_followed(frame, factor=factor) for frame in frames)
