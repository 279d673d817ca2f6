"""Samples in the plane and in TensorBoard's projector, by the outputs of a layer."""

from collections.abc import Iterator

import torch
from torch import Tensor

from augment import Dataset
from explain.network.embedding import embed, reduce_dimensions
from explain.network.projector import sprites
from explain.network.vectors import collect_vectors
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.network.setup import NetworkSetup, Row, Shown
from trainers.run.folder.checkpoint import Saved
from trainers.run.show.figures.network import embedding_chart, mosaic
from trainers.run.show.plots import to_picture

PERPLEXITY = 30.0  # of few samples less: each has at least three times as many others


def find_embedding(setup: NetworkSetup) -> Saved:
    """Return points in the plane (N, 2), vectors, small pictures as bytes, and the answers."""
    ds, model = placed(setup), setup.context.model
    small, answers = [], []

    def noting() -> Iterator[list[Tensor]]:
        for x, y in setup.batches(ds, "embedding"):
            small.append((sprites(x, count=len(ds)) * 255).round().byte().cpu())
            answers.append(setup.answers(x)[0])
            yield [x, y]

    size = setup.context.batch_size
    vectors = collect_vectors(model, setup.vectors.name, noting(), chunk=size)
    seed, perplexity = setup.context.seed, min(PERPLEXITY, (len(ds) - 1) / 3)
    reduced = reduce_dimensions(vectors, seed=seed % 2**32)
    tensors = {
        "vectors": reduced,
        "points": embed(reduced, perplexity=perplexity, seed=seed % 2**32),
        "sprites": torch.cat(small),
        "answers": torch.cat(answers),
    }
    return tensors, {"perplexity": perplexity, "values": vectors.shape[1]}


def placed(setup: NetworkSetup) -> Dataset:
    """Return the samples that are placed."""
    return setup.ds.subset(evenly_spaced(len(setup.ds), setup.flags.embedding_samples))


def labels(setup: NetworkSetup) -> list[str]:
    """Return the class name of each sample that is placed."""
    return [setup.class_name(number) for number in placed(setup).labels.tolist()]


def show_embedding(setup: NetworkSetup, found: Saved) -> Shown:
    """Draw the samples in the plane, in the colours of their classes, and list the points."""
    (tensors, note), ds = found, placed(setup)
    wrong = (tensors["answers"] != ds.labels) & (ds.labels >= 0)
    title = (
        f"t-SNE of {len(ds)} samples by {setup.vectors.shown}, perplexity {note['perplexity']:.3g}"
    )
    figure = embedding_chart(tensors["points"], labels(setup), wrong, title=title)
    rows: list[Row] = [
        {
            "id": name,
            "class": label,
            "answer": setup.class_name(int(tensors["answers"][i])),
            "x": float(tensors["points"][i, 0]),
            "y": float(tensors["points"][i, 1]),
        }
        for i, (name, label) in enumerate(zip(ds.ids, labels(setup), strict=True))
    ]
    facts = {
        "layer": setup.vectors.shown,
        "samples": len(ds),
        "values": note["values"],
        "perplexity": note["perplexity"],
        "wrong": int(wrong.sum()),
    }
    pictures = tensors["sprites"].float() / 255
    about = f"{title}: the pictures, of those at one place the first"
    sheet = mosaic(tensors["points"], pictures, title=about)
    figures = {"embedding": to_picture(figure), "embedding-pictures": sheet}
    return Shown(facts, figures, {"embedding": rows})
