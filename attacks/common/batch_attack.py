"""The call of an attack, written once: check and copy, freeze the model, perturb the batch."""

import math
import operator
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Progress
from attacks.common.bpda import stand_ins
from attacks.common.forward import TRIED, expected, wrap_forward
from attacks.common.frozen import check_module, frozen
from attacks.common.goal import Classifier, Goal, detached_logits
from attacks.common.options import Count, Options, Text
from attacks.common.randomness import generator_for, ids_of

RANGE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Call:
    """The arguments of one call, in the form an attack works with.

    Attributes:
        model: the classifier, frozen.
        x: a copy of the samples, (B, ...) in [0, 1].
        y: labels, int64 (B,); the model's answers where none were given.
        target: wanted classes, int64 (B,), or None.
        seed: with a sample's id, fixes that sample's random numbers.
        given: the samples as they were given; their contents derive the ids where there are none.
        sample_ids: ids as they were given, or None.
        progress: called with (steps done, steps in all).
        guide: samples like x, to which a `GuidedAttack` leads, or None.
        passes: of the model that the attack makes at most, see `wrap_forward`; so the next two.
        bf16, compiled: whether they run under bfloat16 autocast, or through torch.compile.
        eot: how many passes `forward` and `exact` take the mean of.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor | None
    seed: int
    given: Tensor
    sample_ids: Sequence[int] | Tensor | None
    progress: Progress
    guide: Tensor | None = None
    passes: int | None = None
    bf16: bool = False
    compiled: bool = False
    eot: int = 1

    @cached_property
    def forward(self) -> Classifier:
        """The forward pass that `wrap_forward` chose."""
        return expected(self._wrapped[0], self.eot)

    @cached_property
    def exact(self) -> Classifier:
        """The model as it is, in float32, with the rounding of single passes."""
        return expected(self.model, self.eot)

    @property
    def random(self) -> bool:
        """Whether two passes of the same samples differ, and no mean is taken of them."""
        return self.eot == 1 and self._wrapped[1]

    @cached_property
    def ids(self) -> list[int]:
        """An id for each sample."""
        return ids_of(self.given, self.sample_ids)

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """A generator for each sample."""
        return [generator_for(self.seed, i) for i in self.ids]

    def clean_logits(self) -> Tensor:
        """Return the logits of x (B, K): of a small batch those that `forward` was tried with."""
        if len(self.x) <= TRIED and not self.bf16 and self.eot == 1:
            return self._wrapped[2]
        return detached_logits(self.exact if self.bf16 else self.forward, self.x)

    @cached_property
    def _wrapped(self) -> tuple[Classifier, bool, Tensor]:
        return wrap_forward(
            self.model, self.x, passes=self.passes, bf16=self.bf16, compiled=self.compiled
        )


class BatchAttack(Options, ABC):
    """An attack whose subclass perturbs a checked batch under a frozen model.

    Attributes:
        needs_videos: refuse images.
        draws: whether random numbers, and so the seed, may play a part in the result.
    """

    needs_videos: ClassVar[bool] = False
    draws: ClassVar[bool] = True

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None,
        *,
        target: Tensor | int | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Perturb x so that `model` predicts another class than y, or predicts `target`.

        Args:
            model: the classifier; returns logits (B, K). Left exactly as it was.
            x: images (B, C, H, W) or videos (B, C, T, H, W), float32 in [0, 1].
            y: labels, int64 (B,); None takes the model's predictions.
            target: classes to reach, int64 (B,), or one for all samples; None for an untargeted
                attack.
            seed: with a sample's id, fixes that sample's random numbers.
            sample_ids: B integers; None hashes each sample's content.
            progress: called with (steps done, steps in all).

        Returns:
            The result; the attack's class documents its `info`.

        Raises:
            ValueError: for a batch or an option that the attack cannot work with.
        """
        self.check_target(target)
        check_module(model)
        check_samples(x)
        check_labels("y", y, x)
        target = _class_ids(target, x)
        check_labels("target", target, x)
        _check_plain(seed, progress)
        if sample_ids is not None:
            ids_of(x, sample_ids)
        _check_device(model, x)
        # A random model draws by the seed, and by the batch, of which the first sample tells.
        chance = zlib.crc32(x[0].detach().cpu().numpy().tobytes(), operator.index(seed) % 2**32)
        with frozen(model, seed=chance):
            # What was made in inference mode cannot take part in a gradient, its copy can; and
            # pixels that stray from [0, 1] by less than the tolerance would be outside the threat.
            own = x.detach().clone().clamp_(0, 1)
            y = detached_logits(model, own).argmax(1) if y is None else y.detach().clone()
            target = None if target is None else target.detach().clone()
            call = Call(
                model, own, y, target, seed, x, sample_ids, progress or (lambda done, steps: None)
            )
            if self.needs_videos:
                check_clips(x)
            return self.run(call)

    def run(self, call: Call) -> AttackResult:
        """Attack the samples of a call under a frozen model."""
        return self.perturb(call)

    def check_target(self, target: Tensor | int | None) -> None:
        """Raise ValueError for a target, or for none, where the attack has no such mode."""

    @abstractmethod
    def perturb(self, call: Call) -> AttackResult:
        """Attack the samples of a call and return the result."""


@dataclass(frozen=True)
class GradientAttack(BatchAttack, ABC):
    """An attack that takes gradients of the model, with what helps where these mislead.

    Args:
        eot: passes of a random model of which each gradient, loss and answer is the mean. From 2
            on no sample leaves at its first success, which may be chance; `success` is what one
            pass says of it in the end, of as many passes as spread over the batch.
        bpda: "identity" or "surrogate" lets gradients pass through what rounds or detaches; either
            with ":LAYER" for layers by name; see `bpda.stand_ins`. None: the model's own.

    Source: Athalye, Carlini & Wagner 2018, "Obfuscated gradients", sections 4.1 and 4.2.
    """

    eot: Count = field(default=1, kw_only=True)
    bpda: Text | None = field(default=None, kw_only=True)

    def run(self, call: Call) -> AttackResult:
        """Attack the samples of a call, with the mean of passes and with stand-ins if asked."""
        with stand_ins(call.model, call.x, self.bpda) if self.bpda else nullcontext():
            if self.eot == 1:
                return self.perturb(call)
            patient: Any = {"early_stop": False} if hasattr(self, "early_stop") else {}
            result = replace(self, **patient).perturb(replace(call, eot=self.eot))
            passes = [detached_logits(call.model, result.x_adv) for _ in range(self.eot)]
        rows = torch.arange(len(call.x), device=call.x.device)
        own = torch.stack(passes)[rows % self.eot, rows]  # (B, K): of one pass for each sample
        success = Goal(call.y, call.target).is_adversarial(own)
        return replace(result, success=success, queries=self.eot * (result.queries + 1))


def _check_plain(seed: int, progress: Progress | None) -> None:
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed is {seed!r}, {_kind(seed)}; give an integer")
    if progress is not None and not callable(progress):
        raise ValueError(
            f"progress is {progress!r}, {_kind(progress)}; give a function of (steps done, "
            "steps in all), or None"
        )


def _check_device(model: nn.Module, x: Tensor) -> None:
    devices = {t.device for t in chain(model.parameters(), model.buffers())}
    if devices and x.device not in devices:
        names = ", ".join(sorted(map(str, devices)))
        raise ValueError(f"x is on {x.device} and the model on {names}; move one of them")


def check_samples(x: Tensor) -> None:
    """Check samples against the conventions that every attack and loop relies on.

    Args:
        x: images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1], float32; float64 for checks.

    Raises:
        ValueError: naming what is wrong, the value seen and what to do.
    """
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
    low, high = (float(v) for v in torch.aminmax(x.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"x spans [{low}, {high}]; leave out the samples with NaN or inf")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ValueError(
            f"x spans [{low:.6g}, {high:.6g}] where pixels lie in [0, 1]; pass plain pixels and "
            "put the normalisation inside the model: "
            "nn.Sequential(trainers.models.Normalize(mean, std), model)"
        )


def check_clips(x: Tensor) -> None:
    """Raise ValueError unless x, which `check_samples` passed, is a batch of videos."""
    if x.ndim != 5:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; frames are told apart here: give videos as "
            "(B, C, T, H, W), an image as a video of one frame: x[:, :, None]"
        )


def _class_ids(target: Tensor | int | None, x: Tensor) -> Tensor | None:
    """Return a target as a tensor: one class id is for all samples of x (B, ...), int64 (B,)."""
    if target is None or isinstance(target, Tensor):
        return target
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise ValueError(
            f"target is {_kind(target)}; give int64 class ids (B,) as a tensor, or one int for all"
        )
    return torch.full((len(x),), operator.index(target), device=x.device)


def _kind(value: object) -> str:
    """Name the type of a value, with its article."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def check_labels(name: str, labels: Tensor | None, x: Tensor) -> None:
    """Raise ValueError unless labels, if any, are int64 (B,), one for each sample of x (B, ...)."""
    if labels is None:
        return
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
