"""A universal perturbation: one change of pixels for all samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.common.batch_attack import Call
from attacks.common.threat import Threat, check_norm
from attacks.universal.saved_attack import Config, Record, SavedAttack, Tensors


@dataclass(frozen=True, eq=False)
class Perturbation(SavedAttack):
    """One change of pixels that is added to every sample, without a query of the model.

    Attributes:
        delta: the change; its shape broadcasts over (C, H, W) or (C, T, H, W).
        norm: "linf", "l2" or "l1".
        eps: radius in `norm`, in pixel units, of the ball around each sample.
        target: the class that the fit raised; None for an untargeted fit.
        history: one record for each epoch of the fit.
    """

    delta: Tensor
    norm: Norm
    eps: float
    target: int | None = None
    history: Sequence[Record] = ()
    kind: ClassVar[str] = "universal"

    def apply(self, x: Tensor) -> Tensor:
        """Return x + delta, projected onto the ball around x and onto [0, 1].

        Args:
            x: samples (B, ...) in [0, 1].

        Raises:
            ValueError: when delta does not broadcast over the samples.
        """
        if x.ndim != self.delta.ndim + 1 or not _broadcasts(self.delta.shape, x.shape[1:]):
            raise ValueError(
                f"the perturbation is for samples {tuple(self.delta.shape)} and x has shape "
                f"{tuple(x.shape)}; resize x, or fit one for its shape"
            )
        return Threat.around(x, norm=self.norm, eps=self.eps).project(x + self.delta.to(x))

    def perturb(self, call: Call) -> AttackResult:
        """Add delta to the samples of a batch and evaluate the model on them."""
        self.check_fitted_target(call.target, self.target)
        result = self.verify(call, self.apply(call.x))
        call.progress(1, 1)
        return result

    def state(self) -> tuple[Tensors, Config]:
        """Return delta, and norm, eps and target."""
        return {"delta": self.delta}, {"norm": self.norm, "eps": self.eps, "target": self.target}

    @classmethod
    def from_state(cls, tensors: Tensors, config: Config) -> "Perturbation":
        """Build a perturbation from its `state`.

        Raises:
            ValueError: for an unknown norm.
        """
        check_norm(config["norm"])
        history = tuple(config["history"])
        return cls(tensors["delta"], config["norm"], config["eps"], config["target"], history)


def _broadcasts(small: Sequence[int], large: Sequence[int]) -> bool:
    """Tell whether a shape broadcasts over another of as many dimensions.

    >>> _broadcasts((3, 1, 1), (3, 8, 8)), _broadcasts((3, 8, 8), (1, 8, 8))
    (True, False)
    """
    return all(s in (1, n) for s, n in zip(small, large, strict=True))
