"""What is measured of a round's classifier, on test and on validation samples."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attacks import Attack
from augment import Dataset
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.evaluation import OWN
from trainers.evaluate.failures import keep_failures, worst_failures
from trainers.evaluate.measure_resumable import AttackTask, measure_resumable
from trainers.evaluate.per_class import class_table
from trainers.evaluate.robustness import worst_cases
from trainers.evaluate.scores import AttackMeasurement, Columns, finite_or_none, median_or_none
from trainers.evenly_spaced import evenly_spaced
from trainers.intervals import Interval, mean_interval
from trainers.jobs.evaluate import make_summary, worst_case_entry
from trainers.jobs.evaluation.answers import strongest_attack
from trainers.jobs.rounds.features import save_features
from trainers.jobs.rounds.following import draw_frames, follow, keep_batch, load_kept, mean_history
from trainers.jobs.rounds.reviewing import count_decisions
from trainers.jobs.rounds.setup import Rounds, comes_fitted, round_name
from trainers.run.cli.config import LoopFlags
from trainers.run.cli.specs.attacks import slug
from trainers.run.folder.checkpoint import load_item

log = logging.getLogger(__name__)
Row = dict[str, Any]


def measure_round(rounds: Rounds, number: int, *, follow_ids: Sequence[str] = ()) -> Row:
    """Attack held-out samples with the test attacks, and some of them with the main attack.

    Args:
        rounds: the run.
        number: the round.
        follow_ids: of the samples that earlier rounds followed; empty chooses them.
    """
    bank = rounds.bank(number)
    robust = measure_split(rounds, number, "test", rounds.test, rounds.test_attacks)
    strongest = strongest_case(robust, rounds.config.loop)
    cases = worst_cases(robust, first=budget_of(rounds.config.loop))
    first = next(iter(robust.values()))
    intervals = {name: m.robust_accuracy_interval for name, m in robust.items()}
    for doubt in first.doubts:
        log.warning("%s", doubt)
    _, fitted = load_item(rounds.file(number, ".safetensors"))
    troubles = [f"fit of round {number}: {fitted['warning']}"] if fitted["warning"] else []
    return {
        "round": number,
        "samples": first.samples,
        "clean_accuracy": first.clean_accuracy,
        "clean_accuracy_interval": first.clean_accuracy_interval,
        "robust_accuracy": {name: m.robust_accuracy for name, m in robust.items()},
        "robust_accuracy_interval": intervals,
        "budgets": {name: m.budget and str(m.budget) for name, m in robust.items()},
        "worst_case": strongest["accuracy"],
        "worst_case_interval": strongest["interval"],
        "worst_case_attacks": strongest["attacks"],
        "validation": validate_round(rounds, number),
        "classes": class_table(
            robust, rounds.test.classes, worst=cases[0].survived if cases else None
        ),
        "failures": show_failures(
            rounds, number, strongest_attack(robust, next(iter(cases), None))
        ),
        "costs": {name: cost_of(m) for name, m in robust.items()},
        **measure_main_attack(rounds, number, follow_ids),
        "bank_size": len(bank),
        "accepted": len(rounds.fitted(bank)),
        "reviews": count_decisions(bank, number),
        "warnings": [*first.doubts, *troubles],
    }


def measure_split(
    rounds: Rounds, number: int, split: str, ds: Dataset, attacks: Mapping[str, Attack]
) -> dict[str, AttackMeasurement]:
    """Measure the classifier of a round under each attack, by name."""
    measured = {}
    for name, attack in attacks.items():
        task = split_task(rounds, number, split, ds, name, attack)
        watch = partial(keep_failures, rounds.context.model, task) if split == "test" else None
        measured[name], _ = measure_resumable(rounds.context, task, watch=watch)
    return measured


def split_task(
    rounds: Rounds, number: int, split: str, ds: Dataset, name: str, attack: Attack
) -> AttackTask:
    """Return the task of measuring the classifier of a round under an attack."""
    items = rounds.file(number) / f"{split}-{slug(name)}"
    return AttackTask(measured_name(number, name, split), attack, ds, items, rounds.measuring_seed)


def show_failures(rounds: Rounds, number: int, name: str) -> list[Row]:
    """Draw the worst failures of a round under a test attack; see `worst_failures`."""
    folder = rounds.context.folder
    task = split_task(rounds, number, "test", rounds.test, name, rounds.test_attacks[name])
    return worst_failures(task, folder.figures / round_name(number), root=folder.path)


def measured_name(number: int, attack: str, split: str) -> str:
    """Return how messages call the measurement of a round by an attack.

    >>> measured_name(1, "pgd", "test"), measured_name(1, "pgd", "val")
    ('round 1: pgd', 'round 1: pgd (val)')
    """
    return f"round {number}: {attack}" + (f" ({split})" if split != "test" else "")


def list_stages(rounds: Rounds) -> list[str]:
    """Return the names of all stages of a run that ends after its last round, in their order."""
    last, stages = rounds.config.loop.rounds, []
    for number in range(last + 1):
        measured = [measured_name(number, name, "test") for name in rounds.test_attacks]
        if rounds.val is not None:
            measured += [measured_name(number, name, "val") for name in rounds.test_attacks]
        measured.append(measured_name(number, rounds.main_attack, "main"))
        if number:
            stages.append(f"round {number}: attack")
        if number and rounds.reference is not None:
            stages.append(f"round {number}: review")
        if number or not comes_fitted(rounds.config):
            stages.append(f"round {number}: fit")
        stages += [f"measure {name}" for name in measured]
    final = [measured_name(last, name, "final") for name in rounds.final_attacks]
    return stages + [f"measure {name}" for name in final]


def measure_best(rounds: Rounds, number: int) -> Row:
    """Measure the classifier that is handed over, a round's, under --final-attacks."""
    measured = measure_split(rounds, number, "final", rounds.test, rounds.final_attacks)
    return {"round": number} | make_summary(measured, usual_budget=budget_of(rounds.config.loop))


def strongest_case(measured: Mapping[str, AttackMeasurement], loop: LoopFlags) -> Row:
    """Return the accuracy under whichever attack does best on each sample.

    It joins those of one budget, the run's where there are any; where none has a budget, it is the
    least accuracy under any.
    """
    cases = worst_cases(measured, first=budget_of(loop))
    if cases:
        return worst_case_entry(cases[0])
    name = min(measured, key=lambda name: measured[name].robust_accuracy)
    found = measured[name]
    interval = found.robust_accuracy_interval
    return {"accuracy": found.robust_accuracy, "interval": interval, "attacks": [name]}


def validate_round(rounds: Rounds, number: int) -> Row | None:
    """Measure on validation samples what the choice of a round, and the end of all, go by."""
    if rounds.val is None:
        return None
    measured = measure_split(rounds, number, "val", rounds.val, rounds.test_attacks)
    first = next(iter(measured.values()))
    strongest = strongest_case(measured, rounds.config.loop)
    return {
        "samples": first.samples,
        "clean_accuracy": first.clean_accuracy,
        "worst_case": strongest["accuracy"],
        "worst_case_interval": strongest["interval"],
    }


def measure_main_attack(rounds: Rounds, number: int, follow_ids: Sequence[str]) -> Row:
    """Attack some held-out samples with the main attack."""
    loop, test = rounds.config.loop, rounds.test
    some = test.subset(evenly_spaced(len(test), loop.generator_test_samples))
    attack, items = rounds.attacks[rounds.main_attack], rounds.file(number) / "lead"
    seed = rounds.measuring_seed
    name = measured_name(number, rounds.main_attack, "main")
    task = AttackTask(name, attack, some, items, seed)
    watch = partial(keep_batch, items.with_name("lead-kept"), len(some))
    measurement, columns = measure_resumable(rounds.context, task, watch=watch)
    kept = load_kept(items.with_name("lead-kept"))
    followed = follow(rounds, number, some, columns, kept, follow_ids)
    draw_frames(rounds, number, some, columns, followed)
    save_features(rounds, number, some, kept)
    fooled = columns["attackable"] & columns["fooled"]
    return {
        "attack": rounds.main_attack,
        "attack_success": finite_or_none(measurement.success),
        "attack_success_interval": measurement.success_interval,
        "attackable": measurement.attackable,
        "fooled": measurement.fooled,
        "attack_loss": finite_or_none(measurement.loss),
        "attack_loss_interval": interval_of(columns["loss"]),
        "delta_l1": finite_or_none(measurement.delta_l1),
        "delta_l1_interval": interval_of(columns["delta_l1"][fooled]),
        "delta_sparsity": finite_or_none(measurement.delta_sparsity),
        "delta_sparsity_interval": interval_of(columns["delta_sparsity"][fooled]),
        **{f"median_{norm}": median_or_none(columns[norm][fooled]) for norm in measurement.sizes},
        "attack_cost": cost_of(measurement),
        "loss_above_threshold": share_above_threshold(columns, loop.loss_threshold),
        "loss_by_step": [] if kept.history is None else mean_history(kept.history),
        "followed": followed,
    }


def cost_of(measurement: AttackMeasurement) -> Row:
    """Return how long an attack took, and on how many samples."""
    return {"seconds": measurement.seconds, "samples": measurement.samples}


def interval_of(values: Tensor) -> Interval | None:
    """Return the 95 % interval of the mean of the finite values of (N,)."""
    return mean_interval(values[torch.isfinite(values)].double().tolist())


def share_above_threshold(columns: Columns, threshold: float) -> float | None:
    """Return the share of the attackable samples on which a generator missed the threshold.

    What counts is the score sum of eq. (1), without the distance, after the attack. None for
    another attack, which has no such loss, and where no sample could be attacked.
    """
    scores, attackable = columns.get(f"{OWN}score_sum"), columns["attackable"]
    if scores is None or not attackable.any():
        return None
    return float((~(scores[attackable] < threshold)).double().mean())
