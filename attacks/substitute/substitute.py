"""Black-box attack through a substitute: the model is known by the labels it gives, no more."""

import math
from dataclasses import dataclass, field

from torch import nn

from attacks.attack import Attack, Progress
from attacks.common.frozen import frozen
from attacks.common.options import check_kinds
from attacks.gradient.fgsm import FGSM
from attacks.substitute.substitute_attack import Substitute
from attacks.substitute.substitute_fit import SubstituteFit
from attacks.universal.fitting import Keep, Loader, Samples, Snapshot, fitted_in_passes


@dataclass(frozen=True)
class BlackBoxSubstitute:
    """Options of a fit that gives a stand-in for a model and attacks it, a `Substitute`.

    The model is asked for labels alone. In each round the substitute is fitted to all labels so
    far; then every sample gets a neighbour, a step along the sign of the substitute's gradient
    for the sample's label, and the model is asked for the neighbours' labels.

    Args:
        attack: on the substitute, any of ATTACKS.
        rounds: of asking and fitting.
        samples: to begin with, the first of the loader: they should hold all classes.
        budget: labels to ask for at most, no fewer than `samples`; the last round draws the
            samples that get neighbours.
        lam: length of the step to a neighbour, in each value.
        epochs: of the fit in each round.
        lr: Adam's learning rate.
        width: channels of the substitute's first convolution.

    Source: Papernot et al. 2017, algorithm 1.
    """

    attack: Attack = field(default_factory=FGSM)
    rounds: int = 6
    samples: int = 150
    budget: int = 6400
    lam: float = 0.1
    epochs: int = 10
    lr: float = 1e-3
    width: int = 32

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        for name in ("rounds", "samples", "budget", "epochs", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number >= 1")
        if self.budget < self.samples:
            raise ValueError(
                f"budget is {self.budget}, and the first {self.samples} samples cost a label each; "
                "give at least as much, or fewer samples"
            )
        for name in ("lam", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; give a finite number > 0")

    @property
    def passes(self) -> int:
        """Rounds, as other fits count their passes over the samples."""
        return self.rounds

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        state: Snapshot | None = None,
        keep: Keep | None = None,
    ) -> Substitute:
        """Ask `model` for labels and fit a substitute; see `Fittable.fit`.

        Returns:
            The substitute; its `history` holds, for each round, the labels asked for so far as
            "queries", and the share of these samples on which both agree as "agreement".
        """
        with frozen(model):
            fit = SubstituteFit(self, model, Samples.of(loader, model), seed=seed)
            history = fitted_in_passes(
                fit, passes=self.rounds, progress=progress, state=state, keep=keep
            )
        weights = fit.network.cpu().state_dict()
        return Substitute(weights, fit.shape, self.attack, tuple(history))
