"""What a classifier gets right, clean and under attack."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks import AttackResult
from attacks.attack import Attack
from attacks.guard import frozen
from attacks.randomness import derive_seed
from augment import Dataset, iterate

Columns = dict[str, Tensor]

SPARSE_BELOW = 1 / 255  # a smaller change of a value does not show in an 8-bit picture


@dataclass(frozen=True)
class AttackedBatch:
    """One attacked batch.

    Attributes:
        index: (B,) int64, numbers of the samples in the dataset.
        y: (B,) labels; of unlabelled samples the classifier's own answer.
        clean: (B,) bool, whether the classifier was right before the attack.
        result: what the attack returned.
    """

    index: Tensor
    y: Tensor
    clean: Tensor
    result: AttackResult


@dataclass(frozen=True)
class AttackMeasurement:
    """How a classifier does under one attack, over N samples.

    Attributes:
        samples: N.
        clean_accuracy: share of samples that are right before the attack.
        robust_accuracy: share of samples that are right before and not fooled.
        success: share fooled among those right before; NaN if there are none.
        median_l2: median length of the change among those; NaN if none was fooled.
        delta_l1: mean absolute change of a value, in [0, 1] units, over all samples.
        delta_sparsity: share of values changed by less than ``SPARSE_BELOW``.
        loss: mean final loss of the attack.
        queries: mean number of forward passes a sample.
        seconds: time spent.
        survived: (N,) bool, right before and not fooled.
        warnings: what the attack reported, each once.
    """

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
    with frozen(model), torch.no_grad():
        logits: Tensor = model(x)
    return logits


def clean_accuracy(
    model: nn.Module,
    ds: Dataset,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> float:
    """Share of samples whose top class is the label; a sample with a NaN logit is wrong.

    Raises:
        ValueError: when there are no samples.
    """
    _check_samples(ds)
    right = torch.zeros((), dtype=torch.int64, device=device)
    with frozen(model), torch.no_grad():
        for x, y, _ in iterate(ds, batch_size=batch_size, device=device):
            right += _right(model(x), y).sum()
    return int(right) / len(ds)


def attack_batches(
    attack: Attack,
    model: nn.Module,
    ds: Dataset,
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    target: int | None = None,
    skip: int = 0,
) -> Iterator[AttackedBatch]:
    """Attack the samples of ``ds`` in order, a batch at a time.

    A sample's random numbers follow from ``seed`` and its id in the dataset, so that neither
    the batch size nor a resume changes its result.

    Args:
        attack: any of ``ATTACKS``, with its options.
        model: the classifier, on ``device``.
        ds: what to attack.
        batch_size: samples in a batch.
        seed: of the attack.
        device: where to attack.
        target: class that every sample is driven to; None for any wrong class.
        skip: number of batches at the start that are done already.
    """
    rest = range(min(skip * batch_size, len(ds)), len(ds))
    for x, y, index in iterate(ds.subset(rest), batch_size=batch_size, device=device):
        index = index + rest.start
        logits = predict(model, x)
        y = torch.where(y < 0, logits.argmax(1), y)
        result = attack(
            model,
            x,
            y,
            target=None if target is None else torch.full_like(y, target),
            seed=seed,
            sample_ids=[derive_seed(ds.ids[i]) for i in index.tolist()],
        )
        yield AttackedBatch(index, y, _right(logits, y), result)


def score_batch(batch: AttackedBatch) -> Columns:
    """Per-sample columns (B,) of one batch, on the CPU, for a file or for ``summarise``.

    Returns:
        index, clean, fooled, l2, delta_l1, delta_sparsity, loss, queries; see
        ``AttackMeasurement``.
    """
    result, change = batch.result, batch.result.delta.abs().flatten(1)  # (B, C*H*W)
    columns = {
        "index": batch.index,
        "clean": batch.clean,
        "fooled": result.success,
        "l2": result.l2,
        "delta_l1": change.mean(1),
        "delta_sparsity": (change < SPARSE_BELOW).float().mean(1),
        "loss": result.loss,
        "queries": result.queries,
    }
    return {name: column.detach().cpu() for name, column in columns.items()}


def summarise(
    columns: Sequence[Columns], *, seconds: float = 0.0, warnings: Sequence[str] = ()
) -> AttackMeasurement:
    """Join the columns of all batches into one measurement.

    Raises:
        ValueError: when there are none.
    """
    if not columns:
        raise ValueError("there are no attacked samples to summarise; attack at least one")
    table = {name: torch.cat([part[name] for part in columns]) for name in columns[0]}  # (N,)
    clean, fooled = table["clean"], table["clean"] & table["fooled"]
    survived = clean & ~fooled

    def mean(name: str) -> float:
        return float(table[name].double().mean())

    return AttackMeasurement(
        samples=len(clean),
        clean_accuracy=mean("clean"),
        robust_accuracy=float(survived.double().mean()),
        success=float(fooled[clean].double().mean()),
        median_l2=float(table["l2"][fooled].double().quantile(0.5)) if fooled.any() else torch.nan,
        delta_l1=mean("delta_l1"),
        delta_sparsity=mean("delta_sparsity"),
        loss=mean("loss"),
        queries=mean("queries"),
        seconds=seconds,
        survived=survived,
        warnings=list(dict.fromkeys(warnings)),
    )


def evaluate_attack(
    attack: Attack,
    model: nn.Module,
    ds: Dataset,
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    target: int | None = None,
) -> AttackMeasurement:
    """Attack every sample of ``ds`` (see ``attack_batches``) and measure."""
    _check_samples(ds)
    start = time.perf_counter()
    columns: list[Columns] = []
    warnings: list[str] = []
    for batch in attack_batches(
        attack, model, ds, batch_size=batch_size, seed=seed, device=device, target=target
    ):
        columns.append(score_batch(batch))
        warnings += batch.result.info.get("warnings", [])
    return summarise(columns, seconds=time.perf_counter() - start, warnings=warnings)


def worst_case(measurements: Sequence[AttackMeasurement]) -> float:
    """Share of samples that survive every one of the attacks, all run on the same samples.

    Raises:
        ValueError: when there are no measurements.
    """
    if not measurements:
        raise ValueError("there are no measurements; evaluate at least one attack")
    survived = torch.stack([m.survived for m in measurements]).all(0)  # (N,)
    return float(survived.double().mean())


def _right(logits: Tensor, y: Tensor) -> Tensor:
    """Tell whether the top class is the label, (B,) bool; never where a logit is not finite."""
    return (logits.argmax(1) == y) & torch.isfinite(logits).all(1)


def _check_samples(ds: Dataset) -> None:
    if not len(ds):
        raise ValueError(f"{ds.name} has no samples to evaluate; give at least one")
