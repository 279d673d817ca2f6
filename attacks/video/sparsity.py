"""Measures of sparse attacks on videos: frames touched, size of the change, queries."""

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.goal import Goal

GRAY_LEVELS = 255.0
_FLOOR = 1e-6  # keeps the logarithm finite where p is 1


def frame_sizes(frames: Tensor) -> Tensor:
    """Return the l2 length of each frame of (B, T, C, H, W), (B, T).

    The sum of a clip's lengths is its L2,1 norm.
    """
    sizes: Tensor = torch.linalg.vector_norm(frames.flatten(2), dim=2)
    return sizes


def frame_directions(frames: Tensor, sizes: Tensor) -> Tensor:
    """Divide frames (B, T, C, H, W) by their l2 lengths (B, T): the gradient of the L2,1 norm.

    A frame of zeros stays zero.
    """
    return frames / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)[:, :, None, None, None]


def log_error_probability(logits: Tensor, goal: Goal) -> Tensor:
    """Return log(1 - p) of the label's probability p, or log p of the target's, (B,).

    Source: Wei et al. 2019, eq. (2) and its code.

    >>> two = torch.zeros(1, 2)
    >>> round(log_error_probability(two, Goal(torch.tensor([0]))).exp().item(), 3)
    0.5
    """
    if goal.target is not None:
        return goal.objective(logits)
    goal.check_classes(logits)
    own = torch.nn.functional.one_hot(goal.y, logits.shape[1]).bool()
    return (logits.softmax(1).masked_fill(own, 0).sum(1) + _FLOOR).log()


def sparsity(result: AttackResult) -> dict[str, float]:
    """Return the metrics that attacks on single frames are compared by.

    Args:
        result: of clips, from any attack on videos. Clips that met the goal when clean are left
            out.

    Returns:
        "fooling_rate" (FR): the share of clips fooled. Of the fooled clips, all NaN without any:
        "queries" (MQ), mean number of queries to the first success; "map", mean |x_adv - x| over
        all values of all frames in gray levels of 0 to 255, and "map_unit" in [0, 1]; "untouched"
        (SR), share of unchanged frames, and "touched", share of changed frames.

    Source: Xu et al. 2023, section 4 (metrics).
    """
    won = result.success & ~result.already
    delta = result.delta[won]
    touched = (delta != 0).flatten(3).any(3).any(1).double().mean()  # of (V, T)
    spent = result.info.get("queries_to_success", result.queries)[won].double().mean()
    change = float(delta.abs().double().mean())
    return {
        "fooling_rate": float(won[~result.already].double().mean()),
        "queries": float(spent),
        "map": GRAY_LEVELS * change,
        "map_unit": change,
        "untouched": 1 - float(touched),
        "touched": float(touched),
    }
