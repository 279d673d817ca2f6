"""A fitted adversarial transformer: one forward pass perturbs a batch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Progress
from attacks.common.frozen import frozen
from attacks.common.goal import Goal
from attacks.common.inputs import check_call, clone_inputs
from attacks.common.randomness import sample_generators
from attacks.common.verify import verify
from attacks.common.warnings import is_random
from attacks.transformer.atn_network import ATNShape, Weights, transform
from attacks.universal.fitting import Record, check_aim
from attacks.universal.saved_attack import Config, SavedAttack, Tensors


@dataclass(frozen=True, eq=False)
class FittedATN(SavedAttack):
    """A network that perturbs samples of one shape; itself an attack.

    Attributes:
        weights: by name, see `ATNShape.initial`.
        shape: of the network.
        target: the class it was fitted to reach; None for one fitted to reach any.
        history: what was measured in each pass of its fit.
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
        """Perturb x in one forward pass of the network; see `Attack.__call__`.

        Without a target, a transformer fitted to reach any class aims at a random one but y.

        Returns:
            The result; `info["target"]` (B,) are the classes aimed at.
        """
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        generators = sample_generators(x, seed=seed, sample_ids=sample_ids)
        with frozen(model):
            x, y, target = clone_inputs(model, x, y, target)
            if self.target is not None:
                check_aim(target, self.target)
            wanted = self._aimed(y, generators) if target is None else target
            x_adv = self.apply(x, wanted)
            result = verify(
                model,
                x,
                x_adv,
                goal=Goal(y, target),
                queries=torch.zeros_like(y),
                random=is_random(model, x[:2]),
                info={"target": wanted},
            )
        if progress:
            progress(1, 1)
        return result

    def _aimed(self, y: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the classes to aim at where none is asked for, (B,)."""
        if self.target is not None:
            return torch.full_like(y, self.target)
        classes = self.shape.classes
        shift = torch.cat([torch.randint(1, classes, (1,), generator=g) for g in generators])
        return (y + shift.to(y)) % classes

    def state(self) -> tuple[Tensors, Config]:
        """Return what `save` writes."""
        config = {"shape": asdict(self.shape), "target": self.target}
        return self.weights, config | {"history": list(self.history)}

    @classmethod
    def from_state(cls, tensors: Tensors, config: Config) -> "FittedATN":
        """Return what `load` read.

        Raises:
            ValueError: when the weights are not those of the shape.
        """
        shape = ATNShape(**config["shape"])
        sizes = {name: w.shape for name, w in shape.initial(torch.Generator()).items()}
        if {name: w.shape for name, w in tensors.items()} != sizes:
            raise ValueError(f"its weights are not those of {shape}")
        return cls(tensors, shape, config["target"], tuple(config["history"]))
