"""What a classifier gets right, clean and under attack."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from attacks.attack import Attack, AttackResult, Progress
from attacks.common.frozen import frozen
from attacks.common.goal import logits_of
from augment import Dataset
from augment.batches import LabelledBatch, Samples, labelled_batches
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.guides import attack_with_guides
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
        after: (B,) its answers to the perturbed samples, as `before`; None where not asked.
        confidences: (B, 2) the softmax of its answers before and after; None where not asked.
    """

    index: Tensor
    y: Tensor
    before: Tensor
    classes: int
    result: AttackResult
    target: Tensor | None = None
    after: Tensor | None = None
    confidences: Tensor | None = None

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
    ds: Samples,
    *,
    batch_size: int = 256,
    device: str | torch.device | None = None,
) -> float:
    """Share of samples whose top class is the label; a sample with a NaN logit is wrong.

    Args:
        model: the classifier.
        ds: a `Dataset`, or any iterable of batches (x, y), such as a DataLoader.
        batch_size: samples in a batch of a `Dataset`.
        device: where to work; None takes the model's.

    Raises:
        ValueError: when there are no samples.
    """
    device = device or device_of(model)
    right = torch.zeros((), dtype=torch.int64, device=device)
    n = 0
    with frozen(model), torch.no_grad():
        for batch in labelled_batches(ds, batch_size=batch_size, device=device):
            right += (top_classes(logits_of(model, batch.x)) == batch.y).sum()
            n += len(batch.x)
    if not n:
        raise no_samples(ds)
    return int(right) / n


def clean_doubts(
    model: nn.Module, ds: Dataset, *, batch_size: int, device: str | torch.device = "cpu"
) -> list[str]:
    """Return why a classifier may be none, by its answers to clean samples; see `doubts_of`."""
    before, labels, classes = [], [], 2
    for batch in labelled_batches(ds, batch_size=batch_size, device=device):
        logits = predict(model, batch.x)
        own, classes = top_classes(logits), logits.shape[1]
        before.append(own.cpu())
        labels.append(torch.where(batch.y < 0, own, batch.y).cpu())
    return doubts_of(torch.cat(before), torch.cat(labels), classes=classes)


def attack_batches(
    attack: Attack,
    model: nn.Module,
    ds: Samples,
    *,
    batch_size: int = 256,
    seed: int = 0,
    device: str | torch.device | None = None,
    target: int | None = None,
    numbers: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Iterator[AttackedBatch]:
    """Attack the samples of ``ds`` in order, a batch at a time.

    A sample's random numbers follow from ``seed`` and its id, of a loader without ids its content,
    whatever the batch or a resume.

    Args:
        attack: any of ``ATTACKS``, with its options.
        model: the classifier, on ``device``.
        ds: what to attack: a `Dataset`, or any iterable of batches (x, y), such as a DataLoader.
        batch_size: samples in a batch of a `Dataset`.
        seed: of the attack.
        device: where to attack; None takes the model's.
        target: class that every sample is driven to; None for any wrong class.
        numbers: which batches, ascending; None for all.
        progress: called with (steps done, steps in all) of the attack on the present batch.
    """
    device = device or device_of(model)
    others = ds
    if isinstance(ds, Dataset) and numbers is not None:  # the others are not even read
        rows = [i for n in numbers for i in range(len(ds))[n * batch_size : (n + 1) * batch_size]]
        places = torch.tensor(rows)  # of the rows in the whole
        ds, numbers = ds.subset(rows), None
    else:
        places = None
    for number, batch in enumerate(labelled_batches(ds, batch_size=batch_size, device=device)):
        if numbers is None or number in numbers:
            perturb = partial(attack_with_guides, attack, others=others, progress=progress)
            yield _attack_batch(perturb, model, batch, seed=seed, target=target, places=places)


def _attack_batch(
    perturb: Callable[..., AttackResult],
    model: nn.Module,
    batch: LabelledBatch,
    *,
    seed: int,
    target: int | None,
    places: Tensor | None,
) -> AttackedBatch:
    """Attack a batch; `places` (N,) are those of its samples, where they are others."""
    logits = predict(model, batch.x)
    y = torch.where(batch.y < 0, logits.argmax(1), batch.y)
    wanted = None if target is None else torch.full_like(y, target)
    result = perturb(model, batch.x, y, target=wanted, seed=seed, sample_ids=batch.ids)
    later = predict(model, result.x_adv)
    return AttackedBatch(
        batch.index if places is None else places[batch.index],
        y,
        top_classes(logits),
        logits.shape[1],
        result,
        wanted,
        top_classes(later),
        torch.stack([each.softmax(1).amax(1) for each in (logits, later)], 1),  # (B, 2)
    )


def evaluate_attack(
    attack: Attack,
    model: nn.Module,
    ds: Samples,
    *,
    batch_size: int = 256,
    seed: int = 0,
    device: str | torch.device | None = None,
    target: int | None = None,
) -> AttackMeasurement:
    """Attack every sample of ``ds`` and measure.

    Args:
        attack: any of ``ATTACKS``, with its options.
        model: the classifier, on ``device``.
        ds: what to attack: a `Dataset`, or any iterable of batches (x, y), such as a DataLoader.
        batch_size: samples in a batch of a `Dataset`.
        seed: of the attack.
        device: where to attack; None takes the model's.
        target: class that every sample is driven to; None for any wrong class.

    Raises:
        ValueError: when there are no samples.
    """
    start = time.perf_counter()
    columns, warnings, classes = [], [], 2
    for batch in attack_batches(
        attack, model, ds, batch_size=batch_size, seed=seed, device=device, target=target
    ):
        columns.append(score_batch(batch))
        warnings += batch.result.info.get("warnings", [])
        classes = batch.classes
    if not columns:
        raise no_samples(ds)
    seconds, budget = time.perf_counter() - start, budget_of(attack)
    return summarise(columns, seconds=seconds, warnings=warnings, budget=budget, classes=classes)


def score_batch(batch: AttackedBatch) -> Columns:
    """Per-sample columns (B,) of one batch, on the CPU, for a file or for ``summarise``.

    Returns:
        index, label, before, clean, attackable, fooled (the goal is met, by those too that could
        not be attacked), linf, l2, l1, delta_l1, delta_sparsity, loss, queries; see
        ``AttackMeasurement``; after, confidence and confidence_after where they were asked for.
        What the attack alone reports of each sample follows as "info.NAME", (B,) or (B, n).
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
    if batch.after is not None and batch.confidences is not None:
        early, late = (column.clone() for column in batch.confidences.unbind(1))
        columns |= {"after": batch.after, "confidence": early, "confidence_after": late}
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


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first weights; the CPU for a model without."""
    held = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if held is None else held.device


def no_samples(ds: Samples) -> ValueError:
    """Return the error of nothing to evaluate."""
    name = ds.name if isinstance(ds, Dataset) else f"the {type(ds).__name__}"
    return ValueError(f"{name} has no samples to evaluate; give at least one")
