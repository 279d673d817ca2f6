"""A defended classifier under attacks that know its defences, and under attacks that do not."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from attacks import Attack
from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.defences.defended_classifier import DefendedClassifier
from trainers.evaluate.evaluation import AttackedBatch, predict, top_classes
from trainers.evaluate.measure_resumable import (
    AttackTask,
    Watch,
    item_file,
    load_batches,
    measure_resumable,
)
from trainers.evaluate.scores import AttackMeasurement, summarise
from trainers.intervals import wilson
from trainers.run.cli.specs.attacks import slug
from trainers.run.folder.checkpoint import save_item
from trainers.run.job_context import JobContext

KNOWING = ("bpda", "eot")  # options with which an attack looks behind defences


def measure_anew(context: JobContext, task: AttackTask) -> AttackMeasurement:
    """Measure an attack by answers that the classifier gives after it, with new random numbers.

    Else an attack on a random classifier would count what one of its many draws made of a sample.
    """
    measured, columns = measure_resumable(context, task, watch=keep_answers(context, task))
    clean, right = load_answers(context, task)
    own = {"clean": clean, "attackable": clean, "fooled": ~right}
    anew = summarise(
        [columns | own],
        seconds=measured.seconds,
        warnings=measured.warnings,
        budget=measured.budget,
    )
    return replace(anew, doubts=measured.doubts)


def compare_knowledge(
    context: JobContext, attacks: Mapping[str, Attack], test: Dataset
) -> dict[str, Any]:
    """Compare what a defended classifier withstands by how much of its defences an attack knows.

    Attacks are made on the bare classifier ("blind"), through the defences along the gradients
    that these have ("as_is"), and with surrogates and mean gradients ("adaptive"); of each, the
    defended classifier is asked anew about what came of it.

    Args:
        context: the job, with a `DefendedClassifier`.
        attacks: the adaptive attacks by name, which `measure_anew` has measured.
        test: labelled samples.

    Returns:
        The rates with their intervals, by the names of summary.json.
    """
    model = cast(DefendedClassifier, context.model)
    bare, found = replace(context, model=model.model), {}
    for name, adaptive in attacks.items():
        plain = forget_defences(adaptive)
        known = knowledge_task(context, name, adaptive, test, way="")
        through = knowledge_task(context, name, plain, test, way="as-is")
        blind = knowledge_task(context, name, plain, test, way="blind")
        undefended, _ = measure_resumable(bare, blind, watch=keep_answers(context, blind))
        if plain == adaptive:
            through = known
        else:
            measure_resumable(context, through, watch=keep_answers(context, through))
        tasks = {"blind": blind, "as_is": through, "adaptive": known}
        found[name] = {
            "undefended": rate(undefended.survived),
            **{way: rate(load_answers(context, task)[1]) for way, task in tasks.items()},
        }
    return {
        "defences": list(context.config.classifier.defence),
        "undefended_clean_accuracy": rate(undefended.clean),
        "clean_accuracy": rate(load_answers(context, known)[0]),
        "attacks": found,
    }


def knowledge_task(
    context: JobContext, name: str, attack: Attack, test: Dataset, *, way: str
) -> AttackTask:
    """Return an attack made in some way as a task with a folder of its own."""
    items = context.folder.checkpoints / "-".join(filter(None, ("test", slug(name), way)))
    title = f"{name} ({way})" if way else name
    return AttackTask(title, attack, test, items, derive_seed(context.seed, "measure"))


def forget_defences(attack: Attack) -> Attack:
    """Return an attack without the options by which it looks behind defences."""
    plain: Any = attack
    options = {each.name: each.default for each in fields(plain) if each.name in KNOWING}
    forgetful: Attack = replace(plain, **options)
    return forgetful


def keep_answers(context: JobContext, task: AttackTask) -> Watch:
    """Return what keeps, of each attacked batch, the answers that the job's classifier then gives.

    They have random numbers of their own: those of a batch follow from its number.
    """

    def watch(number: int, batch: AttackedBatch) -> list[Path]:
        file = _answers(task) / item_file(number)
        right = []
        for name, x in (("clean", batch.result.x), ("attacked", batch.result.x_adv)):
            with torch.random.fork_rng(devices=[]):  # defences draw from the generator of the CPU
                torch.default_generator.manual_seed(derive_seed(context.seed, name, number))
                right.append(top_classes(predict(context.model, x)) == batch.y)
        save_item(file, {"clean": right[0], "right": right[0] & right[1]})
        return [file]

    return watch


def load_answers(context: JobContext, task: AttackTask) -> tuple[Tensor, Tensor]:
    """Return which samples were right clean, and which under the attack too, (N,) bool each."""
    columns, _ = load_batches(_answers(task), context, task.ds)
    return columns["clean"], columns["right"]


def _answers(task: AttackTask) -> Path:
    return task.items.with_name(f"answers-{task.items.name}")


def rate(right: Tensor) -> dict[str, Any]:
    """Return the share of a column (N,) that is true, with its interval."""
    count = int(right.sum())
    return {"accuracy": count / len(right), "interval": wilson(count, len(right))}
