"""Fitted attacks, and the safetensors file that holds one."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.batch_attack import BatchAttack, Call
from attacks.common.best_by_loss import verify
from attacks.common.forward import is_random
from attacks.common.goal import Goal
from attacks.errors import RefusedInput
from attacks.files import digest, packed, read_tensors, write_bytes

Tensors = dict[str, Tensor]
Config = dict[str, Any]  # ready for JSON
Record = dict[str, float]  # measurements of one epoch of a fit, by name
_DAMAGE = (OSError, RecursionError, SafetensorError, KeyError, TypeError, ValueError)


class SavedAttack(BatchAttack):
    """A fitted attack that can be saved to a file.

    Attributes:
        kind: names the type of attack in the file.
        history: one record for each epoch of the fit.
    """

    kind: ClassVar[str]
    history: Sequence[Record]

    def __post_init__(self) -> None:
        """Take what a fit made, or a file holds, as it is: these are no options."""

    @abstractmethod
    def state(self) -> tuple[Tensors, Config]:
        """Return the attack's tensors by name, and its options without the history.

        Raises:
            ValueError: when an option cannot be written as JSON.
        """

    @classmethod
    @abstractmethod
    def from_state(cls, tensors: Tensors, config: Config) -> Self:
        """Build the attack from its `state`, the history added to `config` as "history".

        Raises:
            ValueError: when tensors and options do not fit each other.
        """

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; equal attacks give equal bytes.

        Raises:
            OSError: when the disk is full, say; an earlier file of that name is then untouched.
        """
        tensors, config = self.state()
        plain = {name: t.detach().cpu() for name, t in tensors.items()}
        content = {"kind": self.kind, "config": config | {"history": list(self.history)}}
        head = json.dumps(content, sort_keys=True)
        write_bytes(Path(path), packed(plain, {"fitted": head, "digest": digest(plain, head)}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an attack that `save` wrote.

        Raises:
            RefusedInput: when the file is missing, damaged, or holds another kind of content.
        """
        try:
            tensors, notes = read_tensors(path)
            head = json.loads(notes["fitted"])
            if head["kind"] != cls.kind:
                raise ValueError(f"it holds {head['kind']!r}, not {cls.kind!r}")
            now = digest(tensors, notes["fitted"])
            if notes.get("digest", now) != now:  # older files have none
                raise ValueError("it was changed after it was written")
            for name, tensor in tensors.items():
                if not bool(torch.isfinite(tensor).all()):
                    raise ValueError(f"{name} holds NaN or infinity")
            return cls.from_state(tensors, head["config"])
        except _DAMAGE as error:
            raise _refused(path, error) from error

    @staticmethod
    def check_fitted_target(target: Tensor | None, fitted: int | None) -> None:
        """Raise ValueError unless a fitted attack reaches the classes that a call asks for.

        Args:
            target: classes to reach, int64 (B,); None for an untargeted call.
            fitted: the class that the attack was fitted to reach; None for an untargeted fit.
        """
        if target is not None and (fitted is None or bool((target != fitted).any())):
            made = "no target" if fitted is None else f"target={fitted}"
            raise ValueError(
                f"target is {sorted(set(target.tolist()))}, and the attack was fitted with {made}; "
                "fit one for that class"
            )

    @staticmethod
    def verify(call: Call, x_adv: Tensor, info: dict[str, Any] | None = None) -> AttackResult:
        """Evaluate perturbed samples that took no query of the model.

        Args:
            call: the checked call.
            x_adv: perturbed samples, like call.x.
            info: entries of the result's `info`.
        """
        return verify(
            call,
            x_adv,
            Goal(call.y, call.target),
            queries=torch.zeros_like(call.y),
            random=is_random(call.model, call.x[:2]),
            info=info,
        )


def kind_of(path: str | Path) -> str:
    """Return the `kind` of the fitted attack in a file.

    Raises:
        RefusedInput: when the file is missing, damaged, or holds no fitted attack.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return str(json.loads((file.metadata() or {})["fitted"])["kind"])
    except _DAMAGE as error:
        raise _refused(path, error) from error


def _refused(path: str | Path, error: Exception) -> RefusedInput:
    return RefusedInput(
        f"{path} does not hold a fitted attack that can be used ({error}); give a file written by "
        "its save, or by the job attack"
    )
