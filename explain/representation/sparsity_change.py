"""Which units are active in an adversary, its source and its guide."""

from torch import Tensor

from explain.representation.samples import GuidedSamples


def sparsity_change(samples: GuidedSamples) -> dict[str, Tensor]:
    """Compare the active units of adversaries with those of their sources and guides.

    A unit is active where its value is above 0, which behind a ReLU is where it is not 0.

    Returns:
        Columns (N,) in [0, 1]: the shares "active_source", "active_guide" and "active_adversary",
        and the intersections over union of the adversary's active units with those of the others,
        "iou_source" and "iou_guide", NaN where neither has any. In [-1, 1] "active_change_source"
        and "active_change_guide", the adversary's share less theirs.

    Source: Sabour et al. 2016 (sparsity).
    """
    dtype = samples.guide.dtype
    active = {
        "source": samples.source > 0,
        "guide": samples.guide > 0,
        "adversary": samples.adversary > 0,
    }  # (N, D) each
    shares = {name: units.to(dtype).mean(1) for name, units in active.items()}
    own = active["adversary"]
    columns = {f"active_{name}": share for name, share in shares.items()}
    for name in ("source", "guide"):
        both, either = own & active[name], own | active[name]
        columns[f"active_change_{name}"] = shares["adversary"] - shares[name]
        columns[f"iou_{name}"] = both.sum(1).to(dtype) / either.sum(1)
    return columns
