"""The worst case of each sample so far, in a file from which a killed run resumes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.goal import Goal
from attacks.errors import RefusedInput
from attacks.files import digest, packed, read_tensors, write_bytes

NOBODY, CLEAN = -1, 0  # who fooled a sample: no member, or the sample was wrong by itself


@dataclass
class EvaluationState:
    """The worst case of each sample so far.

    Attributes:
        x_adv: (B, ...); the clean sample where nobody fooled the model.
        fooled_by: NOBODY, CLEAN, or the number of the member that did, from 1; int64 (B,).
        queries: forward passes spent, int64 (B,).
        members: how many have run.
        warnings: what they reported, each after the member's name.
    """

    x_adv: Tensor
    fooled_by: Tensor
    queries: Tensor
    members: int
    warnings: list[str]

    @classmethod
    def start(cls, x: Tensor, goal: Goal, logits: Tensor) -> "EvaluationState":
        """Begin with the clean samples x (B, ...) and their logits (B, K)."""
        fooled_by = torch.where(goal.is_adversarial(logits), CLEAN, NOBODY)
        return cls(x, fooled_by, torch.ones_like(goal.y), 0, [])

    def add(self, name: str, rows: Tensor, result: AttackResult) -> None:
        """Add the result of the next member, for the samples in rows, int64 (A,)."""
        self.members += 1
        self.queries = self.queries.index_add(0, rows, result.queries)
        won = rows[result.success]
        self.x_adv = self.x_adv.index_copy(0, won, result.x_adv[result.success])
        self.fooled_by = self.fooled_by.index_fill(0, won, self.members)
        self.warnings += [f"{name}: {text}" for text in result.info.get("warnings", [])]

    def counts(self, names: Sequence[str]) -> dict[str, int]:
        """Return how many samples each member has fooled, and how many were wrong by themselves."""
        numbers = enumerate(["clean", *names])
        return {name: int((self.fooled_by == number).sum()) for number, name in numbers}

    def save(self, path: Path) -> None:
        """Write the state to a safetensors file.

        Raises:
            OSError: when the disk is full, say; an earlier file of that name is then untouched.
        """
        tensors = {"x_adv": self.x_adv, "fooled_by": self.fooled_by, "queries": self.queries}
        plain = {name: tensor.cpu() for name, tensor in tensors.items()}
        notes = {"members": str(self.members), "warnings": json.dumps(self.warnings)}
        write_bytes(path, packed(plain, notes | {"digest": _digest(plain, notes)}))

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "EvaluationState":
        """Read what `save` wrote.

        Raises:
            RefusedInput: when the file is damaged, or holds no such state.
        """
        try:
            tensors, notes = read_tensors(path)
            if notes.pop("digest") != _digest(tensors, notes):
                raise ValueError("it was changed after it was written")
            return cls(
                **{name: tensor.to(device) for name, tensor in tensors.items()},
                members=int(notes["members"]),
                warnings=json.loads(notes["warnings"]),
            )
        except (OSError, RecursionError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RefusedInput(
                f"{path} does not hold the state of an AutoAttack run ({error}); remove it, and "
                "the run starts from the beginning"
            ) from error


def _digest(tensors: dict[str, Tensor], notes: dict[str, str]) -> str:
    return digest(tensors, json.dumps(notes, sort_keys=True))


def fingerprint(text: str, *tensors: Tensor | None) -> str:
    """Return a name for a text and the contents of some tensors, the same on every machine.

    >>> fingerprint("a", torch.zeros(2)) == fingerprint("a", torch.zeros(2), None)
    False
    """
    digest = blake2b(text.encode(), digest_size=16)
    for tensor in tensors:
        shown = "None" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
        digest.update(f"\x1f{shown}\x1f".encode())
        if tensor is not None:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
