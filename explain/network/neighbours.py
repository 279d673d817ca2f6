"""Nearest neighbours by activation vector: which samples does a layer hold to be alike?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.common.frozen import frozen
from explain.network.vectors import collect_vectors, outputs_by_batch

Metric = Literal["cosine", "l2"]


@dataclass(frozen=True)
class Neighbours:
    """The nearest samples of a reference set, the nearest first.

    Attributes:
        numbers: of the samples in the order of the set, int64 (Q, k).
        distances: 1 - cosine, or Euclidean, (Q, k).
    """

    numbers: Tensor
    distances: Tensor


def nearest_neighbours(
    model: nn.Module,
    layer: str,
    queries: Tensor,
    references: Iterable[Sequence[Tensor]],
    *,
    k: int = 5,
    metric: Metric = "cosine",
    chunk: int = 64,
) -> Neighbours:
    """Find the samples whose outputs in a layer are nearest to those of each query.

    The reference set is read once, and only the nearest are kept. Of equally near samples the
    earlier comes first.

    Args:
        model: the classifier; left exactly as it was.
        layer: its name, as `named_modules()` has it.
        queries: samples (Q, C, ...) in [0, 1].
        references: batches (x, y) of the set.
        k: neighbours of each query; fewer if the set is smaller.
        metric: "cosine" or "l2".
        chunk: samples in a pass, which bounds the memory.

    Raises:
        ValueError: for a layer that the model does not have or call.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 6.1.
    """
    own = collect_vectors(model, layer, [[queries]], chunk=chunk)  # (Q, D)
    nearest, numbers, seen = own.new_empty(len(own), 0), torch.empty(len(own), 0).long(), 0
    with frozen(model):
        for _, output in outputs_by_batch(model, layer, references, chunk=chunk):
            vectors = output.flatten(1)  # (B, D)
            own, nearest, numbers = (t.to(vectors.device) for t in (own, nearest, numbers))
            found = distances(own, vectors, metric=metric)  # (Q, B)
            new = torch.arange(seen, seen + len(vectors), device=vectors.device)
            numbers = torch.cat([numbers, new.expand(len(own), -1)], 1)
            nearest, order = torch.cat([nearest, found], 1).sort(dim=1, stable=True)
            nearest, numbers = nearest[:, :k], numbers.gather(1, order[:, :k])
            seen += len(vectors)
    return Neighbours(numbers, nearest)


def distances(first: Tensor, second: Tensor, *, metric: Metric) -> Tensor:
    """Return the distances of each pair of vectors (N, D) and (M, D), (N, M).

    >>> distances(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), metric="cosine")
    tensor([[1.]])
    """
    if metric == "cosine":
        return (1 - F.normalize(first, dim=1) @ F.normalize(second, dim=1).T).clamp_min(0)
    # The difference itself, for the squares of large vectors would swallow it.
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
