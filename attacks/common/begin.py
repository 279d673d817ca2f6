"""Refuse what no attack can work with, before any work is done."""

import math
import operator
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from attacks.common.frozen import check_module
from attacks.common.goal import Classifier, logits_of
from attacks.common.randomness import ids_of

RANGE_TOLERANCE = 1e-4


def check_call(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None,
    *,
    target: Tensor | int | None,
    seed: int,
    sample_ids: Sequence[int] | Tensor | None,
) -> None:
    """Check the arguments of an attack's call; see `Attack.__call__` for what they are.

    Raises:
        ValueError: naming the argument, what it is, and what is allowed.
    """
    check_module(model)
    check_samples(x)
    if y is not None:
        _check_labels("y", y, x)
    if target is not None:
        _check_labels("target", target if isinstance(target, Tensor) else _ids(target, x), x)
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed is {seed!r}, {_kind(seed)}; give an integer")
    if sample_ids is not None:
        ids_of(x, sample_ids)
    devices = {t.device for t in chain(model.parameters(), model.buffers())}
    if devices and x.device not in devices:
        raise ValueError(
            f"x is on {x.device} and the model on {', '.join(sorted(map(str, devices)))}; move one "
            "of them"
        )


def check_batch(x: Tensor, y: Tensor) -> None:
    """Check a batch against the conventions every attack and loop relies on.

    Args:
        x: images (B, C, H, W) or videos (B, C, T, H, W), float32 in [0, 1] (float64
            serves numerical checks).
        y: labels, int64 (B,).

    Raises:
        ValueError: naming what is wrong, the value seen and what to do.
    """
    check_samples(x)
    _check_labels("y", y, x)


def check_samples(x: Tensor) -> None:
    """Check samples alone; see `check_batch`."""
    if not isinstance(x, Tensor):
        raise ValueError(f"x is {_kind(x)}; give a tensor, of an array torch.from_numpy(x)")
    if x.ndim not in (4, 5):
        raise ValueError(
            f"x has shape {tuple(x.shape)}; give images as (B, C, H, W) or videos as "
            "(B, C, T, H, W), a single sample as x[None]"
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x has dtype {x.dtype}; give float32 in [0, 1], e.g. x.float() / 255")
    if not x.numel():
        raise ValueError(f"x has shape {tuple(x.shape)}, nothing in it; give at least one sample")
    if x.is_meta or x.layout is not torch.strided:
        kind = "on the device meta, without values" if x.is_meta else f"of layout {x.layout}"
        raise ValueError(f"x is {kind}; give a plain tensor of pixels")
    _check_range(x)


def check_clips(x: Tensor) -> None:
    """Raise ValueError unless x, which `check_batch` passed, is a batch of videos."""
    if x.ndim != 5:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; frames are told apart here: give videos as "
            "(B, C, T, H, W), an image as a video of one frame: x[:, :, None]"
        )


def clone_inputs(
    model: Classifier, x: Tensor, y: Tensor | None, target: Tensor | int | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return a checked batch as tensors of its own, x clamped to [0, 1].

    What was made in inference mode cannot take part in a gradient, its copy can; and pixels
    that stray from [0, 1] by less than the tolerance would put x outside its own threat.

    Args:
        model: the classifier, frozen; without labels its own answers take their place.
        x: samples, (B, ...).
        y: labels, int64 (B,), or None.
        target: wanted classes, int64 (B,), or one for all samples, or None.
    """
    x = x.detach().clone().clamp_(0, 1)
    if y is None:
        with torch.no_grad():
            y = logits_of(model, x).argmax(1)
    if target is not None and not isinstance(target, Tensor):
        target = _ids(target, x)
    return x, y.detach().clone(), None if target is None else target.detach().clone()


def _ids(target: object, x: Tensor) -> Tensor:
    """Return one class id for all samples of x (B, ...), int64 (B,)."""
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise ValueError(
            f"target is {_kind(target)}; give int64 class ids (B,) as a tensor, or one int for all"
        )
    return torch.full((len(x),), operator.index(target), device=x.device)


def _kind(value: object) -> str:
    """Return what a wrong argument is, with its article."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _check_labels(name: str, labels: Tensor, x: Tensor) -> None:
    if not isinstance(labels, Tensor):
        raise ValueError(
            f"{name} is {_kind(labels)}; give int64 class ids (B,) as a tensor: torch.tensor(...)"
        )
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
