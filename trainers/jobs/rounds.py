"""The rounds: attack the training samples, retrain on what fools, attack again.

The run folder is the only state. Every item of work (a batch attacked, an epoch fitted, a batch
measured, a round) ends with a file that appears whole, and whose presence means done; what the
file holds follows from the options, the seed and the item's place alone. To resume is therefore
to run again: what is done is skipped, and nothing else differs.

Source: Rey-de-Castro & Rabitz 2018, section 5.3.
"""

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from attacks import Attack
from attacks.common.randomness import derive_seed
from augment import Dataset, MixedDataset, SampleBank
from augment.bank.bank import stored_keys
from augment.bank.review_log import reviewed_keys
from trainers.evaluate.batch_figures import draw_batch, drawn_pictures
from trainers.evaluate.evaluation import OWN, AttackedBatch
from trainers.evaluate.measure_resumable import AttackTask, measure_resumable
from trainers.evaluate.scores import AttackMeasurement, Columns, finite_or_none
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.augmentation import build_augmentation
from trainers.fit.fit_or_load import (
    check_inner_problem,
    fit_options,
    fit_or_load,
    load_weights,
    with_budget,
)
from trainers.jobs.collect_samples import (
    Item,
    accept_or_wait,
    collect_adversarial_samples,
    list_items,
)
from trainers.jobs.rounds_report import RoundsReport, round_name
from trainers.jobs.stopping import cannot_stop, stop_reason
from trainers.run.cli.config import RoundsConfig, RoundsFitFlags
from trainers.run.cli.specs import attack_defaults, build_attacks, sample_counts, slug
from trainers.run.folder.atomic import cached_json, is_cached, is_present
from trainers.run.folder.folder import RunFolder, remove_items
from trainers.run.folder.metrics import Stopwatch
from trainers.run.job_context import JobContext, load_job_classifier, load_splits

log = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True)
class Rounds:
    """Samples, classifier, attacks and options, which stay the same over all rounds."""

    context: JobContext
    first_weights: Mapping[str, Tensor]
    config: RoundsConfig
    train: Dataset
    test: Dataset
    attacks: Mapping[str, Attack]
    test_attacks: Mapping[str, Attack]

    @property
    def main_attack(self) -> str:
        """The attack whose success and loss are reported: the generator, or else the first."""
        return "generator" if "generator" in self.attacks else next(iter(self.attacks))

    def file(self, number: int, suffix: str = "") -> Path:
        """Return where something of a round is kept."""
        return self.context.folder.checkpoints / f"{round_name(number)}{suffix}"


def run_rounds(config: RoundsConfig, folder: RunFolder) -> None:
    """Attack, retrain and measure, round by round, until there is a reason to stop."""
    rounds, report = setup(config, folder), RoundsReport(folder, config)
    rows: list[Row] = []
    reason = None
    while reason is None:
        number = len(rows)
        rows.append(run_round(rounds, number))
        reason = stop_reason(rows, config.loop)
        if cannot_stop(rows, config.loop):
            log.info(
                "the generator leaves most test samples above --loss-threshold in round 0 already; "
                "that rule waits for a round in which it does not"
            )
        report.publish(rows, reason)
        remove_items(rounds.file(number))  # its row is all that is needed


def setup(config: RoundsConfig, folder: RunFolder) -> Rounds:
    """Build the attacks, load the samples and the classifier; all refusals come from here."""
    loop = config.loop
    defaults = attack_defaults(config, eps=loop.eps, norm=loop.norm)
    attacks = build_attacks(loop.attacks, defaults=defaults)
    measuring = attack_defaults(config, eps=loop.eps, norm=loop.norm, measuring=True)
    test_attacks = build_attacks(loop.test_attacks, defaults=measuring)
    sample_counts(loop.attack_samples, list(attacks))
    train, test = load_splits(config, folder, {**attacks, **test_attacks})
    build_augmentation(config.fit.augmentation, train)
    fit_options(fit_flags(config), first=False, batch_size=config.source.batch_size)
    context = load_job_classifier(config, folder, train)
    check_inner_problem(config.fit, context.model)
    first_weights = deepcopy(context.model.state_dict())
    return Rounds(context, first_weights, config, train, test, attacks, test_attacks)


def run_round(rounds: Rounds, number: int) -> Row:
    """Attack, retrain and measure once; round 0 only fits and measures.

    What is missing of a round that is over is made again, with the classifier and the bank of then.
    Its seconds are those of all processes that worked on it; of a killed one, up to the last item
    it finished, or a second less.
    """
    folder = rounds.context.folder
    stopwatch = folder.stopwatch = Stopwatch(rounds.file(number) / "seconds.json")
    if not is_complete(rounds, number):
        train_round(rounds, number)
    row: Row = cached_json(
        rounds.file(number, ".json"),
        lambda: measure_round(rounds, number) | {"seconds": stopwatch.seconds},
        beside=partial(drawn_pictures, folder.figures / round_name(number)),
    )
    return row


def is_complete(rounds: Rounds, number: int) -> bool:
    """Tell whether nothing that a round leaves is missing."""
    keys = {key for key, *_ in list_round_items(rounds, number)}
    bank = rounds.context.folder.path / "bank"
    return (
        is_present(rounds.file(number, ".safetensors"))
        and keys <= stored_keys(bank)
        and keys <= reviewed_keys(bank)
        and is_cached(rounds.file(number, ".json"))
        and round_name(number) in rounds.context.folder.metrics.lines
    )


def list_round_items(rounds: Rounds, number: int) -> list[Item]:
    """Return what a round attacks of the training samples: nothing in round 0."""
    context, samples = rounds.context, len(rounds.train)
    names, size = list(rounds.attacks) if number else [], context.batch_size
    return list_items(
        number, names, rounds.config.loop, samples, batch_size=size, seed=context.seed
    )


def train_round(rounds: Rounds, number: int) -> None:
    """Make what is missing of a round's training: samples, verdicts, classifier."""
    context, config = rounds.context, rounds.config
    train: Dataset | None = rounds.train
    if number:
        load_weights(context.model, rounds.file(number - 1, ".safetensors"))
        bank, todo = open_bank(rounds, number), list_round_items(rounds, number)
        collect_adversarial_samples(
            context, todo, number, rounds.train, attacks=rounds.attacks, bank=bank
        )
        accept_or_wait(bank, number, gate=config.loop.review)
        if config.loop.start == "scratch":
            context.model.load_state_dict(rounds.first_weights)
        train = MixedDataset(rounds.train, bank, ratio=config.loop.ratio, seed=context.seed)
    elif config.classifier.weights is not None or config.fit.epochs == 0:
        train = None  # the classifier is what it came as
    file = rounds.file(number, ".safetensors")
    fit_or_load(context, file, train, flags=fit_flags(config), number=number)


def fit_flags(config: RoundsConfig) -> RoundsFitFlags:
    """Return how every fit of a run is done, with the budget of its method."""
    loop = config.loop
    return with_budget(config.fit, config.source.data, norm=loop.norm, eps=loop.eps)


def open_bank(rounds: Rounds, number: int) -> SampleBank:
    """Open the bank as it was in a round."""
    return SampleBank(rounds.context.folder.path / "bank", until=number)


def measure_round(rounds: Rounds, number: int) -> Row:
    """Attack held-out samples with the test attacks, and some of them with the main attack."""
    bank = open_bank(rounds, number)
    seed = derive_seed(rounds.context.seed, "measure")  # the same start noise in every round
    robust: dict[str, AttackMeasurement] = {}
    for name, attack in rounds.test_attacks.items():
        items = rounds.file(number) / f"test-{slug(name)}"
        task = AttackTask(f"round {number}: {name}", attack, rounds.test, items, seed)
        robust[name], _ = measure_resumable(rounds.context, task)
    first = next(iter(robust.values()))
    intervals = {name: m.robust_accuracy_interval for name, m in robust.items()}
    for doubt in first.doubts:
        log.warning("%s", doubt)
    return {
        "round": number,
        "clean_accuracy": first.clean_accuracy,
        "clean_accuracy_interval": first.clean_accuracy_interval,
        "robust_accuracy": {name: m.robust_accuracy for name, m in robust.items()},
        "robust_accuracy_interval": intervals,
        **measure_main_attack(rounds, number, seed=seed),
        "bank_size": len(bank),
        "accepted": len(bank.indices(status="accepted")),
        "warnings": first.doubts,
    }


def measure_main_attack(rounds: Rounds, number: int, *, seed: int) -> Row:
    """Attack some held-out samples with the main attack."""
    loop, test = rounds.config.loop, rounds.test
    some = test.subset(evenly_spaced(len(test), loop.generator_test_samples))
    attack, items = rounds.attacks[rounds.main_attack], rounds.file(number) / "lead"
    task = AttackTask(f"round {number}: {rounds.main_attack}", attack, some, items, seed)

    def draw_first(item: int, batch: AttackedBatch) -> list[Path]:
        model, stem = rounds.context.model, rounds.context.folder.figures / round_name(number)
        return [] if item else draw_batch(stem, model, batch, test.classes)

    measurement, columns = measure_resumable(rounds.context, task, watch=draw_first)
    return {
        "attack": rounds.main_attack,
        "attack_success": finite_or_none(measurement.success),
        "attack_success_interval": measurement.success_interval,
        "attackable": measurement.attackable,
        "fooled": measurement.fooled,
        "attack_loss": finite_or_none(measurement.loss),
        "delta_l1": finite_or_none(measurement.delta_l1),
        "delta_sparsity": finite_or_none(measurement.delta_sparsity),
        "loss_above_threshold": share_above_threshold(columns, loop.loss_threshold),
    }


def share_above_threshold(columns: Columns, threshold: float) -> float | None:
    """Return the share of the attackable samples on which a generator missed the threshold.

    What counts is the score sum of eq. (1), without the distance, after the attack. None for
    another attack, which has no such loss, and where no sample could be attacked.
    """
    scores, attackable = columns.get(f"{OWN}score_sum"), columns["attackable"]
    if scores is None or not attackable.any():
        return None
    return float((~(scores[attackable] < threshold)).double().mean())
