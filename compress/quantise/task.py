"""Quantisation for a classifier: it decides where the bits go, and the decoder is unchanged."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.quantise.colour import rgb
from compress.quantise.quantise import quantise, scaled, unscaled
from compress.quantise.signals import MIDDLE, restored
from compress.wavelet.transform import Coefficients, idwt

Loss = Literal["kl", "feature"]
_TINY = 1e-12
_SHIFT = 2  # pixels that a view is shifted by at most


@dataclass(frozen=True)
class Task:
    """Keep what a classifier makes of samples, for as few bytes as before or fewer.

    From the coefficients of a sample, each step goes down the classifier's loss on what would be
    decoded, some of the way back to the sample, and towards zero. A coefficient keeps its sign,
    and grows at most to one step of the quantiser: what is coded is more of the sample where it
    tells, and not what the classifier alone would take for it.

    Attributes:
        loss: "kl", the divergence of the decoded sample's class probabilities from the
            sample's; "feature", the squared distance of what the last linear layer is given, over
            its square.
        steps: how many.
        weight: of the loss.
        rate: how far down the loss a step goes at most, in l2, in steps of the quantiser.
        pull: share of the way back to the sample, in [0, 1].
        shrink: how much nearer to zero each coefficient gets, but for those of the low-pass
            band, in steps of the quantiser.
        views: of how many shifted, perhaps mirrored copies a gradient is the mean, so that it
            suits other classifiers too; each step has others. 0 takes the sample as it is.
        seed: of the views.
        batch: samples at once.

    Source: proximal gradient: Combettes & Pesquet 2011; straight-through: Bengio et al. 2013;
    views: expectation over transformations, Athalye et al. 2018.
    """

    loss: Loss = "kl"
    steps: int = 24
    weight: float = 4.0
    rate: float = 1.5
    pull: float = 0.15
    shrink: float = 0.02
    views: int = 1
    seed: int = 0
    batch: int = 256

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        if self.loss not in get_args(Loss):
            raise ValueError(f"loss is {self.loss!r}; allowed: {', '.join(get_args(Loss))}")
        if self.steps < 1 or self.views < 0 or self.batch < 1:
            raise ValueError(
                f"steps={self.steps}, views={self.views}, batch={self.batch}; give at least 1, 0 "
                "and 1"
            )
        if not min(self.weight, self.rate, self.shrink) >= 0 or not 0 <= self.pull <= 1:
            raise ValueError(
                f"weight={self.weight}, rate={self.rate}, shrink={self.shrink}, pull={self.pull}; "
                "give at least 0 each, and pull at most 1"
            )

    @property
    def reach(self) -> float:
        """How far a coefficient is moved at most, in units of its band's step.

        >>> round(Task(steps=1, rate=1, pull=0, shrink=0).reach, 6)
        1
        """
        kept = 1 - self.pull  # of what the steps before have moved it
        return (kept * self.rate + self.shrink) * sum(kept**i for i in range(self.steps))

    def quantise(self, c: Coefficients, step: float, model: nn.Module) -> Coefficients:
        """Return whole numbers for a quantiser's step, chosen for a classifier.

        Args:
            c: of samples, transformed.
            step: of the quantiser.
            model: maps samples to logits; left as it is.
        """
        device = next(model.parameters(), torch.empty(0)).device
        observed = _observed(model, self.loss)
        with torch.inference_mode(False), torch.enable_grad(), observed as look:
            parts = [
                self._part(c.with_values(part.to(device)), step, look).values.cpu()
                for part in torch.split(c.values, self.batch)
            ]
        return c.with_values(torch.cat(parts))

    def _part(self, c: Coefficients, step: float, look: Callable[[Tensor], Tensor]) -> Coefficients:
        origin = scaled(c, step).values
        with torch.no_grad():
            wanted = self._wanted(look(rgb(idwt(c)) + MIDDLE))
        most, shrink = origin.abs().clamp_min(1), self._shrink(c)
        v = origin.clone()
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.steps):
            q = quantise(unscaled(c.with_values(v), step), step).values
            leaf = q.clone().requires_grad_()  # straight-through: as if v were whole already
            x = restored(c.with_values(leaf), step, "x", lifted=None)
            loss = self._loss(x, wanted, look, generator)
            slope = torch.autograd.grad(loss, leaf)[0].nan_to_num(0, 0, 0)  # (B, C, ...)
            way = self.weight * slope
            size = way.flatten(1).norm(dim=1).view(-1, *[1] * (v.ndim - 1))
            v = v - way * (self.rate / size.clamp_min(max(self.rate, _TINY)))
            v = v + self.pull * (origin - v)
            v = v.sign() * (v.abs() - shrink).clamp_min(0)
            v = origin.sign() * (origin.sign() * v).clamp_min(0).minimum(most)
        return quantise(unscaled(c.with_values(v), step), step)

    def _shrink(self, c: Coefficients) -> Tensor:
        """Return what a step takes from each coefficient of a sample, (1, C, ...)."""
        shrink = c.with_values(torch.full_like(c.values[:1], self.shrink))
        for band in c.bands:
            if not any(band.high):
                shrink.band(band).zero_()
        return shrink.values

    def _wanted(self, seen: Tensor) -> Tensor:
        return F.log_softmax(seen, 1) if self.loss == "kl" else seen

    def _loss(
        self,
        x: Tensor,
        wanted: Tensor,
        look: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """Return the sum over samples of how much else the classifier sees in x (B, C, ...)."""
        if self.views:
            x = torch.cat([_shifted(x, generator) for _ in range(self.views)])
            wanted = wanted.repeat(self.views, *[1] * (wanted.ndim - 1))
        seen = self._wanted(look(x))
        if self.loss == "kl":
            loss = F.kl_div(seen, wanted, log_target=True, reduction="sum")
        else:
            size = (wanted**2).sum(1).clamp_min(_TINY)
            loss = (((seen - wanted) ** 2).sum(1) / size).sum()
        return loss / max(self.views, 1)


def check_way(kind: str, model: object, task: object) -> None:
    """Refuse a classifier or a search where none is needed, and what is neither.

    Raises:
        ValueError: with what belongs together.
    """
    if (model is None) == (kind == "x-task") or (task is not None and kind != "x-task"):
        raise ValueError(f'kind={kind!r}; model belongs to "x-task", and task to it alone')
    if model is not None and not isinstance(model, nn.Module):
        raise ValueError(f"model is {type(model).__name__}; give an nn.Module that returns logits")
    if task is not None and not isinstance(task, Task):
        raise ValueError(f"task is {type(task).__name__}; give a Task")


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return a copy of samples moved by a few pixels, or fewer if they are small, and mirrored."""
    most = min(_SHIFT, min(x.shape[-2:]) - 1)
    dy, dx = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    x = x.roll((dy, dx), (-2, -1))
    return x.flip(-1) if torch.rand((), generator=generator) < 0.5 else x


@contextmanager
def _observed(model: nn.Module, loss: Loss) -> Iterator[Callable[[Tensor], Tensor]]:
    """Give a function that returns logits, or what the last linear layer gets, in eval mode.

    Raises:
        ValueError: for "feature", when the model has no linear layer.
    """
    flags = {m: m.training for m in model.modules() if hasattr(m, "training")}
    taken: list[Tensor] = []
    hook = None
    if loss == "feature":
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise ValueError('loss="feature" needs a linear layer in the model; take "kl"')
        hook = layers[-1].register_forward_pre_hook(lambda _, given: taken.append(given[0].clone()))

    def look(x: Tensor) -> Tensor:
        taken.clear()
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)
        # A copy, which the model may change, in its own precision.
        logits = _logits(model(x.clone() if dtype == x.dtype else x.to(dtype)))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the model returns {got}; it has to return logits ({len(x)}, K)")
        return (taken[-1].flatten(1) if hook else logits).to(x.dtype)

    try:
        for module in flags:
            module.training = False
        yield look
    finally:
        if hook:
            hook.remove()
        for module, training in flags.items():
            module.training = training


def _logits(output: Any) -> Tensor:
    """Return the logits of an answer that has them as `logits`, or as the first of several."""
    if isinstance(output, Mapping):
        output = output.get("logits", output)
    output = getattr(output, "logits", output)
    logits: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return logits
