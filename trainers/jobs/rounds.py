"""The rounds: attack the training samples, retrain on what fools, attack again.

The run folder is the only state. Every item of work (a batch attacked, an epoch fitted, a batch
measured, a round) ends with a file that appears whole, and whose presence means done; what the
file holds follows from the options, the seed and the item's place alone. To resume is therefore
to run again: what is done is skipped, and nothing else differs.

Source: Rey-de-Castro & Rabitz 2018, section 5.3.
"""

from __future__ import annotations

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
from trainers.evaluate.drawing import draw_batch
from trainers.evaluate.evaluation import AttackedBatch, AttackMeasurement, Columns
from trainers.evaluate.measure import Trial, measured
from trainers.evaluate.scores import OWN, finite
from trainers.fit.augmentation import build_augmentation
from trainers.fit.fitting import fitted, load_weights
from trainers.jobs.harvest import Item, harvest, items, review
from trainers.jobs.publish_rounds import Publisher, round_name
from trainers.jobs.stopping import cannot_stop, stop_reason
from trainers.run.cli.config import LoopFlags, RoundsConfig
from trainers.run.cli.specs import build_attacks, sample_counts, slug, usual
from trainers.run.folder.atomic import kept, once, present
from trainers.run.folder.folder import RunFolder, remove_items
from trainers.run.folder.stopwatch import Stopwatch
from trainers.run.setting import Setting, build, check_alike, check_kind, check_labelled, load_split
from trainers.run.show.report import PICTURES

log = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True)
class Game:
    """What stays the same over all rounds."""

    setting: Setting
    first_weights: Mapping[str, Tensor]
    config: RoundsConfig
    train: Dataset
    test: Dataset
    attacks: Mapping[str, Attack]
    test_attacks: Mapping[str, Attack]
    publisher: Publisher

    @property
    def loop(self) -> LoopFlags:
        """The options of the rounds."""
        return self.config.loop

    @property
    def lead(self) -> str:
        """The attack whose success and loss are reported: the generator, or else the first."""
        return "generator" if "generator" in self.attacks else next(iter(self.attacks))

    def file(self, number: int, suffix: str = "") -> Path:
        """Return where something of a round is kept."""
        return self.setting.folder.checkpoints / f"{round_name(number)}{suffix}"


def run_rounds(config: RoundsConfig, folder: RunFolder) -> None:
    """Play rounds until there is a reason to stop; publish each when it is done."""
    game = open_game(config, folder)
    rows: list[Row] = []
    reason = None
    while reason is None:
        number = len(rows)
        rows.append(play(game, number))
        reason = stop_reason(rows, config.loop)
        if cannot_stop(rows, config.loop):
            log.info(
                "the generator leaves most test samples above --loss-threshold in round 0 already; "
                "that rule waits for a round in which it does not"
            )
        game.publisher.publish(rows, reason)
        remove_items(game.file(number))  # its row is all that is needed


def open_game(config: RoundsConfig, folder: RunFolder) -> Game:
    """Build the attacks, load the samples and the classifier; all refusals come from here."""
    loop = config.loop
    weak = usual(config, eps=loop.eps, norm=loop.norm)
    attacks = build_attacks(loop.attacks, weak=weak)
    measuring = usual(config, eps=loop.eps, norm=loop.norm, measuring=True)
    test_attacks = build_attacks(loop.test_attacks, weak=measuring)
    sample_counts(loop.attack_samples, list(attacks))
    train, test = load_split(config, "train", folder), load_split(config, "test", folder)
    for ds in (train, test):
        check_labelled(ds)
        check_kind({**attacks, **test_attacks}, ds)
    check_alike(train, test)
    build_augmentation(config.fit.augmentation, train)
    setting = build(config, folder, train)
    return Game(
        setting=setting,
        first_weights=deepcopy(setting.model.state_dict()),
        config=config,
        train=train,
        test=test,
        attacks=attacks,
        test_attacks=test_attacks,
        publisher=Publisher(folder, config),
    )


def play(game: Game, number: int) -> Row:
    """Play one round and return what it measured; round 0 only fits and measures.

    What is missing of a round that is over is made again, with the classifier and the bank of then.
    Its seconds are those of all processes that worked on it; of a killed one, up to the last item
    it finished, or a second less.
    """
    stopwatch = Stopwatch(game.file(number) / "seconds.json")
    game.setting.folder.stopwatch = stopwatch
    if not whole(game, number):
        train(game, number)
    row: Row = once(
        game.file(number, ".json"),
        lambda: measure(game, number) | {"seconds": stopwatch.seconds},
        beside=partial(pictures, game, number),
    )
    return row


def whole(game: Game, number: int) -> bool:
    """Tell whether nothing that a round leaves is missing."""
    keys, bank = {key for key, *_ in attacked(game, number)}, game.setting.folder.path / "bank"
    return (
        present(game.file(number, ".safetensors"))
        and keys <= stored_keys(bank)
        and keys <= reviewed_keys(bank)
        and kept(game.file(number, ".json"))
        and round_name(number) in game.setting.folder.metrics
    )


def attacked(game: Game, number: int) -> list[Item]:
    """Return what a round attacks of the training samples: nothing in round 0."""
    setting = game.setting
    found = items(
        number,
        list(game.attacks) if number else [],
        loop=game.loop,
        samples=len(game.train),
        batch_size=setting.batch_size,
        seed=setting.seed,
    )
    return list(found)


def pictures(game: Game, number: int) -> list[Path]:
    """Return the pictures of a round."""
    stem = game.setting.folder.figures / round_name(number)
    files = [stem.with_name(f"{stem.name}-{kind}") for kind in PICTURES]
    return [file for file in files if file.is_file()]


def train(game: Game, number: int) -> None:
    """Make what is missing of a round's training: samples, verdicts, classifier."""
    if number == 0:
        first_fit(game)
        return
    setting, bank = game.setting, bank_of(game, number)
    load_weights(setting.model, game.file(number - 1, ".safetensors"))
    harvest(setting, attacked(game, number), number, game.train, attacks=game.attacks, bank=bank)
    review(bank, number, gate=game.loop.review)
    retrain(game, number, bank)


def bank_of(game: Game, number: int) -> SampleBank:
    """Open the bank as it was in a round."""
    return SampleBank(game.setting.folder.path / "bank", until=number)


def first_fit(game: Game) -> None:
    """Fit the classifier, unless it came with weights."""
    flags = game.config.fit
    given = game.config.classifier.weights is not None or flags.epochs == 0
    file = game.file(0, ".safetensors")
    fitted(game.setting, file, None if given else game.train, flags=flags, number=0)


def retrain(game: Game, number: int, bank: SampleBank) -> None:
    """Fit on the originals and all accepted samples of all rounds."""
    if game.loop.start == "scratch":
        game.setting.model.load_state_dict(game.first_weights)
    mixed = MixedDataset(game.train, bank, ratio=game.loop.ratio, seed=game.setting.seed)
    file = game.file(number, ".safetensors")
    fitted(game.setting, file, mixed, flags=game.config.fit, number=number)


def measure(game: Game, number: int) -> Row:
    """Attack held-out samples with the test attacks, and some of them with the lead attack."""
    bank = bank_of(game, number)
    seed = derive_seed(game.setting.seed, "measure")  # the same start noise in every round
    robust: dict[str, AttackMeasurement] = {}
    for name, attack in game.test_attacks.items():
        items = game.file(number) / f"test-{slug(name)}"
        trial = Trial(f"round {number}: {name}", attack, game.test, items, seed)
        robust[name], _ = measured(game.setting, trial)
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
        **measure_lead(game, number, seed=seed),
        "bank_size": len(bank),
        "accepted": len(bank.indices(status="accepted")),
        "warnings": first.doubts,
    }


def measure_lead(game: Game, number: int, *, seed: int) -> Row:
    """Attack some held-out samples with the lead attack."""
    some = game.test.subset(spread(len(game.test), game.loop.generator_test_samples))
    attack, items = game.attacks[game.lead], game.file(number) / "lead"
    trial = Trial(f"round {number}: {game.lead}", attack, some, items, seed)
    lead, columns = measured(game.setting, trial, watch=partial(show, game, number))
    return {
        "attack": game.lead,
        "attack_success": finite(lead.success),
        "attack_success_interval": lead.success_interval,
        "attackable": lead.attackable,
        "fooled": lead.fooled,
        "attack_loss": finite(lead.loss),
        "delta_l1": finite(lead.delta_l1),
        "delta_sparsity": finite(lead.delta_sparsity),
        "loss_above_threshold": above(columns, game.loop.loss_threshold),
    }


def above(columns: Columns, threshold: float) -> float | None:
    """Return the share of the attackable samples on which a generator missed the threshold.

    What counts is the score sum of eq. (1), without the distance, after the attack. None for
    another attack, which has no such loss, and where no sample could be attacked.
    """
    scores, attackable = columns.get(f"{OWN}score_sum"), columns["attackable"]
    if scores is None or not attackable.any():
        return None
    return float((~(scores[attackable] < threshold)).double().mean())


def spread(samples: int, count: int) -> list[int]:
    """Return `count` rows spread evenly over the samples, all of them when there are fewer.

    >>> spread(10, 3)
    [0, 3, 6]
    """
    count = min(samples, count)
    return [i * samples // count for i in range(count)]


def show(game: Game, number: int, item: int, batch: AttackedBatch) -> list[Path]:
    """Draw the first batch of the lead attack; return the files."""
    if item:
        return []
    stem = game.setting.folder.figures / round_name(number)
    return draw_batch(stem, game.setting.model, batch, game.test.classes)
