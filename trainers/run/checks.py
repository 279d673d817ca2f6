"""Refuse impossible options before any work starts."""

from __future__ import annotations

import math
from typing import Any

from trainers.run.config import RoundsConfig
from trainers.run.toml import flag, flat

AT_LEAST: dict[str, float] = {
    "seed": 0, "threads": 0, "size": 1, "train_samples": 1, "test_samples": 1, "batch_size": 1,
    "num_classes": 2, "epochs": 0, "retrain_epochs": 1, "weight_decay": 0,
    "retrain_weight_decay": 0, "label_smoothing": 0, "ema": 0, "rounds": 0, "instances": 1,
    "generator_test_samples": 1, "ratio": 0, "loss_threshold": 0, "threshold_share": 0,
    "patience": 0, "steps": 1,
}  # fmt: skip
ABOVE: dict[str, float] = {
    "lr": 0,
    "retrain_lr": 0,
    "clip_norm": 0,
    "eps": 0,
}
BELOW: dict[str, float] = {"label_smoothing": 1, "ema": 1}
EMBEDDED = ("digits", "moving-digits")  # classifiers of these are fitted within a job
AT_MOST: dict[str, float] = {"threshold_share": 1, "seed": 2**63 - 1}


def check(config: Any) -> None:
    """Check each option by itself and those that belong together.

    Raises:
        ValueError: with the option, its value, and what is allowed.
    """
    options = {name: value for name, value in flat(config).items() if value is not None}
    for name, value in options.items():
        _check_one(name, value)
    if not all(number > 0 for number in options["std"]):
        _refuse("std", min(options["std"]), "above 0")
    if len(options["mean"]) != len(options["std"]):
        raise ValueError(
            f"--mean has {len(options['mean'])} numbers and --std has {len(options['std'])}; "
            "give both, one number a channel"
        )
    for name in ("attacks", "test_attacks"):
        if not options.get(name, ("any",)):
            raise ValueError(f"--{flag(name)} names no attack; give at least one, such as pgd")
    if not isinstance(config, RoundsConfig):
        _check_trained(options)


def _check_one(name: str, value: Any) -> None:
    """Check one option by itself."""
    if name in AT_LEAST and not value >= AT_LEAST[name]:
        _refuse(name, value, f"at least {AT_LEAST[name]:g}")
    if name in ABOVE and not value > ABOVE[name]:
        _refuse(name, value, f"above {ABOVE[name]:g}")
    if name in BELOW and not value < BELOW[name]:
        _refuse(name, value, f"below {BELOW[name]:g}")
    if name in AT_MOST and not value <= AT_MOST[name]:
        _refuse(name, value, f"at most {AT_MOST[name]}")
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            _refuse(name, number, "finite numbers")


def _check_trained(options: dict[str, Any]) -> None:
    """Refuse to attack a classifier that nobody has trained."""
    own_weights = "weights" in options or ":" in options.get("model", "")
    if not own_weights and options["data"] not in EMBEDDED:
        model = f"--model {options['model']}" if "model" in options else "the default model"
        raise ValueError(
            f"{model} comes untrained; give --weights FILE (such as a rounds "
            "run's checkpoints/round-003.safetensors), or a factory that loads its own"
        )


def _refuse(name: str, value: float, allowed: str) -> None:
    """Say what is wrong with one option."""
    shown = f"{value:g}" if isinstance(value, float) else value
    raise ValueError(f"--{flag(name)} is {shown}; allowed: {allowed}")
