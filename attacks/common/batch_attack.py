"""The call of an attack, written once: check and copy, freeze the model, perturb the batch."""

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Progress
from attacks.common.forward import TRIED, probe
from attacks.common.frozen import check_module, frozen
from attacks.common.goal import Classifier, logits_of
from attacks.common.options import Options
from attacks.common.randomness import ids_of, sample_generators

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
        progress: called with (steps done, steps in all); does nothing where none was given.
        passes: of the model that the attack makes at most, see `wrap_forward`; so the next two.
        bf16: whether they run under bfloat16 autocast.
        compiled: whether they run through torch.compile.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor | None
    seed: int
    given: Tensor
    sample_ids: Sequence[int] | Tensor | None
    progress: Progress
    passes: int | None = None
    bf16: bool = False
    compiled: bool = False

    @property
    def forward(self) -> Classifier:
        """The forward pass that `wrap_forward` chose."""
        return self._wrapped[0]

    @property
    def random(self) -> bool:
        """Whether two passes of the same samples differ."""
        return self._wrapped[1]

    @cached_property
    def ids(self) -> list[int]:
        """An id for each sample."""
        return ids_of(self.given, self.sample_ids)

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """A generator for each sample."""
        return sample_generators(self.x, seed=self.seed, sample_ids=self.ids)

    def clean_logits(self) -> Tensor:
        """Return the logits of x (B, K): of a small batch those that `forward` was tried with."""
        if len(self.x) <= TRIED and not self.bf16:
            return self._wrapped[2]
        with torch.no_grad():
            return logits_of(self.model if self.bf16 else self.forward, self.x)

    @cached_property
    def _wrapped(self) -> tuple[Classifier, bool, Tensor]:
        return probe(self.model, self.x, passes=self.passes, bf16=self.bf16, compiled=self.compiled)


class BatchAttack(Options, ABC):
    """An attack whose subclass perturbs a checked batch under a frozen model.

    Attributes:
        needs_videos: refuse images.
    """

    needs_videos: ClassVar[bool] = False

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
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress)
        told = progress or _tell_nobody
        with frozen(model):
            call = Call(model, *clone_inputs(model, x, y, target), seed, x, sample_ids, told)
            if self.needs_videos:
                check_clips(x)
            return self.perturb(call)

    def check_target(self, target: Tensor | int | None) -> None:
        """Raise ValueError for a target, or for none, where the attack has no such mode."""

    @abstractmethod
    def perturb(self, call: Call) -> AttackResult:
        """Attack the samples of a call and return the result."""


def _tell_nobody(done: int, steps: int) -> None:
    pass


def check_call(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None,
    *,
    target: Tensor | int | None,
    seed: int,
    sample_ids: Sequence[int] | Tensor | None,
    progress: Progress | None = None,
) -> None:
    """Check the arguments of an attack's call, those of `Attack.__call__`.

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
    if progress is not None and not callable(progress):
        raise ValueError(
            f"progress is {progress!r}, {_kind(progress)}; give a function of (steps done, "
            "steps in all), or None"
        )
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
    """Name the type of a value, with its article."""
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
