"""What a classifier gets right, clean and under attack."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attacks.attack import Attack, AttackResult
from attacks.common.frozen import frozen
from attacks.common.goal import logits_of
from attacks.common.randomness import derive_seed
from augment import Dataset, iterate
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.scores import AttackMeasurement, Columns, doubts_of, summarise

SPARSE_BELOW = 1 / 255  # a smaller change of a value does not show in an 8-bit picture
OWN = "info."  # begins the names of the columns that one attack alone reports
WIDEST = 64  # numbers that an attack may report of a sample and still be listed in a table


@dataclass(frozen=True)
class AttackedBatch:
    """One attacked batch.

    Attributes:
        index: (B,) int64, numbers of the samples in the dataset.
        y: (B,) labels; of unlabelled samples the classifier's own answer.
        before: (B,) its answers before the attack; -1 where a logit is not finite.
        classes: how many classes it tells apart.
        result: what the attack returned.
        target: (B,) the classes to reach; None for any wrong one.
    """

    index: Tensor
    y: Tensor
    before: Tensor
    classes: int
    result: AttackResult
    target: Tensor | None = None

    @property
    def clean(self) -> Tensor:
        """Which samples the classifier had right before the attack, (B,) bool."""
        return self.before == self.y

    @property
    def attackable(self) -> Tensor:
        """Which samples could be attacked, (B,) bool.

        Those that were right before; with a target, those that neither have it as their label nor
        were called it before.
        """
        if self.target is None:
            return self.clean
        return (self.y != self.target) & (self.before != self.target)


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, K) of x (B, C, ...) in eval mode; the model is left as it was."""
    with frozen(model), torch.no_grad():
        return logits_of(model, x)


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
            right += (top_classes(logits_of(model, x)) == y).sum()
    return int(right) / len(ds)


def clean_doubts(
    model: nn.Module, ds: Dataset, *, batch_size: int, device: str | torch.device = "cpu"
) -> list[str]:
    """Return why a classifier may be none, by its answers to clean samples; see `doubts_of`."""
    before, labels, classes = [], [], 2
    for x, y, _ in iterate(ds, batch_size=batch_size, device=device):
        logits = predict(model, x)
        own, classes = top_classes(logits), logits.shape[1]
        before.append(own.cpu())
        labels.append(torch.where(y < 0, own, y).cpu())
    return doubts_of(torch.cat(before), torch.cat(labels), classes=classes)


def attack_batches(
    attack: Attack,
    model: nn.Module,
    ds: Dataset,
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device = "cpu",
    target: int | None = None,
    numbers: Sequence[int] | None = None,
) -> Iterator[AttackedBatch]:
    """Attack the samples of ``ds`` in order, a batch at a time.

    A sample's random numbers follow from ``seed`` and its id, whatever the batch or a resume.

    Args:
        attack: any of ``ATTACKS``, with its options.
        model: the classifier, on ``device``.
        ds: what to attack.
        batch_size: samples in a batch.
        seed: of the attack.
        device: where to attack.
        target: class that every sample is driven to; None for any wrong class.
        numbers: which batches, ascending; None for all.
    """
    rows: Sequence[int] = range(len(ds))
    if numbers is not None:
        rows = [row for n in numbers for row in rows[n * batch_size : (n + 1) * batch_size]]
    index_of = torch.tensor(rows)  # of a place among those rows
    for x, y, places in iterate(ds.subset(rows), batch_size=batch_size, device=device):
        index = index_of[places]
        logits = predict(model, x)
        y = torch.where(y < 0, logits.argmax(1), y)
        wanted = None if target is None else torch.full_like(y, target)
        ids = [derive_seed(ds.ids[i]) for i in index.tolist()]
        result = attack(model, x, y, target=wanted, seed=seed, sample_ids=ids)
        yield AttackedBatch(index, y, top_classes(logits), logits.shape[1], result, wanted)


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
    columns, warnings = [], []
    for batch in attack_batches(
        attack, model, ds, batch_size=batch_size, seed=seed, device=device, target=target
    ):
        columns.append(score_batch(batch))
        warnings += batch.result.info.get("warnings", [])
    seconds, budget, classes = time.perf_counter() - start, budget_of(attack), batch.classes
    return summarise(columns, seconds=seconds, warnings=warnings, budget=budget, classes=classes)


def score_batch(batch: AttackedBatch) -> Columns:
    """Per-sample columns (B,) of one batch, on the CPU, for a file or for ``summarise``.

    Returns:
        index, label, before, clean, attackable, fooled (the goal is met, by those too that could
        not be attacked), linf, l2, l1, delta_l1, delta_sparsity, loss, queries; see
        ``AttackMeasurement``. What the attack alone reports of each sample follows as
        "info.NAME", (B,) or (B, n).
    """
    result, change = batch.result, batch.result.delta.abs().flatten(1)  # (B, C*H*W)
    columns = {
        "index": batch.index,
        "label": batch.y,
        "before": batch.before,
        "clean": batch.clean,
        "attackable": batch.attackable,
        "fooled": result.success,
        "linf": result.linf,
        "l2": result.l2,
        "l1": result.l1,
        "delta_l1": change.mean(1),
        "delta_sparsity": (change < SPARSE_BELOW).float().mean(1),
        "loss": result.loss,
        "queries": result.queries,
    }
    own = {f"{OWN}{name}": column for name, column in own_columns(result).items()}
    return {name: column.detach().cpu() for name, column in {**columns, **own}.items()}


def own_columns(result: AttackResult) -> Columns:
    """Return what an attack alone reports of each sample: numbers, a row for each.

    Tensors (B,) or (B, n) of few numbers and lists of B numbers count; larger things, such as the
    weights of generators, and what is said of the whole batch do not.
    """
    found = {name: _column(value, len(result.x)) for name, value in result.info.items()}
    return {name: column for name, column in found.items() if column is not None}


def _column(value: Any, batch: int) -> Tensor | None:
    """Return a value as a column of a table with so many rows, or None."""
    if isinstance(value, list) and all(isinstance(item, int | float) for item in value):
        value = torch.tensor(value)
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or len(value) != batch:
        return None
    if value.ndim == 2 and not 0 < value.shape[1] <= WIDEST:
        return None
    return value.contiguous()


def top_classes(logits: Tensor) -> Tensor:
    """Return the top classes of logits (B, K), (B,); -1 where one is not finite."""
    return logits.argmax(1).masked_fill(~torch.isfinite(logits).all(1), -1)


def _check_samples(ds: Dataset) -> None:
    if not len(ds):
        raise ValueError(f"{ds.name} has no samples to evaluate; give at least one")
