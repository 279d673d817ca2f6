"""Draw what a run of `representation` found."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from trainers.jobs.representation.analysis import TrialOutcome
from trainers.jobs.representation.inversions import KINDS
from trainers.jobs.representation.setup import RepresentationSetup, shown_layer
from trainers.run.show.figures.representation import (
    DepthPoint,
    Values,
    box_chart,
    depth_chart,
    picture_grid,
    ratio_histograms,
)
from trainers.run.show.images import Pair, choose_factor, write_png
from trainers.run.show.plots import to_picture, write_chart

AT = "likelihood"
GRIDS = ("pairs", "inversions")  # figures of pictures, which SVG would only wrap
BESIDE = {
    "natural: sources": f"{AT}_source", "natural: near the guide": f"{AT}_near",
    "natural: far from it": f"{AT}_far",
}  # fmt: skip


def draw_figures(
    setup: RepresentationSetup,
    outcomes: Sequence[TrialOutcome],
    adversaries: Tensor,
    inversions: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Write the figures that there is something to see in.

    Args:
        setup: the pairs.
        outcomes: of all trials.
        adversaries: of the first pairs by the first compared trial, (n, C, ...).
        inversions: as of `invert_layers`.
    """
    compared = [one for one in outcomes if one.trial.compared]
    figures = {
        "pairs": draw_pairs_of(setup, compared[0], adversaries),
        "distances": draw_distances(compared),
        "depth": draw_depth(outcomes),
        "likelihood": draw_likelihood(compared),
        "sparsity": draw_sparsity(compared),
        "inversions": draw_inversions(setup, adversaries, inversions) if inversions else None,
    }
    for name, figure in figures.items():
        if figure is not None:
            file = setup.context.folder.figures / f"{name}.png"
            if name in GRIDS:
                write_png(file, to_picture(figure))
            else:
                write_chart(file, figure)


def draw_pairs_of(setup: RepresentationSetup, outcome: TrialOutcome, adversaries: Tensor) -> Figure:
    """Draw source, guide, adversary and amplified difference of some pairs."""
    pairs, n, trial = setup.pairs, len(adversaries), outcome.trial
    (source, _), (guide, _) = (pairs.ds.stack(r[:n]) for r in (pairs.sources, pairs.guides))
    factor = choose_factor([Pair(*both, "", "") for both in zip(source, adversaries, strict=True)])
    answers = torch.stack([pairs.source_answers, pairs.guide_answers, outcome.columns["answer"]], 1)
    left = outcome.columns["guide_ratio"]
    return picture_grid(
        [
            [s, g, x, 0.5 + factor * (x - s)]
            for s, g, x in zip(source, guide, adversaries, strict=True)
        ],
        columns=("source", "guide", "adversary", f"difference x {factor}"),
        notes=[
            [
                *(pairs.name(answer) for answer in answers[i].tolist()),
                f"d(x,g)/d(s,g) {left[i]:.2f}",
            ]
            for i in range(n)
        ],
        title=f"{trial.name} in {shown_layer(trial.layer)}, {trial.budget}; below: answers",
    )


def draw_distances(compared: Sequence[TrialOutcome]) -> Figure | None:
    """Draw a histogram of d(x, g) / d(s, g) for each attack."""
    values = {
        label(one): one.columns["guide_ratio"].tolist()
        for one in compared
        if bool(one.columns["guide_ratio"].isfinite().any())
    }
    return ratio_histograms(values, title="Distance left to the guide") if values else None


def draw_depth(outcomes: Sequence[TrialOutcome]) -> Figure | None:
    """Draw d(x, g) / d(s, g) of the first attack by layer and budget, if there are several."""
    points = []
    for one in outcomes:
        ratios = one.columns["guide_ratio"]
        known, eps = ratios[ratios.isfinite()], getattr(one.trial.attack, "eps", None)
        if one.trial.name == outcomes[0].trial.name and len(known) and eps is not None:
            quartiles = known.quantile(known.new_tensor([0.25, 0.5, 0.75])).tolist()
            layer = shown_layer(one.trial.layer)
            points.append(DepthPoint(layer, float(eps), one.trial.trained, *quartiles))
    several = len({p.layer for p in points}) > 1 or len({p.eps for p in points}) > 1
    return depth_chart(points) if several else None


def draw_likelihood(compared: Sequence[TrialOutcome]) -> Figure | None:
    """Draw log-likelihoods of each attack's adversaries, and of natural samples beside them."""
    own = [one for one in compared if one.trial.trained]
    values: dict[str, Sequence[float]] = {label(o): o.columns[AT].tolist() for o in own}
    values |= {name: own[0].columns[column].tolist() for name, column in BESIDE.items()}
    if not bool(own[0].columns[AT].isfinite().any()):
        return None
    quantity = "log p(x) - log p(guide), in nats"
    title = (
        f"Adversaries among the neighbours of their guides, in {shown_layer(own[0].trial.layer)}"
    )
    return box_chart({quantity: values}, title=title, grey=BESIDE, likelihoods=True)


def draw_sparsity(compared: Sequence[TrialOutcome]) -> Figure:
    """Draw how many units are active, and which of them in the source and the guide."""
    own = [one for one in compared if one.trial.trained]

    def values(column: str, scale: float = 1) -> Values:
        return {label(one): (scale * one.columns[column]).tolist() for one in own}

    return box_chart(
        {
            "active units less the source's,\nin % of the layer": values(
                "active_change_source", 100
            ),
            "IoU of active units\nwith the source": values("iou_source"),
            "IoU of active units\nwith the guide": values("iou_guide"),
        },
        title=f"Active units of adversaries in {shown_layer(own[0].trial.layer)}",
    )


def draw_inversions(
    setup: RepresentationSetup,
    adversaries: Tensor,
    inversions: Mapping[str, Mapping[str, Tensor]],
) -> Figure:
    """Draw the samples of some pairs, and below what each layer's representation gives back."""
    pairs, n = setup.pairs, len(next(iter(inversions.values()))["images"])
    (source, _), (guide, _) = (pairs.ds.stack(r[:n]) for r in (pairs.sources, pairs.guides))
    whole = torch.stack([source, guide, adversaries[:n]], 1).flatten(0, 1)  # (n * 3, C, ...)
    errors = [found["errors"].flatten().tolist() for found in inversions.values()]
    return picture_grid(
        [list(whole), *(list(found["images"].flatten(0, 1)) for found in inversions.values())],
        columns=[f"pair {i + 1}: {kind}" for i in range(n) for kind in KINDS],
        notes=[[""] * len(whole), *([f"error {error:.3f}" for error in row] for row in errors)],
        names=["sample", *map(shown_layer, inversions)],
    )


def label(outcome: TrialOutcome) -> str:
    """Return the name of a compared trial in a figure."""
    return outcome.trial.name if outcome.trial.trained else f"{outcome.trial.name}, random weights"
