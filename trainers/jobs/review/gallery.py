"""A gallery of perturbed samples in one HTML file, for those who cannot run a server."""

import base64
import hashlib
import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from attacks.files import write_bytes
from trainers.jobs.review.pages import PAGES, asset
from trainers.jobs.review.pictures import difference, encode_animation
from trainers.jobs.review.queue import ReviewItem, ReviewQueue

log = logging.getLogger(__name__)

MOST = 500  # samples
MOST_BYTES = 64 * 2**20  # of their pictures
# How a gallery begins, by which one of ours is known.
START = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="generator" content="Sparring review gallery">'
)


def check_replaceable(file: Path) -> None:
    """Refuse to write where something is that is no gallery of ours.

    Raises:
        ValueError: naming it.
    """
    if not file.exists() and not file.is_symlink():
        return
    if file.is_file():
        with file.open("rb") as opened:
            if opened.read(len(START)) == START.encode():
                return
    raise ValueError(
        f"--export {file} is there and is no gallery that this command wrote; give another name, "
        "or move it away"
    )


def write_gallery(file: Path, queue: ReviewQueue, run: str) -> None:
    """Write a gallery; of many samples the newest rounds, and there the largest changes, first.

    Args:
        file: where to; a gallery that is there is replaced.
        queue: the samples, of which controls are left out.
        run: the run's name.

    Raises:
        OSError: when the file cannot be written.
    """
    entries = queue.bank.entries()
    samples = [item for item in queue.items.values() if not item.control]
    samples.sort(key=lambda item: (-item.round, -entries[item.row].l2, item.id))
    cards: list[dict[str, Any]] = []
    room = MOST_BYTES
    for item in samples[:MOST]:
        card = make_card(queue, item)
        room -= sum(len(uri) for uri in card["pictures"].values())
        if cards and room < 0:
            break
        cards.append(card)
    style, script = asset("review.css") + asset("gallery.css"), asset("gallery.js")
    text = PAGES.get_template("gallery.html").render(
        start=START, run=run, cards=cards, total=len(samples), style=style, script=script,
        style_hash=content_hash(style), script_hash=content_hash(script),
    )  # fmt: skip
    write_bytes(file, text.encode(errors="backslashreplace"))
    log.info("%s shows %d of %d samples", file, len(cards), len(samples))


def make_card(queue: ReviewQueue, item: ReviewItem) -> dict[str, Any]:
    """Return what the gallery shows of a sample."""
    x, original = queue.pixels(item), queue.original(item)
    entry = queue.bank.entries()[item.row]
    pictures = {"sample": encode_uri(x)}
    if original is not None:
        changed, factor = difference(x, original)
        pictures["original"] = encode_uri(original)
        pictures[f"difference, times {factor}"] = encode_uri(changed)
    return {
        "id": item.id,
        "label": queue.classes[item.label],
        "made": f"{item.attack}, round {item.round}",
        "size": f"largest change {entry.linf:.4f}, L2 {entry.l2:.3f}",
        "status": entry.status,
        "pictures": pictures,
        "width": x.shape[-1],
    }


def encode_uri(x: Tensor) -> str:
    """Return a sample (C, H, W) or (C, T, H, W) as the URI of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(encode_animation(x)).decode()}"


def content_hash(text: str) -> str:
    """Return the source by which a Content-Security-Policy knows an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
