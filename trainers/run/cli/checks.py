"""Refuse impossible options before any work starts."""

from __future__ import annotations

import math
from typing import Any

from trainers.run.cli.compress_config import (
    CompressDecodeConfig,
    CompressEvaluateConfig,
    CompressFitConfig,
)
from trainers.run.cli.config import AttackConfig, EvaluateConfig, RoundsConfig
from trainers.run.cli.numbers import LARGEST
from trainers.run.cli.toml import flag, flat

AT_LEAST: dict[str, float] = {
    "seed": 0, "threads": 0, "size": 1, "train_samples": 1, "test_samples": 1, "batch_size": 1,
    "num_classes": 2, "epochs": 0, "retrain_epochs": 1, "weight_decay": 0,
    "retrain_weight_decay": 0, "label_smoothing": 0, "momentum": 0, "ema": 0, "rounds": 0,
    "instances": 1,
    "generator_test_samples": 1, "ratio": 0, "loss_threshold": 0, "threshold_share": 0,
    "patience": 0, "steps": 1, "frames": 1, "stride": 1, "clips": 1,
    "step": 1e-5, "samples": 1, "levels": 0, "time_levels": 0,
}  # fmt: skip
ABOVE: dict[str, float] = {
    "lr": 0,
    "retrain_lr": 0,
    "clip_norm": 0,
    "eps": 0,
    "bytes_per_sample": 0,
}
BELOW: dict[str, float] = {"label_smoothing": 1, "momentum": 1, "ema": 1}
AT_MOST: dict[str, float] = {
    "seed": 2**63 - 1, "threads": 1024, "size": 8192, "train_samples": 10**9,
    "test_samples": 10**9, "batch_size": 2**20, "num_classes": 10**6, "epochs": 10**6,
    "retrain_epochs": 10**6, "weight_decay": 10**6, "retrain_weight_decay": 10**6,
    "rounds": 10**4, "instances": 10**4, "generator_test_samples": 10**9, "ratio": 10**6,
    "loss_threshold": 10**9, "threshold_share": 1, "patience": 10**6, "steps": LARGEST,
    "frames": 2**16, "stride": 10**6, "clips": 2**16, "step": 10000, "samples": 10**9,
    "levels": 16, "time_levels": 16, "lr": 10**6, "retrain_lr": 10**6, "clip_norm": 10**9,
    "eps": 10**9, "bytes_per_sample": 10**12,
}  # fmt: skip
ONE_OF: dict[str, tuple[int, ...]] = {"channels": (1, 3)}
CHANNEL = (1e-6, 1e6)  # what --std may be, and --mean at most
COARSEST_FITTED = 625  # step: `compress fit` goes up to 16 times as much
# Options of the jobs of `compress` that only some kinds of code have a use for.
OF_KINDS: dict[str, tuple[str, ...]] = {
    "attack": ("delta",),
    "task": ("x-task",),
    "model": ("x-task", "delta"),
    "weights": ("x-task", "delta"),
    "num_classes": ("x-task", "delta"),
    "mean": ("x-task", "delta"),
    "std": ("x-task", "delta"),
}


def check(config: Any) -> None:
    """Check each option by itself and those that belong together.

    Raises:
        ValueError: with the option, its value, and what is allowed.
    """
    options = {name: value for name, value in flat(config).items() if value is not None}
    for name, value in options.items():
        _check_texts(name, value)
        _check_one(name, value)
    mean, std = options.get("mean", ()), options.get("std", ())
    for number in std:
        if not CHANNEL[0] <= number <= CHANNEL[1]:
            _refuse(
                "std", number, "above 0" if number <= 0 else "from {:g} to {:g}".format(*CHANNEL)
            )
    for number in mean:
        if not abs(number) <= CHANNEL[1]:
            _refuse("mean", number, f"from {-CHANNEL[1]:g} to {CHANNEL[1]:g}")
    if len(mean) != len(std):
        raise ValueError(
            f"--mean has {len(mean)} numbers and --std has {len(std)}; give both, one number a "
            "channel"
        )
    for name in ("attacks", "test_attacks"):
        if not options.get(name, ("any",)):
            raise ValueError(f"--{flag(name)} names no attack; give at least one, such as pgd")
    if not isinstance(config, AttackConfig | EvaluateConfig | RoundsConfig):
        _check_coding(config, options)


def _check_texts(name: str, value: object) -> None:
    """Refuse a text, or one of several, that is empty (an unset variable) or that is no UTF-8."""
    for text in value if isinstance(value, tuple) else (value,):
        if text == "":
            raise ValueError(f"--{flag(name)} is empty; give it a value, or leave it out")
        if isinstance(text, str) and text != text.encode(errors="replace").decode():
            raise ValueError(
                f"--{flag(name)} is {text!a}, which is no UTF-8 and could not be kept in "
                "config.toml; rename the file or folder, or give a link to it"
            )


def _check_one(name: str, value: Any) -> None:
    """Check one option by itself."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            _refuse(name, number, "finite numbers")
    if name in AT_LEAST and not value >= AT_LEAST[name]:
        _refuse(name, value, f"at least {AT_LEAST[name]:g}")
    if name in ABOVE and not value > ABOVE[name]:
        _refuse(name, value, f"above {ABOVE[name]:g}")
    if name in BELOW and not value < BELOW[name]:
        _refuse(name, value, f"below {BELOW[name]:g}")
    if name in ONE_OF and value not in ONE_OF[name]:
        _refuse(name, value, " or ".join(map(str, ONE_OF[name])))
    if name in AT_MOST and not value <= AT_MOST[name]:
        _refuse(name, value, f"at most {AT_MOST[name]}")


def _check_coding(config: Any, options: dict[str, Any]) -> None:
    """Refuse options of the jobs of `compress` that are missing or exclude each other."""
    if isinstance(config, CompressDecodeConfig):
        if not options["code"]:
            raise ValueError(
                "--code names no file; give a *.sprc file that `compress encode` made, or the "
                "folder of several"
            )
        return
    if isinstance(config, CompressEvaluateConfig):
        _check_rates(options)
        return
    if isinstance(config, CompressFitConfig) and options["step"] > COARSEST_FITTED:
        _refuse("step", options["step"], f"at most {COARSEST_FITTED}: it is fitted to 16 times it")
    kind = options["kind"]
    for name, kinds in OF_KINDS.items():
        if options.get(name, ()) != () and kind not in kinds:
            raise ValueError(
                f"--{flag(name)} has no use with --kind {kind}; leave it out, or give "
                f"--kind {' or '.join(kinds)}"
            )
    if isinstance(config, CompressFitConfig) and kind == "x-task" and "network" not in options:
        raise ValueError("--kind x-task has the codec of x; give --network too, or --kind x")
    if "bytes_per_sample" in options and "step" in options:
        raise ValueError(
            f"--step {options['step']:g} and --bytes-per-sample {options['bytes_per_sample']:g} "
            "exclude each other; give one of them"
        )


def _check_rates(options: dict[str, Any]) -> None:
    """Check what `compress evaluate` is to measure."""
    for rate in options["rates"]:
        if not rate > 0:
            _refuse("rates", rate, "numbers of bytes above 0")
        if rate > AT_MOST["bytes_per_sample"]:
            _refuse("rates", rate, f"numbers of bytes up to {AT_MOST['bytes_per_sample']}")
    for name, kind in (("task", "x-task"), ("attack", "delta"), ("delta_codec", "delta")):
        if name in options and kind not in options["kinds"]:
            raise ValueError(
                f"--{flag(name)} has no use without {kind}; leave it out, or give --kinds {kind}"
            )


def _refuse(name: str, value: float, allowed: str) -> None:
    """Say what is wrong with one option."""
    shown = f"{value:g}" if isinstance(value, float) else value
    if isinstance(value, int) and abs(value) >= 10**30:  # Python writes no more than 4300 digits
        shown = "a number of more than 30 digits"
    raise ValueError(f"--{flag(name)} is {shown}; allowed: {allowed}")
