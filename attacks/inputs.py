"""Refuse what no attack can work with, before any work is done."""

import math

import torch
from torch import Tensor

RANGE_TOLERANCE = 1e-4


def check_batch(x: Tensor, y: Tensor, *, target: Tensor | None = None) -> None:
    """Check a batch against the conventions every attack and loop relies on.

    Args:
        x: images (B, C, H, W) or videos (B, C, T, H, W), float32 in [0, 1] (float64
            serves numerical checks).
        y: labels, int64 (B,).
        target: wanted classes, int64 (B,), for a targeted attack.

    Raises:
        ValueError: naming what is wrong, the value seen and what to do.
    """
    if x.ndim not in (4, 5):
        raise ValueError(
            f"x has shape {tuple(x.shape)}; give images as (B, C, H, W) or videos as "
            "(B, C, T, H, W), a single sample as x[None]"
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x has dtype {x.dtype}; give float32 in [0, 1], e.g. x.float() / 255")
    _check_labels("y", y, x)
    if target is not None:
        _check_labels("target", target, x)
    if not x.numel():
        raise ValueError(f"x has shape {tuple(x.shape)}, nothing in it; give at least one sample")
    _check_range(x)


def check_clips(x: Tensor) -> None:
    """Raise ValueError unless x, which `check_batch` passed, is a batch of videos."""
    if x.ndim != 5:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; frames are told apart here: give videos as "
            "(B, C, T, H, W), an image as a video of one frame: x[:, :, None]"
        )


def own_copies(x: Tensor, y: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return a checked batch as tensors of its own, x clamped to [0, 1].

    What was made in inference mode cannot take part in a gradient, its copy can; and pixels
    that stray from [0, 1] by less than the tolerance would put x outside its own threat.
    """
    copy = None if target is None else target.clone()
    return x.detach().clone().clamp_(0, 1), y.clone(), copy


def check_eps(eps: float | Tensor, x: Tensor) -> Tensor:
    """Return eps as a tensor that broadcasts over x, (B, 1, ..., 1).

    Raises:
        ValueError: when eps is negative, not finite, or neither a number nor (B,).
    """
    value = torch.as_tensor(eps, dtype=x.dtype, device=x.device)
    if value.ndim > 1 or (value.ndim == 1 and len(value) != len(x)):
        raise ValueError(
            f"eps has shape {tuple(value.shape)} for {len(x)} samples; give a number or one "
            "value a sample"
        )
    if not bool((torch.isfinite(value) & (value >= 0)).all()):
        raise ValueError(f"eps is {value.tolist()}; give finite values >= 0")
    return value.expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))  # (B, 1, ..., 1)


def _check_labels(name: str, labels: Tensor, x: Tensor) -> None:
    if labels.shape != x.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"{name} has shape {tuple(labels.shape)} and dtype {labels.dtype}; give int64 class "
            f"ids, one for each of the {len(x)} samples"
        )
    if labels.device != x.device:
        raise ValueError(f"{name} is on {labels.device} and x on {x.device}; move one of them")
    if labels.numel() and int(labels.min()) < 0:
        raise ValueError(f"{name} holds {int(labels.min())}; class ids start at 0")


def _check_range(x: Tensor) -> None:
    low, high = (float(v) for v in torch.aminmax(x.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"x spans [{low}, {high}]; leave out the samples with NaN or inf")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ValueError(
            f"x spans [{low:.6g}, {high:.6g}] where pixels lie in [0, 1]; pass plain pixels and "
            "put the normalisation inside the model: "
            "nn.Sequential(trainers.models.Normalize(mean, std), model)"
        )
