"""A trained adversarial transformation network: one forward pass perturbs a batch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.batch_attack import Call
from attacks.common.goal import Goal
from attacks.transformer.atn_network import ATNShape, Weights, transform
from attacks.universal.saved_attack import Config, Record, SavedAttack, Tensors


@dataclass(frozen=True, eq=False)
class FittedATN(SavedAttack):
    """A network that perturbs samples without a query of the model.

    An untargeted call of a network without a fixed target draws a random class other than y for
    each sample. The result's `info["target"]` (B,) holds the classes aimed at.

    Attributes:
        weights: by name, see `ATNShape.initial`.
        shape: of the network.
        target: the class that the network was trained to reach; None for any class.
        history: one record for each epoch of the fit.
    """

    weights: Weights
    shape: ATNShape
    target: int | None = None
    history: Sequence[Record] = ()
    kind: ClassVar[str] = "atn"

    def apply(self, x: Tensor, target: Tensor) -> Tensor:
        """Return the perturbed samples, like x in [0, 1].

        Args:
            x: samples (B, C, H, W) or (B, C, T, H, W) in [0, 1].
            target: classes to aim at, int64 (B,).

        Raises:
            ValueError: for samples of another kind, or a class that the network does not know.
        """
        if (x.shape[1], x.ndim - 2) != (self.shape.channels, self.shape.dims):
            kind = {2: "images", 3: "videos"}[self.shape.dims]
            raise ValueError(
                f"the transformer is for {kind} of {self.shape.channels} channels and x has shape "
                f"{tuple(x.shape)}; fit one for such samples"
            )
        Goal(target).check_classes(x.new_empty(0, self.shape.classes))
        weights = {name: weight.to(x) for name, weight in self.weights.items()}
        with torch.no_grad():
            return transform(weights, x, target, shape=self.shape)

    def perturb(self, call: Call) -> AttackResult:
        """Transform the samples of a batch and evaluate the model on them."""
        if self.target is not None:
            self.check_fitted_target(call.target, self.target)
        target = self._choose_targets(call) if call.target is None else call.target
        result = self.verify(call, self.apply(call.x, target), {"target": target})
        call.progress(1, 1)
        return result

    def _choose_targets(self, call: Call) -> Tensor:
        """Return the network's fixed target, or random classes other than y, (B,)."""
        if self.target is not None:
            return torch.full_like(call.y, self.target)
        classes, generators = self.shape.classes, call.generators
        shift = torch.cat([torch.randint(1, classes, (1,), generator=g) for g in generators])
        return (call.y + shift.to(call.y)) % classes

    def state(self) -> tuple[Tensors, Config]:
        """Return the weights, and the network's shape and target."""
        return self.weights, {"shape": asdict(self.shape), "target": self.target}

    @classmethod
    def from_state(cls, tensors: Tensors, config: Config) -> "FittedATN":
        """Build a network from its `state`.

        Raises:
            ValueError: when the weights are not those of the shape.
        """
        shape = ATNShape(**config["shape"])
        sizes = {name: w.shape for name, w in shape.initial(torch.Generator()).items()}
        if {name: w.shape for name, w in tensors.items()} != sizes:
            raise ValueError(f"its weights are not those of {shape}")
        return cls(tensors, shape, config["target"], tuple(config["history"]))
