"""What stays the same over all rounds: samples, classifier, attacks, options."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from attacks import Attack
from attacks.common.randomness import derive_seed
from augment import Dataset, SampleBank
from trainers.fit.augmentation import build_augmentation
from trainers.fit.fit_or_load import fit_options, with_budget
from trainers.models.factory import brings_weights, needs_weights
from trainers.run.cli.config import ClassifierFlags, FitFlags, RoundsConfig
from trainers.run.cli.specs.attacks import attack_defaults, build_attacks, sample_counts
from trainers.run.folder.atomic import cached_json, is_cached
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import (
    JobContext,
    load_job_classifier,
    load_splits,
    load_static,
    load_validation,
)

RETRAIN = "retrain_"  # begins the names of what differs in later rounds


@dataclass(frozen=True)
class Rounds:
    """Samples, classifier, attacks and options, which stay the same over all rounds."""

    context: JobContext
    first_weights: Mapping[str, Tensor]
    static: Sequence[nn.Module]
    config: RoundsConfig
    train: Dataset
    val: Dataset | None
    test: Dataset
    attacks: Mapping[str, Attack]
    test_attacks: Mapping[str, Attack]
    final_attacks: Mapping[str, Attack]
    reference: nn.Module | None

    @property
    def main_attack(self) -> str:
        """The attack whose success and loss are reported: the generator, or else the first."""
        return "generator" if "generator" in self.attacks else next(iter(self.attacks))

    @property
    def measuring_seed(self) -> int:
        """The seed of what measures: the same start noise in every round."""
        return derive_seed(self.context.seed, "measure")

    def bank(self, number: int) -> SampleBank:
        """Open the bank as it was in a round, with the reviews that the round's fit heeds."""
        file = self.heeded(number)
        reviews = cached_json(file, lambda: None) if is_cached(file) else None
        return SampleBank(self.context.folder.path / "bank", until=number, reviews=reviews)

    def heeded(self, number: int) -> Path:
        """Return where it is kept how many reviews there were when a round's fit began."""
        return self.context.folder.path / "review" / f"{round_name(number)}.json"

    def fitted(self, bank: SampleBank) -> list[int]:
        """Return the numbers of the samples that the review lets through."""
        return bank.indices(status=None if self.config.reviewing.review == "off" else "accepted")

    def file(self, number: int, suffix: str = "") -> Path:
        """Return where something of a round is kept."""
        return self.context.folder.checkpoints / f"{round_name(number)}{suffix}"


def setup(config: RoundsConfig, folder: RunFolder) -> Rounds:
    """Build the attacks, load the samples and the classifier; all refusals come from here."""
    loop = config.loop
    defaults = attack_defaults(config, eps=loop.eps, norm=loop.norm)
    attacks = build_attacks(loop.attacks, defaults=defaults)
    measuring = attack_defaults(config, eps=loop.eps, norm=loop.norm, measuring=True)
    test_attacks = build_attacks(loop.test_attacks, defaults=measuring)
    final_attacks = build_attacks(loop.final_attacks, defaults=measuring)
    sample_counts(loop.attack_samples, list(attacks))
    train, test = load_splits(config, folder, {**attacks, **test_attacks, **final_attacks})
    val = load_validation(config, folder, count=config.fit.val_samples)
    build_augmentation(config.fit.augmentation, train)
    for number in (0, 1):
        fit_options(fit_flags(config, number), batch_size=config.source.batch_size)
    context = load_job_classifier(config, folder, train)
    first_weights = deepcopy(context.model.state_dict())
    return Rounds(
        context=context,
        first_weights=first_weights,
        static=load_static(config, folder, train, config.fit.static),
        config=config,
        train=train,
        val=val,
        test=test,
        attacks=attacks,
        test_attacks=test_attacks,
        final_attacks=final_attacks,
        reference=load_reference(config, folder, train),
    )


def load_reference(config: RoundsConfig, folder: RunFolder, ds: Dataset) -> nn.Module | None:
    """Load the classifier that --auto-review asks; None without it.

    Raises:
        ValueError: when it has no weights.
    """
    flags = config.reviewing
    if not flags.auto_review:
        return None
    if needs_weights(flags.reference_model) and flags.reference_weights is None:
        raise ValueError(
            f"--auto-review asks a classifier that is fitted already, and --reference-model is "
            f"{flags.reference_model or 'not given'}; give --reference-weights FILE too, or a "
            "--reference-model that brings its own, such as efficientnet-lite0"
        )
    own = ClassifierFlags(
        flags.reference_model, flags.reference_weights, config.classifier.num_classes
    )
    asked = replace(config, classifier=own)
    return load_job_classifier(asked, folder, ds, flag="--reference-model").model


def fit_flags(config: RoundsConfig, number: int) -> FitFlags:
    """Return how the classifier is fitted in a round, with the budget of its method.

    Those of later rounds begin with `retrain_`. From scratch a round takes as long as the first.
    """
    loop, flags = config.loop, vars(config.fit)
    later = {
        name.removeprefix(RETRAIN): value
        for name, value in flags.items()
        if name.startswith(RETRAIN)
    }
    first = {name: value for name, value in flags.items() if not name.startswith(RETRAIN)}
    if number == 0:
        later = {}
    elif loop.start == "scratch":
        later = {"method": later["method"]}
    return with_budget(FitFlags(**first | later), config.source.data, norm=loop.norm, eps=loop.eps)


def comes_fitted(config: RoundsConfig) -> bool:
    """Tell whether round 0 takes the classifier as it comes, rather than fit it."""
    flags = config.classifier
    brought = flags.weights is not None or brings_weights(flags.model or "")
    return brought or config.fit.epochs == 0


def round_name(number: int) -> str:
    """Return how a round's files and its line of metrics.jsonl are called.

    >>> round_name(1)
    'round-001'
    """
    return f"round-{number:03}"
