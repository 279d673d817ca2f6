"""Grad-CAM: the positions of a layer whose active channels raise the score of a class."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.common.activations import called_layers, find_layers
from attacks.common.goal import logits_of
from attacks.common.options import Text
from explain.class_scores import class_logits
from explain.gradient.uncompiled import uncompiled
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class GradCAM(ExplanationMethod):
    """The positive part of a layer's channels, weighted by their mean gradients, upsampled.

    Of a network that sees the frames of all clips as a batch each frame has a map of its own, and
    the weights are means over time too.

    Args:
        layer: one that returns (B, C', H', W'), of videos (B, C', T', H', W') or, with the frames
            of a clip in a row, (B T, C', H', W'); its last call counts. None takes the last one
            whose output still has more than one position in space; of a transformer that may be
            the embedding of patches, which says little.

    Source: Selvaraju et al. 2017, eqs. (1) and (2).
    """

    layer: Text | None = None

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return the maps, bilinear (trilinear) between positions, (B, H, W) or (B, T, H, W)."""
        with uncompiled(call.model):
            layer = self.layer or last_spatial(call.model, call.x[:1])
            activation, gradient = activation_and_gradient(call.model, call.x, call.y, layer=layer)
        weights = gradient.flatten(2).mean(2)  # (B, C')
        maps = torch.einsum("bc,bc...->b...", weights, activation).relu()  # (B, [T',] H', W')
        mode = "trilinear" if call.x.ndim == 5 else "bilinear"
        call.progress(1, 1)
        return F.interpolate(maps[:, None], call.x.shape[2:], mode=mode)[:, 0]


def last_spatial(model: nn.Module, x: Tensor) -> str:
    """Return the last layer in a pass of x (1, C, ...) with more than one position in space.

    Raises:
        ValueError: when there is none, as in a network of linear layers.
    """
    with torch.no_grad():
        found = called_layers(
            model,
            x,
            lambda _, output: _has_positions(output, x) and output.shape[-2:].numel() > 1,
        )
    if not found:
        raise ValueError(
            f"no layer of {type(model).__name__} returns channels at more than one position; "
            "Grad-CAM is for convolutional networks: take another method, such as saliency"
        )
    return found[-1]


def activation_and_gradient(
    model: nn.Module, x: Tensor, y: Tensor, *, layer: str
) -> tuple[Tensor, Tensor]:
    """Return what a layer returns, (B, C', ...), and the gradient of class y's logit in that.

    Args:
        model: the classifier, `frozen`.
        x: samples (B, C, ...).
        y: classes (B,).
        layer: its name; its last call counts.

    Raises:
        ValueError: for a layer that is not called, returns something else than channels at
            positions, or has no gradient.
    """
    name, *others = find_layers(model, layer)
    if others:
        raise ValueError(f"layer is {layer!r}; Grad-CAM reads one layer: give one name")
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Any) -> Tensor:
        if not _has_positions(output, x):
            seen = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"layer {name!r} returns {seen}; Grad-CAM needs channels at positions: name a "
                "layer in front of those that flatten them"
            )
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()  # what follows may write into it

    hook = model.get_submodule(name).register_forward_hook(keep)
    try:
        logits = logits_of(model, x)
    finally:
        hook.remove()
    if not kept:
        raise ValueError(f"layer {name!r} was not called; name one that a pass goes through")
    score = class_logits(logits, y).sum()
    gradient = (
        torch.autograd.grad(score, kept[-1], allow_unused=True)[0] if score.requires_grad else None
    )
    if gradient is None:
        raise ValueError(f"no gradient flows from the logits to layer {name!r}; name another")
    return _by_sample(kept[-1].detach(), x), _by_sample(gradient, x)


def _has_positions(output: Any, x: Tensor) -> bool:
    """Tell whether an output has channels at positions, for each sample or frame of x (B, ...)."""
    if not isinstance(output, Tensor):
        return False
    frames = x.ndim == 5 and output.ndim == 4
    rows = len(x) * x.shape[2] if frames else len(x)
    return (frames or output.ndim == x.ndim) and len(output) == rows


def _by_sample(values: Tensor, x: Tensor) -> Tensor:
    """Return values (B, C', ...) or, of single frames, (B T, C', H', W') by sample, like x."""
    if values.ndim < x.ndim:
        values = values.view(len(x), -1, *values.shape[1:]).transpose(1, 2)  # (B, C', T, H', W')
    return values.to(x)
