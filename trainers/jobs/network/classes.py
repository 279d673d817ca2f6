"""An image for each class, climbed from noise."""

import torch

from explain.network.class_image import class_images
from explain.network.grid import frames_in_a_row
from trainers.jobs.network.setup import NetworkSetup, Shown
from trainers.run.folder.checkpoint import Saved
from trainers.run.show.figures.cells import SheetCell, draw_cells, grid_rows
from trainers.run.show.progress import Progress

ACROSS = 5  # images in a row
SIDE = 160  # pixels of an image


def find_classes(setup: NetworkSetup) -> Saved:
    """Return the images, (K, C, ...), and the probabilities of their classes, (K,)."""
    context, steps = setup.context, setup.flags.class_steps
    like = setup.ds.stack([0])[0].to(context.device)
    parts = torch.split(torch.tensor(setup.classes), context.batch_size)
    images = []
    with Progress(context.folder, "classes", total=steps * len(parts)) as bar:
        for part in parts:
            images.append(
                class_images(
                    context.model,
                    part.tolist(),
                    like=like,
                    steps=steps,
                    seed=context.seed,
                    progress=lambda done, total: bar.step(),
                ).cpu()
            )
    x = torch.cat(images)
    probabilities = setup.shares(x)[range(len(x)), setup.classes]
    return {"images": x, "probabilities": probabilities}, None


def show_classes(setup: NetworkSetup, found: Saved) -> Shown:
    """Draw the images with the names and probabilities of their classes."""
    names = [setup.class_name(number) for number in setup.classes]
    shares = found[0]["probabilities"].tolist()
    pictures = frames_in_a_row(found[0]["images"])
    cells = [
        SheetCell(picture, f"{name}\n{share:.0%}")
        for picture, name, share in zip(pictures, names, shares, strict=True)
    ]
    wide = pictures.shape[3] > 3 * pictures.shape[2]
    title = (
        f"images that raise the logit of a class, after {setup.flags.class_steps} steps from "
        "noise\nbelow: the class, and the probability that the classifier gives it"
    )
    rows = grid_rows(cells, columns=1 if wide else ACROSS)
    facts = {
        "steps": setup.flags.class_steps,
        "probability": [
            {"class": name, "number": number, "probability": share}
            for name, number, share in zip(names, setup.classes, shares, strict=True)
        ],
    }
    return Shown(facts, {"classes": draw_cells(rows, title=title, side=SIDE)})
