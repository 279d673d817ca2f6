"""Task-aware quantisation: a classifier decides where the bits go; the decoder is unchanged."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.quantise.quantise import dequantise, normalise_subbands, quantise
from compress.quantise.signals import MIDDLE, dequantise_and_invert, to_rgb
from compress.wavelet.transform import Coefficients, idwt

Loss = Literal["kl", "feature"]
_TINY = 1e-12
_SHIFT = 2  # pixels that a view is shifted by at most


@dataclass(frozen=True)
class TaskQuantiser:
    """Quantise so that a classifier's output on the decoded samples stays, for no more bytes.

    Proximal gradient steps on the coefficients of a sample minimise the classifier's loss on the
    decoded sample, a squared distance to the sample, and an l1 norm. A coefficient keeps its sign,
    and grows at most to one step of the quantiser: the code holds more of the sample where the
    classifier looks, and nothing that is not in the sample.

    Attributes:
        loss: "kl", the divergence of the decoded sample's class probabilities from the
            sample's; "feature", the squared distance of the last linear layer's input, over
            its square.
        steps: gradient steps.
        weight: of the loss.
        rate: largest l2 norm of a step down the loss, in steps of the quantiser.
        data_weight: share of the way back to the sample that each step takes, in [0, 1].
        l1: soft threshold of each step, in steps of the quantiser; the low-pass band is spared.
        views: shifted, perhaps mirrored copies that a gradient is averaged over, so that it suits
            other classifiers too; drawn anew each step. 0 takes the sample as it is.
        seed: of the views.
        batch: samples at once.

    Source: proximal gradient: Combettes & Pesquet 2011; straight-through: Bengio et al. 2013;
    views: expectation over transformations, Athalye et al. 2018.
    """

    loss: Loss = "kl"
    steps: int = 24
    weight: float = 4.0
    rate: float = 1.5
    data_weight: float = 0.15
    l1: float = 0.02
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
        if not min(self.weight, self.rate, self.l1) >= 0 or not 0 <= self.data_weight <= 1:
            raise ValueError(
                f"weight={self.weight}, rate={self.rate}, l1={self.l1}, "
                f"data_weight={self.data_weight}; give at least 0 each, and data_weight at most 1"
            )

    @property
    def max_shift(self) -> float:
        """Largest move of a coefficient, in units of its subband's step.

        >>> round(TaskQuantiser(steps=1, rate=1, data_weight=0, l1=0).max_shift, 6)
        1
        """
        kept = 1 - self.data_weight  # of what the steps before have moved it
        return (kept * self.rate + self.l1) * sum(kept**i for i in range(self.steps))

    def quantise(self, c: Coefficients, step: float, model: nn.Module) -> Coefficients:
        """Quantise coefficients with a step, for a classifier.

        Args:
            c: of samples, transformed.
            step: of the quantiser.
            model: maps samples to logits; left as it is.
        """
        device = next(model.parameters(), torch.empty(0)).device
        observed = _observe_logits(model, self.loss)
        with torch.inference_mode(False), torch.enable_grad(), observed as observe:
            parts = [
                self._quantise_batch(c.with_values(part.to(device)), step, observe).values.cpu()
                for part in torch.split(c.values, self.batch)
            ]
        return c.with_values(torch.cat(parts))

    def _quantise_batch(
        self, c: Coefficients, step: float, observe: Callable[[Tensor], Tensor]
    ) -> Coefficients:
        origin = normalise_subbands(c, step).values
        with torch.no_grad():
            wanted = self._to_target(observe(to_rgb(idwt(c)) + MIDDLE))
        most, thresholds = origin.abs().clamp_min(1), self._l1_thresholds(c)
        v = origin.clone()
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.steps):
            q = quantise(dequantise(c.with_values(v), step), step).values
            leaf = q.clone().requires_grad_()  # straight-through: as if v were whole already
            x = dequantise_and_invert(c.with_values(leaf), step, "x", lifted=None)
            loss = self._loss(x, wanted, observe, generator)
            slope = torch.autograd.grad(loss, leaf)[0].nan_to_num(0, 0, 0)  # (B, C, ...)
            way = self.weight * slope
            size = way.flatten(1).norm(dim=1).view(-1, *[1] * (v.ndim - 1))
            v = v - way * (self.rate / size.clamp_min(max(self.rate, _TINY)))
            v = v + self.data_weight * (origin - v)
            v = v.sign() * (v.abs() - thresholds).clamp_min(0)
            v = origin.sign() * (origin.sign() * v).clamp_min(0).minimum(most)
        return quantise(dequantise(c.with_values(v), step), step)

    def _l1_thresholds(self, c: Coefficients) -> Tensor:
        """Build the soft thresholds of a sample's coefficients, (1, C, ...)."""
        l1 = c.with_values(torch.full_like(c.values[:1], self.l1))
        for band in c.bands:
            if not any(band.high):
                l1.band(band).zero_()
        return l1.values

    def _to_target(self, seen: Tensor) -> Tensor:
        return F.log_softmax(seen, 1) if self.loss == "kl" else seen

    def _loss(
        self,
        x: Tensor,
        wanted: Tensor,
        observe: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """Sum over samples the loss of the classifier's output on x (B, C, ...)."""
        if self.views:
            x = torch.cat([_shift_view(x, generator) for _ in range(self.views)])
            wanted = wanted.repeat(self.views, *[1] * (wanted.ndim - 1))
        seen = self._to_target(observe(x))
        if self.loss == "kl":
            loss = F.kl_div(seen, wanted, log_target=True, reduction="sum")
        else:
            size = (wanted**2).sum(1).clamp_min(_TINY)
            loss = (((seen - wanted) ** 2).sum(1) / size).sum()
        return loss / max(self.views, 1)


def check_task(kind: str, model: object, task: object) -> None:
    """Check that kind, classifier and task options belong together.

    Raises:
        ValueError: for a combination that is not allowed, or another type.
    """
    if (model is None) == (kind == "x-task") or (task is not None and kind != "x-task"):
        raise ValueError(f'kind={kind!r}; model belongs to "x-task", and task to it alone')
    if model is not None and not isinstance(model, nn.Module):
        raise ValueError(f"model is {type(model).__name__}; give an nn.Module that returns logits")
    if task is not None and not isinstance(task, TaskQuantiser):
        raise ValueError(f"task is {type(task).__name__}; give a TaskQuantiser")


def _shift_view(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift samples by a few pixels, fewer if they are small, and mirror half of the time."""
    most = min(_SHIFT, min(x.shape[-2:]) - 1)
    dy, dx = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    x = x.roll((dy, dx), (-2, -1))
    return x.flip(-1) if torch.rand((), generator=generator) < 0.5 else x


@contextmanager
def _observe_logits(model: nn.Module, loss: Loss) -> Iterator[Callable[[Tensor], Tensor]]:
    """Observe a classifier in eval mode: yield a function to its logits or last linear input.

    Raises:
        ValueError: for "feature" and a model without linear layer.
    """
    flags = {m: m.training for m in model.modules() if hasattr(m, "training")}
    taken: list[Tensor] = []
    hook = None
    if loss == "feature":
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise ValueError('loss="feature" needs a linear layer in the model; take "kl"')
        hook = layers[-1].register_forward_pre_hook(lambda _, given: taken.append(given[0].clone()))

    def observe(x: Tensor) -> Tensor:
        taken.clear()
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)
        # A copy, which the model may change, in its own precision.
        logits = _extract_logits(model(x.clone() if dtype == x.dtype else x.to(dtype)))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the model returns {got}; it has to return logits ({len(x)}, K)")
        return (taken[-1].flatten(1) if hook else logits).to(x.dtype)

    try:
        for module in flags:
            module.training = False
        yield observe
    finally:
        if hook:
            hook.remove()
        for module, training in flags.items():
            module.training = training


def _extract_logits(output: Any) -> Tensor:
    """Extract the logits of an output that names them, or holds them first."""
    if isinstance(output, Mapping):
        output = output.get("logits", output)
    output = getattr(output, "logits", output)
    logits: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return logits
