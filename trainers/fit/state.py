"""The state of a fit between two epochs, flat, and how to take and give it back."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.common.optimizers import moments, restore_moments
from attacks.universal.fitting import take_prefix
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
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
    history: list[Record],
    best: Mapping[str, Tensor] | None = None,
) -> FitState:
    """Copy everything that the next epoch depends on; `best` is the state of a `BestEpoch`."""
    average = ema.average if ema else {}
    parts: dict[str, Mapping[str, Tensor | None]] = {
        "model": model.state_dict(),
        "ema": average,
        "optimizer": moments(optimizer),
        "best": best or {},
    }
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
    model.load_state_dict(take_prefix("model.", state.tensors))
    if ema:
        ema.restore(take_prefix("ema.", state.tensors))
    restore_moments(optimizer, take_prefix("optimizer.", state.tensors))
    return [dict(record) for record in state.history]
