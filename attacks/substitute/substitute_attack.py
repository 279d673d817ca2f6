"""A fitted substitute: samples that fool it often fool the model that it imitates."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from attacks.attack import Attack, AttackResult
from attacks.common.batch_attack import Call
from attacks.registry import ATTACKS
from attacks.substitute.substitute_network import SubstituteShape
from attacks.universal.saved_attack import Config, Record, SavedAttack, Tensors


@dataclass(frozen=True, eq=False)
class Substitute(SavedAttack):
    """A classifier that imitates another, and an attack on it, without a query of the model.

    The result's `info` holds "substitute_success" (B,) and "label_queries", the labels queried in
    the fit. Warnings of the attack on the substitute begin with "substitute: ".

    Attributes:
        weights: of the substitute's network, by name.
        shape: of that network.
        attack: on the substitute; `dataclasses.replace` exchanges it.
        history: one record for each round of the fit; the last one's "queries" are the cost of
            the substitute in labels.
    """

    weights: Tensors
    shape: SubstituteShape
    attack: Attack
    history: Sequence[Record] = ()
    kind: ClassVar[str] = "substitute"

    def network(self) -> nn.Module:
        """Return the substitute, a classifier of samples in [0, 1], in eval mode."""
        network = self.shape.build(seed=0)
        network.load_state_dict(self.weights)
        return network

    def perturb(self, call: Call) -> AttackResult:
        """Attack the substitute with the samples of a batch, then evaluate the model on them."""
        inner = self.attack(
            self.network().to(call.x),
            call.x,
            call.y,
            target=call.target,
            seed=call.seed,
            sample_ids=call.sample_ids,
            progress=call.progress,
        )
        queries = int(self.history[-1]["queries"]) if self.history else 0
        info = {"substitute_success": inner.success, "label_queries": queries}
        result = self.verify(call, inner.x_adv, info)
        warnings = [f"substitute: {text}" for text in inner.info.get("warnings", [])]
        if warnings:
            result.info["warnings"] = [*result.info.get("warnings", []), *warnings]
        return result

    def state(self) -> tuple[Tensors, Config]:
        """Return the weights, and the network's shape and the attack.

        Raises:
            ValueError: when the attack is none of ATTACKS, or has an option for each sample.
        """
        return self.weights, {"shape": asdict(self.shape), "attack": _describe(self.attack)}

    @classmethod
    def from_state(cls, tensors: Tensors, config: Config) -> "Substitute":
        """Build a substitute from its `state`.

        Raises:
            ValueError: when the weights are not those of the shape.
        """
        shape = SubstituteShape(**config["shape"])
        attack = ATTACKS[config["attack"]["name"]](**config["attack"]["options"])
        substitute = cls(tensors, shape, attack, tuple(config["history"]))
        try:
            substitute.network()
        except RuntimeError as error:
            raise ValueError(f"its weights are not those of {shape}") from error
        return substitute


def _describe(attack: Attack) -> dict[str, Any]:
    """Return an attack's name in ATTACKS and its options, ready for JSON."""
    names = {kind: name for name, kind in ATTACKS.items()}
    options = asdict(attack)
    if type(attack) not in names or any(isinstance(v, Tensor) for v in options.values()):
        raise ValueError(
            f"{attack} cannot be saved; allowed are those of ATTACKS, with one eps for all samples"
        )
    return {"name": names[type(attack)], "options": options}
