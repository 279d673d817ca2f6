"""Universal flickering: one pattern for all clips, fitted to some of them."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.threat import check_radius
from attacks.universal.fitting import (
    Keep,
    Loader,
    Samples,
    Snapshot,
    check_target,
    fitted_in_passes,
)
from attacks.universal.perturbation import Perturbation
from attacks.video.flicker_fit import FlickerFit
from attacks.video.flicker_loss import FlickerLoss


@dataclass(frozen=True)
class FlickerUniversal(FlickerLoss):
    """Options of a fit that gives one flicker for all clips, or for all of a class.

    Adam lowers the objective of `FlickerLoss`, its loss averaged over the clips of a batch. What
    the model answers the clean clips stands for their labels; clips whose label is given and is
    another are left out, as in the paper. The result is a `Perturbation` of
    shape (C, T, 1, 1); see `fooling_over_shifts` for how it does at other shifts in time.

    Args:
        eps: largest size of the pattern's values, in pixel units.
        passes: times through the clips.
        roll: shift the pattern by a random number of frames for each clip and step, so that it
            need not be synchronised with the video it is added to.
        source: fit to the clips alone that the model gives this class; None for all clips. A
            loader of that class alone fills the batches.
        target: the class to reach; None for any class but the model's own answer.
        **others: see `FlickerLoss`.

    Source: Naeh et al. 2020, eq. (1), sections 3 and 4.3 to 4.5: class generalisation, universal
    and time-invariant attacks; there 10000 steps of 8 clips.
    """

    eps: float = 0.2
    passes: int = 20
    roll: bool = False
    source: int | None = None
    target: int | None = None

    own_eps: ClassVar[bool] = True  # it is no budget: the jobs leave it as it is
    needs_videos: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        super().__post_init__()
        check_radius("linf", self.eps)
        check_target(self.target)
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"eps is {self.eps}; give a finite number >= 0")
        if self.passes < 1:
            raise ValueError(f"passes is {self.passes}; give a number >= 1")
        if self.source is not None and (self.source < 0 or self.source == self.target):
            raise ValueError(
                f"source is {self.source}, target {self.target}; class ids start at 0, and the two "
                "differ"
            )

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        state: Snapshot | None = None,
        keep: Keep | None = None,
    ) -> Perturbation:
        """Fit a flicker; see `Fittable.fit`. Random are the shifts of `roll`.

        Returns:
            The perturbation. Its `history` holds for each pass the mean "loss" and the
            "fooling_rate" of the clips, each looked at in its turn while the pattern moves, and
            after it the pattern's "thickness" and "roughness" in % of full scale, and "left_out",
            how many clips the model has wrong when clean.

        Raises:
            ValueError: for images, clips of several lengths, and when no clip is left to fit to.
        """
        with frozen(model):
            fit = FlickerFit(self, model, Samples.of(loader, model), seed=seed)
            history = fitted_in_passes(
                fit, passes=self.passes, progress=progress, state=state, keep=keep
            )
        return Perturbation(
            fit.pattern[0], "linf", self.eps, target=self.target, history=tuple(history)
        )
