"""What a fitted attack is kept in: one safetensors file with its kind and its options."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from attacks.errors import RefusedInput
from attacks.files import digest, packed, write_bytes

Tensors = dict[str, Tensor]
Config = dict[str, Any]  # ready for JSON


class SavedAttack(ABC):
    """A fitted attack that can be kept in a file; `kind` is its name in FITTED."""

    kind: ClassVar[str]

    @abstractmethod
    def state(self) -> tuple[Tensors, Config]:
        """Return the tensors and the options that it is made of."""

    @classmethod
    @abstractmethod
    def from_state(cls, tensors: Tensors, config: Config) -> Self:
        """Make it of its parts again."""

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; equal attacks make equal files.

        Raises:
            OSError: when the disk is full, say; an earlier file of that name is then untouched.
        """
        tensors, config = self.state()
        plain = {name: t.detach().cpu() for name, t in tensors.items()}
        head = json.dumps({"kind": self.kind, "config": config}, sort_keys=True)
        write_bytes(Path(path), packed(plain, {"fitted": head, "digest": digest(plain, head)}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RefusedInput: when the file is missing, damaged, or holds something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                head, notes = _head(file), file.metadata()
                if head["kind"] != cls.kind:
                    raise ValueError(f"it holds {head['kind']!r}, not {cls.kind!r}")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            now = digest(tensors, notes["fitted"])
            if notes.get("digest", now) != now:  # older files have none
                raise ValueError("it was changed after it was written")
            for name, tensor in tensors.items():
                if not bool(torch.isfinite(tensor).all()):
                    raise ValueError(f"{name} holds NaN or infinity")
            return cls.from_state(tensors, head["config"])
        except (OSError, RecursionError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise _refused(path, error) from error


def kind_of(path: str | Path) -> str:
    """Return which fitted attack a file holds.

    Raises:
        RefusedInput: when it holds none.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return str(_head(file)["kind"])
    except (OSError, RecursionError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _refused(path, error) from error


def _head(file: Any) -> dict[str, Any]:
    """Return the kind and the config in an opened file."""
    head: dict[str, Any] = json.loads((file.metadata() or {})["fitted"])
    return head


def _refused(path: str | Path, error: Exception) -> RefusedInput:
    return RefusedInput(
        f"{path} does not hold a fitted attack that can be used ({error}); give a file written by "
        "its save, or by the job attack"
    )
