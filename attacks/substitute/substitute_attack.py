"""A fitted substitute: what fools it, often fools the model it stands in for."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import Attack, AttackResult, Progress
from attacks.common.frozen import frozen
from attacks.common.goal import Goal
from attacks.common.inputs import check_call, clone_inputs
from attacks.common.verify import verify
from attacks.common.warnings import is_random
from attacks.registry import ATTACKS
from attacks.substitute.substitute_network import SubstituteShape
from attacks.universal.fitting import Record
from attacks.universal.saved_attack import Config, SavedAttack, Tensors


@dataclass(frozen=True, eq=False)
class Substitute(SavedAttack):
    """A classifier fitted to another's labels, and an attack on it; itself an attack.

    Attributes:
        weights: of the substitute's network, by name.
        shape: of that network.
        attack: with which the network is attacked; `dataclasses.replace` gives another.
        history: what was measured in each round of the fit; its last "queries" are the labels
            that the substitute cost.
    """

    weights: Tensors
    shape: SubstituteShape
    attack: Attack
    history: Sequence[Record] = ()
    kind: ClassVar[str] = "substitute"

    def network(self) -> nn.Module:
        """Return the substitute, a classifier of samples in [0, 1] in eval mode."""
        network = self.shape.build(seed=0)
        network.load_state_dict(self.weights)
        return network

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
        """Attack the substitute, then look once at what the model says; see `Attack.__call__`.

        Returns:
            The result on the model, `queries` those of the model. `info` holds
            "substitute_success" (B,) and "label_queries", the labels asked for in the fit.
        """
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        asked = int(self.history[-1]["queries"]) if self.history else 0
        with frozen(model):
            x, y, target = clone_inputs(model, x, y, target)
            inner = self.attack(
                self.network().to(x),
                x,
                y,
                target=target,
                seed=seed,
                sample_ids=sample_ids,
                progress=progress,
            )
            result = verify(
                model,
                x,
                inner.x_adv,
                goal=Goal(y, target),
                queries=torch.zeros_like(y),
                random=is_random(model, x[:2]),
                info={"substitute_success": inner.success, "label_queries": asked},
            )
        warnings = [f"substitute: {text}" for text in inner.info.get("warnings", [])]
        if warnings:
            result.info["warnings"] = [*result.info.get("warnings", []), *warnings]
        return result

    def state(self) -> tuple[Tensors, Config]:
        """Return what `save` writes.

        Raises:
            ValueError: when its attack is none of ATTACKS, or has an option of its own a sample.
        """
        config = {"shape": asdict(self.shape), "attack": _described(self.attack)}
        return self.weights, config | {"history": list(self.history)}

    @classmethod
    def from_state(cls, tensors: Tensors, config: Config) -> "Substitute":
        """Return what `load` read."""
        shape = SubstituteShape(**config["shape"])
        attack = ATTACKS[config["attack"]["name"]](**config["attack"]["options"])
        made = cls(tensors, shape, attack, tuple(config["history"]))
        try:
            made.network()
        except RuntimeError as error:
            raise ValueError(f"its weights are not those of {shape}") from error
        return made


def _described(attack: Attack) -> dict[str, Any]:
    """Return an attack's name in ATTACKS and its options."""
    names = {kind: name for name, kind in ATTACKS.items()}
    options = asdict(attack)
    if type(attack) not in names or any(isinstance(v, Tensor) for v in options.values()):
        raise ValueError(
            f"{attack} cannot be saved; allowed are those of ATTACKS, with one eps for all samples"
        )
    return {"name": names[type(attack)], "options": options}
