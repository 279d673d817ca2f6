"""The pictures of each sample: its maps, and of a clip what they do over time."""

from collections.abc import Sequence
from pathlib import Path

from attacks.files import write_bytes
from trainers.jobs.explanation.maps import CURVES, Explained
from trainers.jobs.explanation.tables import Found, boxes_of
from trainers.jobs.naming import sample_names
from trainers.run.show.figures.clips import encode_overlays, time_figure
from trainers.run.show.figures.explanation import ShownMap, brightest, explanation_figure
from trainers.run.show.images import is_clip, write_png
from trainers.run.show.plots import to_picture

ENDS = (".png", "-time.png", ".gif")  # of the pictures of a sample


def draw_samples(
    explained: Explained, found: Found, boxed: Sequence[str], figures: Path
) -> dict[str, list[Path]]:
    """Draw the pictures of each sample.

    Args:
        explained: the samples.
        found: the maps of each method.
        boxed: the methods whose maps boxes are drawn around.
        figures: where to.

    Returns:
        The files by the id of the sample.
    """
    names = sample_names([each.replace("/", "-") for each in explained.ds.ids], ".png")
    drawn = {}
    for i, (sample, name) in enumerate(zip(explained.ds.ids, names, strict=True)):
        x, maps = explained.x[i].cpu(), shown_maps(found, boxed, i)
        title = f"{explained.class_names[i]}  {explained.probability[i]:.1%}"
        files = [figures / f"explain-{name}{end}" for end in ENDS]
        write_png(files[0], to_picture(explanation_figure(x, maps, title=title)))
        if is_clip(x):
            of_methods = [shown for shown in maps if shown.name in found]
            write_png(files[1], to_picture(time_figure(x, of_methods, title=title)))
            write_bytes(files[2], encode_overlays(x, of_methods, title=title))
        drawn[sample] = files if is_clip(x) else files[:1]
    return drawn


def shown_maps(found: Found, boxed: Sequence[str], i: int) -> list[ShownMap]:
    """Return what is shown of a sample's maps; behind those of several generators their spread."""
    shown = []
    for method, columns in found.items():
        map_, note = columns["maps"][i], "\n".join(
            f"{score} {float(columns[score][i]):.2f}" for score in CURVES
        )  # fmt: skip
        boxes = boxes_of(map_) if method in boxed else None
        shown.append(ShownMap(method, map_, note, boxes))
        if "spread" in columns:
            # On the scale of the mean, so that it says how much of that is chance.
            spread = columns["spread"][i]
            shown.append(ShownMap(f"spread of {method}", spread, top=brightest(map_)))
    return shown
