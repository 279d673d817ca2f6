"""The most active units of a layer for some samples."""

import torch
from matplotlib import colormaps
from torch import Tensor

from explain.network.activation_maps import activation_maps
from trainers.jobs.network.setup import NetworkSetup, Shown
from trainers.run.folder.checkpoint import Saved
from trainers.run.show.figures.cells import CellRow, SheetCell, draw_cells, grid_rows
from trainers.run.show.figures.explanation import COLOURS

ACROSS = 8  # units in a row


def find_activations(setup: NetworkSetup) -> Saved:
    """Return pictures of the units (S, N, 1, H, W), their numbers and the ranges of the layer."""
    ds, flags = setup.chosen, setup.flags
    x, _ = ds.stack(range(len(ds)))
    answers, probabilities = setup.answers(x)
    found = [
        activation_maps(
            setup.context.model,
            one[None].to(setup.context.device),
            layer=setup.maps.name,
            most=flags.units,
            channels=flags.unit_numbers or None,
        )
        for one in x
    ]
    return {
        "pictures": torch.stack([each.pictures for each in found]),
        "channels": torch.tensor([each.channels for each in found]),
        "range": torch.tensor([[each.low, each.high] for each in found], dtype=torch.float64),
        "answers": answers,
        "probabilities": probabilities,
    }, None


def show_activations(setup: NetworkSetup, found: Saved) -> Shown:
    """Draw a figure for each sample: the sample, and the units with their numbers."""
    tensors, ds = found[0], setup.chosen
    figures, facts = {}, []
    for i, name in enumerate(ds.ids):
        low, high = tensors["range"][i].tolist()
        channels = tensors["channels"][i].tolist()
        wide = tensors["pictures"].shape[-1] > 3 * tensors["pictures"].shape[-2]
        cells = [
            SheetCell(coloured(picture[0]), f"unit {channel}")
            for picture, channel in zip(tensors["pictures"][i], channels, strict=True)
        ]
        label = setup.class_name(int(ds.labels[i]))
        said = int(tensors["answers"][i]), float(tensors["probabilities"][i])
        sample = SheetCell(
            middle_frame(ds.stack([i])[0][0]), setup.caption(int(ds.labels[i]), *said)
        )
        title = (
            f"{name}, its class and what it is taken for\nactivations of {setup.maps.shown}, "
            f"{len(channels)} of {setup.maps.shape[0]} units: black is {low:.3g}, the lowest of "
            f"the layer, light yellow {high:.3g}, its highest"
        )
        rows = [CellRow("", [sample]), *grid_rows(cells, columns=1 if wide else ACROSS)]
        figures[f"activations-{i:02}"] = draw_cells(rows, title=title)
        facts.append({"id": name, "class": label, "low": low, "high": high, "units": channels})
    about = {"layer": setup.maps.shown, "units": setup.maps.shape[0], "samples": facts}
    return Shown(about, figures)


def coloured(shares: Tensor) -> Tensor:
    """Return shares (H, W) in [0, 1] as colours, (3, H, W)."""
    colours = colormaps[COLOURS](shares.clamp(0, 1).numpy())[..., :3]
    return torch.from_numpy(colours).permute(2, 0, 1).float()


def middle_frame(x: Tensor) -> Tensor:
    """Return an image (C, H, W) as it is, and of a clip (C, T, H, W) the frame in the middle."""
    return x[:, x.shape[1] // 2] if x.ndim == 4 else x
