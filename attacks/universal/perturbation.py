"""One perturbation for all samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Norm, Progress
from attacks.common.frozen import frozen
from attacks.common.goal import Goal
from attacks.common.inputs import check_call, clone_inputs
from attacks.common.threat import Threat, check_norm
from attacks.common.verify import verify
from attacks.common.warnings import is_random
from attacks.universal.fitting import Record, check_aim
from attacks.universal.saved_attack import Config, SavedAttack, Tensors


@dataclass(frozen=True, eq=False)
class Perturbation(SavedAttack):
    """A change of pixels that is added to every sample; itself an attack.

    Attributes:
        delta: added to each sample; of a shape that broadcasts over (C, H, W) or (C, T, H, W).
        norm: of the ball that no sample leaves: "linf", "l2" or "l1".
        eps: its radius in pixel units.
        target: the class it was made to reach; None for any other class.
        history: what was measured after each pass of its fit.
    """

    delta: Tensor
    norm: Norm
    eps: float
    target: int | None = None
    history: Sequence[Record] = ()
    kind: ClassVar[str] = "universal"

    def apply(self, x: Tensor) -> Tensor:
        """Return x + delta, moved into the ball around x and into [0, 1].

        Args:
            x: samples (B, ...) in [0, 1].

        Raises:
            ValueError: when the perturbation was made for samples of another shape.
        """
        if x.ndim != self.delta.ndim + 1 or not _fits(self.delta.shape, x.shape[1:]):
            raise ValueError(
                f"the perturbation is for samples {tuple(self.delta.shape)} and x has shape "
                f"{tuple(x.shape)}; resize x, or fit one for its shape"
            )
        return Threat.around(x, norm=self.norm, eps=self.eps).project(x + self.delta.to(x))

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
        """Perturb x without looking at the model; see `Attack.__call__`. Nothing is random."""
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        with frozen(model):
            x, y, target = clone_inputs(model, x, y, target)
            check_aim(target, self.target)
            x_adv = self.apply(x)
            result = verify(
                model,
                x,
                x_adv,
                goal=Goal(y, target),
                queries=torch.zeros_like(y),
                random=is_random(model, x[:2]),
            )
        if progress:
            progress(1, 1)
        return result

    def state(self) -> tuple[Tensors, Config]:
        """Return what `save` writes."""
        config = {"norm": self.norm, "eps": self.eps, "target": self.target}
        return {"delta": self.delta}, config | {"history": list(self.history)}

    @classmethod
    def from_state(cls, tensors: Tensors, config: Config) -> "Perturbation":
        """Return what `load` read."""
        check_norm(config["norm"])
        history = tuple(config["history"])
        return cls(tensors["delta"], config["norm"], config["eps"], config["target"], history)


def _fits(small: Sequence[int], large: Sequence[int]) -> bool:
    """Tell whether a shape broadcasts over another of as many dimensions.

    >>> _fits((3, 1, 1), (3, 8, 8)), _fits((3, 8, 8), (1, 8, 8))
    (True, False)
    """
    return all(s in (1, n) for s, n in zip(small, large, strict=True))
