"""Transfer: samples made on one classifier, tried on others."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attacks.attack import Attack
from augment import Dataset
from augment.batches import Samples
from trainers.evaluate.evaluation import AttackedBatch, attack_batches, predict, top_classes
from trainers.evaluate.scores import Columns, join_columns
from trainers.intervals import wilson


def transfer_columns(batch: AttackedBatch, models: Mapping[str, nn.Module]) -> Columns:
    """Try the samples of an attacked batch on several classifiers.

    Returns:
        For each of M classifiers who is right on the clean samples and who still is on the
        perturbed ones: right and kept, (B, M) bool.
    """
    right = [top_classes(predict(model, batch.result.x)) == batch.y for model in models.values()]
    kept = [top_classes(predict(model, batch.result.x_adv)) == batch.y for model in models.values()]
    return {"right": torch.stack(right, 1).cpu(), "kept": torch.stack(kept, 1).cpu()}


def transfer_counts(columns: Columns, source: int) -> tuple[Tensor, Tensor]:
    """Count the samples that carry over from a source to each of M classifiers.

    Args:
        columns: of `transfer_columns`, (N, ...).
        source: the place of the classifier that the samples were made on.

    Returns:
        Fooled and attackable, int64 (M,) each: of the samples that source and target both had
        right, those that the target has wrong after the attack.
    """
    both = columns["right"] & columns["right"][:, source, None]  # (N, M)
    return (both & ~columns["kept"]).sum(0), both.sum(0)


def transfer_table(
    attack: Attack,
    models: Mapping[str, nn.Module],
    samples: Samples,
    *,
    batch_size: int = 256,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Make samples on each of M classifiers, and count on whom each of them fools.

    Args:
        attack: makes samples one by one, such as PGD; without an early stop they go further.
        models: by name, all on one device.
        samples: a `Dataset`, or batches (x, y), any number of times.
        batch_size: samples in a batch of a `Dataset`.
        seed: of the attack.

    Returns:
        Fooled and attackable, int64 (M, M) each: a row for each classifier that samples were made
        on, a column for each that they were tried on; see `transfer_counts`.

    Raises:
        ValueError: when there are no samples, or they are an iterator, which ends with one pass.

    Source: Papernot et al. 2016 (Transferability in machine learning), section 3.
    """
    if not isinstance(samples, Dataset) and iter(samples) is samples:
        raise ValueError(
            "samples are an iterator, which ends with the first classifier; give a list of "
            "batches, a DataLoader or a Dataset"
        )
    counts = []
    for source, model in enumerate(models.values()):
        found = attack_batches(attack, model, samples, batch_size=batch_size, seed=seed)
        columns = join_columns([transfer_columns(batch, models) for batch in found])
        counts.append(torch.stack(transfer_counts(columns, source)))
    fooled, attackable = torch.stack(counts).unbind(1)  # (M, M) each
    return fooled, attackable


def transfer_rows(names: list[str], fooled: Tensor, attackable: Tensor) -> list[dict[str, object]]:
    """Return the table of `transfer_table` as rows for JSON, one for each ordered pair."""
    return [
        {
            "made_on": names[i],
            "tried_on": names[j],
            "fooled": int(fooled[i, j]),
            "attackable": int(attackable[i, j]),
            "success": float(fooled[i, j] / attackable[i, j]) if attackable[i, j] else None,
            "success_interval": wilson(int(fooled[i, j]), int(attackable[i, j])),
        }
        for i in range(len(names))
        for j in range(len(names))
    ]
