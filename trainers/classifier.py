"""Fit a classifier; resumable, bit for bit, at every epoch's end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from augment import Dataset

Augment = Callable[..., Tensor]  # augment(x, *, generator) -> x


@dataclass(frozen=True)
class FitOptions:
    """How to fit; lengths in epochs, ``lr`` the peak of a cosine that starts after ``warmup``."""

    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.0
    ema: float = 0.0
    clip_norm: float | None = None
    bf16: bool = False


@dataclass(frozen=True)
class FitState:
    """All that fitting needs to go on after an epoch: flat tensors (for safetensors) and history (for JSON)."""

    tensors: dict[str, Tensor]
    epoch: int
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class FitResult:
    """One dict an epoch: epoch, loss, accuracy, lr, seconds."""

    history: list[dict[str, float]]


def fit_classifier(
    model: nn.Module,
    train: "Dataset",
    options: FitOptions,
    *,
    seed: int,
    augment: Augment | None = None,
    device: str | torch.device = "cpu",
    state: FitState | None = None,
    on_epoch: Callable[[FitState], Any] | None = None,
) -> FitResult:
    """Fit ``model`` in place."""
    raise NotImplementedError
