"""How few frames an attack touched, how lightly, and how soon it was done."""

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.goal import Goal

GRAY_LEVELS = 255.0
_SURE = 1e-6  # keeps the logarithm finite on a sure classifier


def frame_sizes(frames: Tensor) -> Tensor:
    """Return the Euclidean length of each of some frames (B, T, C, H, W), (B, T).

    Of changes, the sum of the lengths is the L2,1 norm.
    """
    sizes: Tensor = torch.linalg.vector_norm(frames.flatten(2), dim=2)
    return sizes


def frame_directions(frames: Tensor, sizes: Tensor) -> Tensor:
    """Return frames (B, T, C, H, W) over their lengths, (B, T): the slope of the L2,1 norm.

    A frame of length 0 stays so.
    """
    return frames / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)[:, :, None, None, None]


def log_error_probability(goal: Goal, logits: Tensor) -> Tensor:
    """Return (B,), growing as the goal comes nearer: log(1 - p), or log p of the target.

    Source: Wei et al. 2019, eq. (2) and its code.

    >>> two = torch.zeros(1, 2)
    >>> round(log_error_probability(Goal(torch.tensor([0])), two).exp().item(), 3)
    0.5
    """
    if goal.target is not None:
        return goal.objective(logits)
    goal.check_classes(logits)
    own = torch.nn.functional.one_hot(goal.y, logits.shape[1]).bool()
    return (logits.softmax(1).masked_fill(own, 0).sum(1) + _SURE).log()


def sparsity(result: AttackResult) -> dict[str, float]:
    """Return the figures that attacks on single frames are compared by.

    Args:
        result: of clips, from any attack on videos; those that met the goal before it are left
            out.

    Returns:
        "fooling_rate" (FR), the share of these clips that were fooled; and means over these, NaN
        where there are none: "queries" (MQ), passes until the first success; "map", the mean
        |x_adv - x| over all values of all frames, in gray levels of 0 to 255, and "map_unit", in
        [0, 1]; "untouched" (SR), the share of frames as they were, and "touched", the others.

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
