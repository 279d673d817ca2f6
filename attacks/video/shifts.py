"""How a perturbation does when it is not synchronised with the clips it is added to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.common.frozen import frozen
from attacks.common.goal import Goal, logits_of
from attacks.common.inputs import check_batch, check_clips
from attacks.universal.fitting import Loader, SampleLoader
from attacks.universal.perturbation import Perturbation


@dataclass(frozen=True)
class ShiftFooling:
    """Fooling ratios of a perturbation at every shift in time.

    Attributes:
        ratios: for the shifts by 0 to T - 1 frames, (T,) float64.
        clips: how many clips were right when clean, of which these are shares.
    """

    ratios: Tensor
    clips: int

    @property
    def synchronised(self) -> float:
        """The ratio without a shift."""
        return float(self.ratios[0])

    @property
    def mean(self) -> float:
        """The mean over all shifts."""
        return float(self.ratios.mean())

    @property
    def minimum(self) -> float:
        """The lowest of all shifts."""
        return float(self.ratios.min())


def fooling_over_shifts(
    model: nn.Module, perturbation: Perturbation, loader: Loader
) -> ShiftFooling:
    """Return the share of clips that a perturbation fools at each of its cyclic shifts.

    It is that of the clips which the model gets right when clean. With a target, a clip is fooled
    that reaches it, and clips of that class are left out.

    Args:
        model: the classifier; left exactly as it was.
        perturbation: of shape (C, T, ...), such as one of `FlickerUniversal`.
        loader: batches (x, y, ...), y int64 (B,).

    Raises:
        ValueError: for images, and when no clip is right when clean.

    Source: Naeh et al. 2020, sections 4.2 (fooling ratio) and 4.5 (time-invariant attack).
    """
    frames = perturbation.delta.shape[1]
    moved = [
        replace(perturbation, delta=perturbation.delta.roll(shift, 1)) for shift in range(frames)
    ]
    device = SampleLoader.of(loader, model).device
    with frozen(model), torch.no_grad():
        parts = [_fooled(model, moved, x.to(device), y.to(device)) for x, y, *_ in loader]
    fooled = torch.cat(parts, 1).cpu()  # (T, N)
    if not fooled.shape[1]:
        raise ValueError(
            "no clip is right when clean, so none can be fooled; give clips the model gets right"
        )
    return ShiftFooling(fooled.double().mean(1), fooled.shape[1])


def _fooled(model: nn.Module, moved: Sequence[Perturbation], x: Tensor, y: Tensor) -> Tensor:
    """Return which clips of x (B, ...) that are right each perturbation fools, (T, A) bool."""
    check_batch(x, y)
    check_clips(x)
    named, logits = moved[0].target, logits_of(model, x)
    right = torch.isfinite(logits).all(1) & ~Goal(y).is_adversarial(logits)
    if named is not None:
        right = right & (y != named)
    x, y = x[right], y[right]  # (A, ...), (A,)
    if not len(x):
        return right.new_zeros(len(moved), 0)
    goal = Goal(y, None if named is None else torch.full_like(y, named))
    return torch.stack([goal.is_adversarial(logits_of(model, p.apply(x))) for p in moved])  # (T, A)
