"""The weight of each frame of a clip in the classifier's prediction, by one gradient."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, cast

import torch
from torch import Tensor, nn

from attacks.common.batch_attack import check_clips, check_labels, check_samples
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, check_differentiable, logits_of

Weight = Literal["abs", "l1", "relu", "signed"]
Call = tuple[nn.Module, Any, Any]  # a module, and the shapes of its input and output
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
# The weight of each time step (B, T') from a layer's gradient (B, T', D).
_WEIGHTS: dict[Weight, Callable[[Tensor], Tensor]] = {
    "abs": lambda gradient: gradient.sum(2).abs(),
    "l1": lambda gradient: gradient.abs().sum(2),
    "relu": lambda gradient: gradient.sum(2).clamp_min(0),
    "signed": lambda gradient: gradient.sum(2),
}


def frame_weights(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    weight: Weight | None = None,
    layer: str | None = None,
) -> Tensor:
    """Return the weight of each frame in the logit of y, by the gradient in a layer's output.

    The gradient is summed over each time step of the output. A frame's weight is the sum over the
    time steps whose receptive field holds the frame, divided by the size of the receptive field.
    Frames at the ends of a clip lie in fewer receptive fields, and the missing ones count as 0.
    The cost is a forward and a backward pass of the batch, and a forward pass of two clips.

    Args:
        model: the classifier; returns logits (B, K). Left exactly as it was.
        x: videos (B, C, T, H, W) in [0, 1].
        y: classes, int64 (B,); None takes the model's predictions.
        weight: of a time step: "abs", the absolute sum of the gradient; "signed", the sum;
            "relu", the sum where it is positive; "l1", the sum of absolute values. None takes
            "l1" where the layer processes each frame by itself, else "abs": behind a norm of each
            frame, as in our LRCN, gradients cancel in the sum.
        layer: name of the module. None takes the first convolution with a kernel in time; without
            one, as in an LRCN, the last convolution that is given all frames as images; without
            that, the frames themselves.

    Returns:
        (B, T), detached; 0 where the gradient is not finite.

    Raises:
        ValueError: when the layer does not exist, or its output has no time steps.

    Source: Xu et al. 2023, section 3 (keyframes by the gradient), eq. (4).
    """
    check_samples(x)
    check_clips(x)
    check_labels("y", y, x)
    if weight is not None and weight not in _WEIGHTS:
        raise ValueError(f"weight is {weight!r}; allowed: {', '.join(_WEIGHTS)}")
    with frozen(model):
        x = x.detach().clone().clamp_(0, 1)
        found = _find_layer(model, x, layer)
        logits, leaf = _cut_graph(model, x, found.module)
        y = logits.argmax(1) if y is None else y.clone()
        Goal(y).check_classes(logits)
        check_differentiable(logits)
        (gradient,) = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), leaf)
        weight = weight or ("l1" if found.per_frame else "abs")
        each = _WEIGHTS[weight](found.split_time(gradient.nan_to_num(0, 0, 0), x))  # (B, T')
        fields = found.fields.to(each)  # (T', T)
        return each @ fields / found.kernel  # (B, T)


def _cut_graph(model: nn.Module, x: Tensor, module: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Return the logits (B, K) of x, and the leaf of their graph: a module's output, or x."""
    if module is None:
        return logits_of(model, x.requires_grad_()), x
    leaves: list[Tensor] = []

    def cut(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[0].clone() if len(leaves) == 1 else output  # which may be changed in place

    hook = module.register_forward_hook(cut)
    try:
        return logits_of(model, x), leaves[0]
    finally:
        hook.remove()


@dataclass(frozen=True)
class TemporalLayer:
    """A module whose output has time steps.

    Attributes:
        module: the module; None for the clip itself.
        per_frame: True for an output (B*T, ...), False for (B, C, T', H, W).
        fields: receptive fields, bool (T', T): which frames each time step depends on.
        kernel: number of frames in a whole receptive field.
    """

    module: nn.Module | None
    per_frame: bool
    fields: Tensor
    kernel: int = 1

    def split_time(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient of the output as (B, T', D)."""
        if self.per_frame:
            return gradient.reshape(len(x), x.shape[2], -1)  # (B, T, D)
        return gradient.transpose(1, 2).flatten(2)  # (B, T', C*H*W)


def _find_layer(model: nn.Module, x: Tensor, name: str | None) -> TemporalLayer:
    """Find the layer of a name, or the default, in a forward pass of the first two clips."""
    modules = dict(model.named_modules())
    if name is not None and name not in modules:
        raise ValueError(
            f"layer is {name!r}; the model's convolutions are {_convolutions(modules)}, and any "
            "other module's name will do"
        )
    calls: list[Call] = []

    def note(module: nn.Module, given: Any, output: Any) -> None:
        seen = getattr(given[0] if given else None, "shape", None)
        calls.append((module, seen, getattr(output, "shape", None)))

    convolutions = [m for m in modules.values() if isinstance(m, _CONVOLUTIONS)]
    with ExitStack() as stack, torch.no_grad():
        for module in convolutions if name is None else [modules[name]]:
            stack.callback(module.register_forward_hook(note).remove)
        logits_of(model, x[:2])
    clips, frames = len(x[:2]), x.shape[2]
    found = (_default_layer if name is None else _named_layer)(calls, clips, frames)
    if found is None:
        raise ValueError(
            f"layer {name!r} was not called, or its output has no place for each of the {frames} "
            f"frames; give another, the convolutions are {_convolutions(modules)}, or None"
        )
    return found


def _default_layer(calls: list[Call], clips: int, frames: int) -> TemporalLayer:
    """Return the first convolution in time, else the last of single frames, else the clip."""
    for module, given, _ in calls:
        if _is_temporal(module, given, frames) and module.kernel_size[0] > 1:
            return _temporal_layer(module, given[2], frames)
    images = [m for m, _, made in calls if isinstance(m, nn.Conv2d) and made[0] == clips * frames]
    last = images[-1] if images else None
    return TemporalLayer(last, bool(images), torch.eye(frames, dtype=torch.bool))


def _named_layer(calls: list[Call], clips: int, frames: int) -> TemporalLayer | None:
    """Return a module with time steps, told by the shapes of its first call; else None."""
    for module, given, made in calls[:1]:
        if _is_temporal(module, given, frames):
            return _temporal_layer(module, given[2], frames)
        if made is not None and len(made) == 5 and made[2] == frames:
            return TemporalLayer(module, False, torch.eye(frames, dtype=torch.bool))
        if made is not None and len(made) in (2, 4) and made[0] == clips * frames > clips:
            return TemporalLayer(module, True, torch.eye(frames, dtype=torch.bool))
    return None


def _is_temporal(module: nn.Module, given: Any, frames: int) -> TypeGuard[nn.Conv3d]:
    """Tell whether a module is a 3-d convolution whose input holds all frames of a clip."""
    return isinstance(module, nn.Conv3d) and given is not None and given[2] >= frames


def _temporal_layer(convolution: nn.Conv3d, given: int, frames: int) -> TemporalLayer:
    fields = receptive_fields(convolution, given, frames)
    return TemporalLayer(convolution, False, fields, convolution.kernel_size[0])


def _convolutions(modules: dict[str, nn.Module]) -> str:
    names = (name for name, module in modules.items() if isinstance(module, _CONVOLUTIONS))
    return ", ".join(names) or "none"


def receptive_fields(convolution: nn.Conv3d, given: int, frames: int) -> Tensor:
    """Return the frames that each time step of a convolution's output depends on, bool (T', T).

    Args:
        convolution: with a kernel, stride, padding and dilation in time.
        given: frames of the convolution's input. Those beyond the clip's are padding of the
            model's own, half of it in front, as TensorFlow pads.
        frames: T, frames of the clip.

    >>> receptive_fields(nn.Conv3d(1, 1, 3, stride=2, padding=1), 4, 4).int().tolist()
    [[1, 1, 0, 0], [0, 1, 1, 1]]
    """
    kernel, stride, dilation = (
        cast(tuple[int, ...], getattr(convolution, name))[0]
        for name in ("kernel_size", "stride", "dilation")
    )
    reach = dilation * (kernel - 1)
    padding = convolution.padding
    before, after = (padding[0], padding[0]) if not isinstance(padding, str) else (0, 0)
    if padding == "same":
        before, after = reach // 2, reach - reach // 2
    steps = (given + before + after - reach - 1) // stride + 1
    first = torch.arange(steps) * stride - before - (given - frames) // 2  # (T',)
    taps = first[:, None] + torch.arange(kernel) * dilation  # (T', kernel)
    return (taps[:, :, None] == torch.arange(frames)).any(1)  # (T', T)
