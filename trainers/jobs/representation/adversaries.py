"""Make the adversaries of a trial, batch by batch, so that a killed run goes on."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from attacks import AttackResult
from attacks.common.randomness import derive_seed
from attacks.feature.guided_attack import GuidedAttack
from trainers.evaluate.evaluation import predict, top_classes
from trainers.evaluate.measure_resumable import item_file, join_warnings, log_warnings
from trainers.evaluate.scores import join_columns
from trainers.jobs.representation.setup import RepresentationSetup, Trial
from trainers.run.folder.checkpoint import is_finished, load_item, save_item


def make_adversaries(
    setup: RepresentationSetup, model: nn.Module, trial: Trial, *, step: Callable[[], None]
) -> tuple[dict[str, Tensor], list[str]]:
    """Attack all pairs, or find what was made of them before.

    Args:
        setup: the pairs.
        model: the classifier, with the trial's weights.
        trial: the attack.
        step: called after each batch.

    Returns:
        Columns (N,): the adversaries "x_adv" (N, ...), "answer", what the classifier calls them,
        the largest change "linf" and "seconds"; and the attack's warnings.
    """
    folder, parts, warnings = setup.context.folder, [], []
    for number, rows in enumerate(batches(setup)):
        file = folder.checkpoints / trial.items / item_file(number)
        if not is_finished(file):
            folder.check_held()
            make_batch(setup, model, trial, rows, file)
        tensors, found = load_item(file)
        parts.append(tensors)
        warnings.append(found)
        step()
    return join_columns(parts), join_warnings(warnings, len(setup.pairs))


def batches(setup: RepresentationSetup) -> tuple[Tensor, ...]:
    """Split the numbers of all pairs into batches, int64 (B,) each."""
    return torch.split(torch.arange(len(setup.pairs)), setup.context.batch_size)


def make_batch(
    setup: RepresentationSetup, model: nn.Module, trial: Trial, rows: Tensor, file: Path
) -> None:
    """Attack some pairs, and keep what was found."""
    began = time.perf_counter()
    result = attack_pairs(setup, model, trial, rows)
    seconds = (time.perf_counter() - began) / len(rows)
    columns = {
        "x_adv": result.x_adv,
        "answer": top_classes(predict(model, result.x_adv)),
        "linf": result.linf,
        "seconds": torch.full((len(rows),), seconds),
    }
    log_warnings(trial.name, result)
    save_item(file, columns, result.info.get("warnings", []))


def attack_pairs(
    setup: RepresentationSetup, model: nn.Module, trial: Trial, rows: Tensor
) -> AttackResult:
    """Lead the sources of some pairs to their guides; without guides, to the guides' classes."""
    pairs, device = setup.pairs, setup.context.device
    x, y = (part.to(device) for part in pairs.ds.stack(pairs.sources[rows]))
    guide, label = (part.to(device) for part in pairs.ds.stack(pairs.guides[rows]))
    seed = derive_seed(setup.context.seed, "representation")
    ids = [pairs.ids[row] for row in rows.tolist()]
    if isinstance(trial.attack, GuidedAttack):
        return trial.attack(model, x, y, guide=guide, seed=seed, sample_ids=ids)
    return trial.attack(model, x, y, target=label, seed=seed, sample_ids=ids)
