"""The job `detect`: a detector of attacked samples, and what gets past it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attacks import Attack, RefusedInput
from attacks.common.activations import last_rectifier
from augment import Dataset
from trainers.detector.evasion import Evasion
from trainers.detector.measure import collect_activations, look, score_attack, score_clean
from trainers.detector.rejecting_classifier import RejectingClassifier
from trainers.detector.roc import area, area_interval, roc_curve, threshold_at
from trainers.detector.safety_net import SafetyNet
from trainers.evaluate.budgets import budget_of
from trainers.evaluate.scores import Columns
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.intervals import wilson
from trainers.run.cli.jobs.detect import DetectConfig
from trainers.run.cli.specs.attacks import attack_defaults, build_attack, build_attacks
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import make_checked, write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import (
    JobContext,
    check_alike,
    check_attacks,
    check_labelled,
    load_split,
)
from trainers.run.show.outcome import legend, outcome
from trainers.run.show.outcomes.detect import DETECT_TERMS, detect_table, roc_chart
from trainers.run.show.plots import write_chart
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)
SHARES = (0.01, 0.05)  # of false alarms at which detection is reported
EVASION = "evasion"


@dataclass(frozen=True)
class DetectSetup:
    """What the job works with.

    Attributes:
        context: the classifier.
        train: some training samples.
        val: validation samples.
        test: test samples.
        fitted: attacks that the detector is fitted to, by name.
        unseen: others.
        evasion: the attack that knows it.
        layer: whose outputs it looks at.
        given: a detector that was fitted before.
    """

    context: JobContext
    train: Dataset
    val: Dataset
    test: Dataset
    fitted: Mapping[str, Attack]
    unseen: Mapping[str, Attack]
    evasion: Evasion
    layer: str
    given: SafetyNet | None

    @property
    def attacks(self) -> Mapping[str, Attack]:
        """All attacks that it is measured with."""
        return {**self.fitted, **self.unseen, EVASION: self.evasion}


def run_detect(config: DetectConfig, folder: RunFolder) -> None:
    """Fit a detector, or load one, and measure it by attacks that do and do not know it."""
    setup = set_up_detection(config, folder)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    detector = fit_or_load_detector(config, setup).to(setup.context.device)
    threshold = detector.thresholds[config.detection.false_alarms]
    model = RejectingClassifier(setup.context.model, detector, threshold).eval()
    scores = {
        name: score_attack(setup.context, model, name, attack, setup.test)
        for name, attack in setup.attacks.items()
    }
    summary = make_summary(config, setup, detector, scores)
    write_summary(folder.path / "summary.json", summary)
    curves = {name: roc_curve(*clean_and_fooled(c)) for name, c in scores.items()}
    chart = folder.figures / "roc.png"
    write_chart(chart, roc_chart(curves))
    board.text("results", detect_table(summary))
    board.picture("roc", chart, step=0)
    for name, columns in scores.items():
        board.precision_recall(f"detect/{name}", *clean_and_fooled(columns))
    board.close(summary)
    write_report(folder.path)
    log.info("%s\n", legend(DETECT_TERMS))
    log.info("%s", outcome(folder))


def set_up_detection(config: DetectConfig, folder: RunFolder) -> DetectSetup:
    """Load samples and classifier, and build the attacks; all refusals come from here."""
    flags = config.detection
    given = load_given(flags.detector, flags.false_alarms) if flags.detector else None
    defaults = attack_defaults(config, eps=flags.eps, norm=flags.norm)
    fitted = build_attacks(flags.attacks, defaults=defaults)
    unseen = build_attacks(flags.unseen_attacks, defaults=defaults)
    evasion = Evasion(build_attack(flags.evasion, defaults=defaults), flags.evasion_classes)
    if twice := [name for name in unseen if name in fitted or name == EVASION]:
        raise ValueError(
            f"--unseen-attacks names {twice[0]}, which the detector is fitted to; name it once"
        )
    train, val, test = (load_split(config, split, folder) for split in ("train", "val", "test"))
    for ds in (train, val, test):
        check_labelled(ds)
        check_attacks({**fitted, **unseen, "evasion": evasion.attack}, ds, target=0)
    check_alike(train, test)
    context = load_or_fit_classifier(config, folder, test)
    x = test.stack([0])[0].to(context.device)
    layer = given.layer if given else flags.layer or last_rectifier(context.model, x)
    units = look(context.model, layer, x)[1].shape[1]
    if given and units != len(given.scale):
        raise RefusedInput(
            f"--detector {flags.detector} is for a layer of {len(given.scale)} outputs, and "
            f"{layer} of this model has {units} on these samples; give that of this model"
        )
    some = train.subset(evenly_spaced(len(train), flags.fit_samples))
    return DetectSetup(context, some, val, test, fitted, unseen, evasion, layer, given)


def load_given(file: str, share: float) -> SafetyNet:
    """Load a detector that was fitted before, with a threshold for a share of false alarms."""
    detector = SafetyNet.load(Path(file))
    if share not in detector.thresholds:
        known = ", ".join(f"{each:g}" for each in detector.thresholds)
        raise ValueError(
            f"--false-alarms is {share:g}, and {file} has thresholds for {known}; give one of them"
        )
    return detector


def fit_or_load_detector(config: DetectConfig, setup: DetectSetup) -> SafetyNet:
    """Return the detector that is given, or else fit one to samples attacked in turn.

    Raises:
        RefusedInput: when the attacks fool none of them.
    """
    if setup.given:
        return setup.given
    folder, flags = setup.context.folder, config.detection

    def make() -> None:
        found = [
            collect_activations(setup.context, name, attack, setup.train, setup.layer)
            for name, attack in setup.fitted.items()
        ]
        attacked = torch.cat([columns["attacked"][columns["fooled"]] for columns in found])
        if not len(attacked):
            raise RefusedInput(
                f"{', '.join(setup.fitted)} fooled none of {len(setup.train)} training samples, so "
                "there is nothing to fit to; give a larger --eps, or other --attacks"
            )
        clean = found[0]["clean"]
        detector = SafetyNet.fit(setup.layer, clean, attacked, levels=flags.levels, c=flags.cost)
        scores = score_clean(setup.context, detector.to(setup.context.device), setup.val)
        detector.calibrate(scores, tuple({*SHARES, flags.false_alarms}))
        detector.save(file)

    file = folder.path / "detector.safetensors"
    make_checked(file, folder.checkpoints / "detector.json", make)
    return SafetyNet.load(file)


def clean_and_fooled(columns: Columns) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores of all clean samples, and of the attacked ones that fool."""
    return columns["clean"].double(), columns["attacked"][columns["fooled"]].double()


def make_summary(
    config: DetectConfig, setup: DetectSetup, detector: SafetyNet, scores: Mapping[str, Columns]
) -> dict[str, Any]:
    """Return summary.json: what is refused of clean samples, and of each attack's."""
    flags, first = config.detection, next(iter(scores.values()))
    threshold = detector.thresholds[flags.false_alarms]
    kinds = dict.fromkeys(setup.fitted, "fitted to") | dict.fromkeys(setup.unseen, "unseen")
    return {
        "job": "detect",
        "layer": setup.layer,
        "levels": detector.levels,
        "support_vectors": len(detector.weights),
        "samples": len(setup.test),
        "clean_accuracy": rate(first["right"]),
        "false_alarms": flags.false_alarms,
        "threshold": threshold,
        "clean_refused": rate(first["clean"] > threshold),
        "attacks": {
            name: {
                "kind": kinds.get(name, "knows it"),
                "budget": str(budget_of(setup.attacks[name])),
                **describe_attack(columns, threshold),
            }
            for name, columns in scores.items()
        },
    }


def describe_attack(columns: Columns, threshold: float) -> dict[str, Any]:
    """Return how well the samples of an attack are told from clean ones, and how many get by."""
    clean, fooling = clean_and_fooled(columns)
    right, through = columns["right"], columns["fooled"] & (columns["attacked"] <= threshold)
    known = len(fooling) > 0
    value = area(clean, fooling) if known else None
    return {
        "success": rate(columns["fooled"][right]),
        "auc": value,
        "auc_interval": None if value is None else area_interval(value, len(clean), len(fooling)),
        "detection": {
            f"{share:g}": rate(fooling > threshold_at(clean, share)) if known else None
            for share in SHARES
        },
        "gets_through": rate(through[right]),
    }


def rate(hits: torch.Tensor) -> dict[str, Any]:
    """Return the share of (N,) that is true, with its interval and its counts."""
    count, n = int(hits.sum()), len(hits)
    return {"rate": count / n if n else None, "interval": wilson(count, n), "count": count, "of": n}
