"""Fit an attack to the training samples so that a killed run goes on after its last pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from attacks import Attack, load_fitted
from attacks.common.randomness import derive_seed
from attacks.universal.fitting import FitCheckpoint, Fittable
from attacks.universal.saved_attack import Record, SavedAttack
from augment import Dataset, iterate
from augment.batches import Batch
from trainers.run.folder.atomic import is_present, make_checked
from trainers.run.folder.checkpoint import load_tensors, save_tensors
from trainers.run.job_context import JobContext, load_split
from trainers.run.show.progress import Progress


@dataclass(frozen=True)
class ShuffledBatches:
    """The batches of a dataset in one random order, the same each time it is gone through.

    Attributes:
        ds: the dataset.
        batch_size: samples in a batch.
        seed: of the order.
        device: where the batches are put.
        progress: called with (batches used, batches in all).
    """

    ds: Dataset
    batch_size: int
    seed: int
    device: torch.device
    progress: Callable[[int, int], None]

    def __iter__(self) -> Iterator[Batch]:
        """Yield x (B, ...), y (B,) and the numbers of the samples (B,); tell how many were used."""
        batches = iterate(self.ds, batch_size=self.batch_size, seed=self.seed, device=self.device)
        total = -(-len(self.ds) // self.batch_size)
        for number, batch in enumerate(batches, 1):
            yield batch
            self.progress(number, total)


def fit_if_needed(
    context: JobContext, name: str, chosen: Attack | Fittable
) -> tuple[Attack, dict[str, Any]]:
    """Return an attack as it is, or fitted to the training split and kept in a file.

    After each pass the state goes to one running checkpoint, from which a killed run goes on.

    Args:
        context: the job's classifier and folder.
        name: of the attack, and of the file in the run folder that a fitted one is kept in.
        chosen: the attack, or the options of its fit.

    Returns:
        The attack, and what summary.json is to say about its fit: {} where there is none.
    """
    if not isinstance(chosen, Fittable):
        return chosen, {}
    folder = context.folder
    train, file = load_split(context.config, "train", folder), folder.path / f"{name}.safetensors"
    running, seal = (folder.checkpoints / end for end in ("fit.safetensors", f"{name}.json"))
    make_checked(file, seal, lambda: _fit(context, running, chosen, train).save(file))
    running.unlink(missing_ok=True)
    attack = load_fitted(file)
    _note_passes(context, attack.history)
    last, passes = attack.history[-1], len(attack.history)
    used = min(len(train), getattr(chosen, "samples", len(train)))  # a substitute's fit takes some
    return attack, {"fit": {"file": file.name, "samples": used, "passes": passes, **last}}


def _note_passes(context: JobContext, history: Sequence[Record]) -> None:
    """Note what was measured after each pass so far, what is not noted yet."""
    for number, record in enumerate(history, 1):
        values = {f"fit/{name}": value for name, value in record.items()}
        context.folder.metrics.add(f"fit/pass-{number:03}", step=number, values=values)


def _fit(context: JobContext, running: Path, options: Fittable, train: Dataset) -> SavedAttack:
    """Fit, from the running checkpoint when there is one."""
    tensors, history = load_tensors(running) if is_present(running) else ({}, [])
    seed, size = derive_seed(context.seed, "fit attack"), context.batch_size
    with Progress(context.folder, "fit the attack", total=options.passes, done=len(history)) as bar:

        def on_epoch(now: FitCheckpoint) -> None:
            context.folder.check_held()
            _note_passes(context, now.history)
            save_tensors(running, now.tensors, now.history)
            bar.step()

        return options.fit(
            context.model,
            ShuffledBatches(train, size, derive_seed(seed, "order"), context.device, bar.within),
            seed=seed,
            checkpoint=FitCheckpoint(tensors, history) if history else None,
            on_epoch=on_epoch,
        )


def with_target(options: Attack | Fittable, target: int | None) -> Attack | Fittable:
    """Return the options of a fit, for the target of the job where they have such an option.

    Raises:
        ValueError: when they name another one.
    """
    if not isinstance(options, Fittable) or not hasattr(options, "target"):
        return options
    named = options.target
    if named is not None and target not in (None, named):
        raise ValueError(f"--target is class {target}, and --attack has target={named}; give one")
    changed: Fittable = replace(cast(Any, options), target=named if target is None else target)
    return changed
