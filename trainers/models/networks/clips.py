"""The check that a video classifier makes of its clips, before a layer fails on them."""

from torch import Tensor


def check_clips(x: Tensor, name: str, *, frames: int, side: int) -> None:
    """Refuse what is no batch of clips, or clips that a network's poolings would shrink to nothing.

    Args:
        x: clips (B, C, T, H, W).
        name: of the network, for the message.
        frames: fewest frames T that it takes.
        side: fewest pixels of H and of W.

    Raises:
        ValueError: when x is anything else.
    """
    if x.ndim != 5:
        raise ValueError(
            f"{name} takes clips (B, C, T, H, W) and got shape {tuple(x.shape)}; give videos, or "
            "a model for images such as smallcnn"
        )
    if x.shape[2] < frames or min(x.shape[-2:]) < side:
        raise ValueError(
            f"{name} takes clips of at least {frames} frames of {side}x{side} pixels and got "
            f"{x.shape[2]} of {x.shape[3]}x{x.shape[4]}; give longer or larger clips"
        )
