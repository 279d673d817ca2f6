"""Loss of R: squared error, flicker, and the disagreement of a classifier."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.evaluate.quality import squared_error
from trainers.reconstruction.options import ReconstructionOptions, TemporalForm

Classify = Callable[[Tensor], Tensor]
_LEAST = 1e-10  # of what the terms are counted in


def flicker(a: Tensor, x: Tensor, *, form: TemporalForm = "matched") -> Tensor:
    """Return how much videos (B, C, T, H, W) change from frame to frame, (B,).

    Args:
        a: the videos.
        x: what they should be; (B, C, T, H, W).
        form: "matched" compares with the changes of x; "raw" does not.

    >>> still, jump = torch.zeros(1, 1, 2, 1, 1), torch.tensor([0.0, 0.5]).view(1, 1, 2, 1, 1)
    >>> flicker(still, jump), flicker(still, jump, form="raw")
    (tensor([0.5000]), tensor([0.]))

    Source: "raw": Rey-de-Castro & Rabitz 2018, section 5.4.
    """
    change = a.diff(dim=2) if form == "raw" else (a - x).diff(dim=2)  # (B, C, T - 1, H, W)
    # The mean over no change at all, of a single frame, is not 0.
    return change.abs().flatten(1).sum(1) / max(change[0].numel(), 1)


@dataclass(frozen=True)
class Terms:
    """The loss of samples that R restored.

    Attributes:
        options: weights of the terms.
        error_unit: what squared errors are counted in, a number a rate, (S,).
        flicker_unit: likewise of the temporal term, (S,).
        classify: samples to logits (B, K), for the task term.
    """

    options: ReconstructionOptions
    error_unit: Tensor
    flicker_unit: Tensor
    classify: Classify | None = None

    @classmethod
    def measured(
        cls, options: ReconstructionOptions, plain: Tensor, x: Tensor, classify: Classify | None
    ) -> "Terms":
        """Take as units what the plain decoder's samples have.

        Args:
            options: weights of the terms.
            plain: its samples at each rate, (S, N, C, ...).
            x: the samples, (N, C, ...).
            classify: samples to logits.
        """
        errors = torch.stack([squared_error(part, x).mean() for part in plain])  # (S,)
        if not options.normalise:
            errors = errors.mean().expand_as(errors)
        changes = torch.ones_like(errors)
        if options.temporal:
            form = options.temporal_form
            changes = torch.stack([flicker(part, x, form=form).mean() for part in plain])
        least = errors.new_tensor(_LEAST)
        return cls(options, errors.maximum(least), changes.maximum(least), classify)

    def __call__(self, restored: Tensor, x: Tensor, rate: Tensor) -> dict[str, Tensor]:
        """Return the loss of each sample, and its parts, (B,).

        Args:
            restored: what R made, (B, C, ...).
            x: the samples, like it.
            rate: the number of each one's rate, int64 (B,).
        """
        found = {"error": squared_error(restored, x) / self.error_unit.to(x)[rate]}
        loss = found["error"]
        if self.options.temporal:
            changes = flicker(restored, x, form=self.options.temporal_form)
            found["temporal"] = changes / self.flicker_unit.to(x)[rate]
            loss = loss + self.options.temporal * found["temporal"]
        if self.options.task and self.classify is not None:
            found["task"] = self._divergence(restored, x)
            loss = loss + self.options.task * found["task"]
        return found | {"loss": loss}

    def _divergence(self, restored: Tensor, x: Tensor) -> Tensor:
        assert self.classify is not None
        with torch.no_grad():
            wanted = F.log_softmax(self.classify(x).float(), 1)  # (B, K)
        got = F.log_softmax(self.classify(restored.clamp(0, 1)).float(), 1)
        return F.kl_div(got, wanted, log_target=True, reduction="none").sum(1)
