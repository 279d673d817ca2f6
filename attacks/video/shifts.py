"""The fooling ratio of a perturbation that is shifted in time against the clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.common.batch_attack import check_clips, check_labels, check_samples
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, logits_of
from attacks.universal.perturbation import Perturbation
from attacks.universal.sample_loader import Loader, SampleLoader


@dataclass(frozen=True)
class ShiftFooling:
    """The fooling ratios of a perturbation at every cyclic shift in time.

    Attributes:
        ratios: at shifts by 0 to T - 1 frames, (T,) float64.
        clips: number of clips behind the ratios.
    """

    ratios: Tensor
    clips: int

    @property
    def synchronised(self) -> float:
        """Fooling ratio without a shift."""
        return float(self.ratios[0])

    @property
    def mean(self) -> float:
        """Mean fooling ratio of all shifts."""
        return float(self.ratios.mean())

    @property
    def minimum(self) -> float:
        """Lowest fooling ratio of all shifts."""
        return float(self.ratios.min())


def fooling_over_shifts(
    model: nn.Module, perturbation: Perturbation, loader: Loader
) -> ShiftFooling:
    """Return the share of clips that a perturbation fools at each of its cyclic shifts.

    The share is of the clips that the model classifies correctly when clean. A targeted
    perturbation fools a clip that reaches the target; clips of that class are left out.

    Args:
        model: the classifier; left exactly as it was.
        perturbation: of shape (C, T, ...), such as one of `FlickerUniversal`.
        loader: batches (x, y, ...), y int64 (B,).

    Raises:
        ValueError: for images, and when the model misclassifies all clips.

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
    """Tell which of the A attackable clips of x (B, ...) each perturbation fools, bool (T, A)."""
    check_samples(x)
    check_labels("y", y, x)
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
