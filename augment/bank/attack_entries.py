"""The bank's entries of what an attack returned."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.attack import AttackResult


def attack_entries(
    result: AttackResult,
    made: Mapping[str, object],
    *,
    labels: Tensor | Sequence[int],
    sources: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the entry of each perturbed sample, without what the bank itself finds out.

    Args:
        result: Of B samples.
        made: What is the same for all: attack, round and seed.
        labels: Correct classes, `(B,)`.
        sources: B ids of the originals.

    Raises:
        ValueError: There is not one label and one source for each sample.
    """
    y = torch.as_tensor(labels)
    counts = {"samples": len(result.x), "labels": y.numel(), "sources": len(sources)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"numbers differ: {counts}; give one label and one source a sample")
    measured = {name: getattr(result, name).tolist() for name in ("loss", "linf", "l2", "l1")}
    columns = {"source": sources, "label": y.tolist(), **measured}
    rows = zip(*columns.values(), strict=True)
    return [{**made, **dict(zip(columns, row, strict=True))} for row in rows]
