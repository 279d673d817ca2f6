"""What a classifier gets right, clean and under attack."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from attacks import AttackResult
    from augment import Dataset


class AttackedBatch(NamedTuple):
    """One attacked batch: ``index`` (B,) into the dataset, ``x``, labels ``y`` (B,), ``clean`` (B,) bool: right before the attack."""

    index: Tensor
    x: Tensor
    y: Tensor
    clean: Tensor
    result: "AttackResult"


@dataclass(frozen=True)
class AttackMeasurement:
    """Means over the samples; ``survived`` (N,) bool: right when clean and not fooled."""

    samples: int
    clean_accuracy: float
    robust_accuracy: float
    success: float
    median_l2: float
    delta_l1: float
    delta_sparsity: float
    loss: float
    queries: float
    seconds: float
    survived: Tensor
    warnings: list[str]


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, K) of x (B, C, ...) in eval mode; the model is left as it was."""
    raise NotImplementedError


def clean_accuracy(
    model: nn.Module, ds: "Dataset", *, batch_size: int = 256, device: str | torch.device = "cpu"
) -> float:
    """Share of samples whose top class is the label."""
    raise NotImplementedError


def attack_batches(
    attack: Any,
    model: nn.Module,
    ds: "Dataset",
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    target: int | None = None,
    skip: int = 0,
) -> Iterator[AttackedBatch]:
    """Attack ``ds`` batch by batch, in order; ``skip`` leaves out the first batches (resume)."""
    raise NotImplementedError


def score_batch(batch: AttackedBatch) -> dict[str, Tensor]:
    """Per-sample columns (B,) of one batch, which can be kept in a file and joined later by ``summarise``."""
    raise NotImplementedError


def summarise(
    columns: Sequence[dict[str, Tensor]], *, seconds: float = 0.0, warnings: Sequence[str] = ()
) -> AttackMeasurement:
    """Join the columns of all batches (``score_batch``) into one measurement."""
    raise NotImplementedError


def evaluate_attack(
    attack: Any,
    model: nn.Module,
    ds: "Dataset",
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    target: int | None = None,
) -> AttackMeasurement:
    """Attack every sample and measure."""
    raise NotImplementedError


def worst_case(measurements: Sequence[AttackMeasurement]) -> float:
    """Share of samples that survive all attacks."""
    raise NotImplementedError
