"""The state of a fit between two epochs, flat, and how to take and give it back."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.fit.ema import Ema

Record = dict[str, float]


@dataclass(frozen=True)
class FitState:
    """All that fitting needs to go on after an epoch.

    Attributes:
        tensors: weights, optimiser state and average by name: ready for safetensors.
        epoch: epochs done.
        history: one record an epoch: ready for JSON.
    """

    tensors: dict[str, Tensor]
    epoch: int
    history: list[Record]


def pack(
    model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None, history: list[Record]
) -> FitState:
    """Copy everything that the next epoch depends on."""
    moments = optimizer.state_dict()["state"]
    parts = {"model": model.state_dict(), "ema": ema.average if ema else {}}
    parts |= {f"optimizer.{i}": values for i, values in moments.items()}
    tensors = {
        f"{part}.{name}": t.detach().clone(memory_format=torch.contiguous_format)
        for part, values in parts.items()
        for name, t in values.items()
        if t is not None
    }
    return FitState(tensors, len(history), [dict(record) for record in history])


def unpack(
    state: FitState, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None
) -> list[Record]:
    """Give a state back to a model, optimiser and average of the same kind.

    Returns:
        The history so far.
    """
    model.load_state_dict(_part(state, "model"))
    if ema:
        ema.restore(_part(state, "ema"))
    content = optimizer.state_dict()
    content["state"] = {}
    for name, tensor in _part(state, "optimizer").items():
        index, _, key = name.partition(".")
        content["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(content)
    return [dict(record) for record in state.history]


def _part(state: FitState, part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {k.removeprefix(prefix): t for k, t in state.tensors.items() if k.startswith(prefix)}
