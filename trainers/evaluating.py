"""The job `evaluate`: a classifier's accuracy, clean and under each attack."""

from __future__ import annotations

import logging
import math
from html import escape
from typing import Any

from attacks.randomness import derive_seed
from trainers.evaluation import AttackMeasurement, worst_case
from trainers.fitting import trained
from trainers.measure import Trial, measured
from trainers.run.atomic import write_json
from trainers.run.board import Board
from trainers.run.config import EvaluateConfig
from trainers.run.folder import RunFolder
from trainers.run.report import pre, write_page
from trainers.run.specs import build_attacks, slug, usual
from trainers.run.table import attacks_table, outcome
from trainers.run.toml import dump
from trainers.setting import check_kind, check_labelled, load_split

log = logging.getLogger(__name__)


def run_evaluate(config: EvaluateConfig, folder: RunFolder) -> None:
    """Measure with each attack in turn and write the summary."""
    weak = usual(config, eps=config.measure.eps, norm=config.measure.norm, measuring=True)
    attacks = build_attacks(config.measure.attacks, weak=weak)
    test = load_split(config, "test", folder)
    check_labelled(test)
    check_kind(attacks, test)
    setting = trained(config, folder, test)
    text = dump(folder.job, config)
    board = Board(folder.path / "tensorboard", folder.metrics, text)
    results: dict[str, AttackMeasurement] = {}
    for name, attack in attacks.items():
        items = folder.checkpoints / f"test-{slug(name)}"
        seed = derive_seed(setting.seed, "measure")
        results[name], _ = measured(setting, Trial(name, attack, test, items, seed))
        values = {f"robust/{name}": results[name].robust_accuracy}
        folder.metrics.add(name, step=0, values=values)
    board.close()
    summary = summarised(results)
    write_json(folder.path / "summary.json", summary)
    warnings = [f"<p>{escape(warning)}</p>" for warning in summary["warnings"]]
    write_page(folder, [pre(attacks_table(summary)), *warnings], config=text)
    log.info("%s", outcome(folder))


def summarised(results: dict[str, AttackMeasurement]) -> dict[str, Any]:
    """Return summary.json; what is undefined (the size of no success) is null."""
    measurements = list(results.values())
    names = ("robust_accuracy", "success", "median_l2", "queries", "seconds")
    return {
        "job": "evaluate",
        "clean_accuracy": measurements[0].clean_accuracy,
        "attacks": {
            key: {name: finite(getattr(m, name)) for name in names} for key, m in results.items()
        },
        "worst_case": worst_case(measurements),
        "warnings": [f"{key}: {text}" for key, m in results.items() for text in m.warnings],
    }


def finite(value: float) -> float | None:
    """Return a number that JSON knows, or None.

    >>> finite(float("nan")) is None
    True
    """
    return value if math.isfinite(value) else None
