"""Refuse impossible options before any work starts."""

import math
from typing import Any

from trainers.run.cli import config as jobs
from trainers.run.cli.jobs import compress
from trainers.run.cli.jobs.evaluate import EvaluateConfig, EvaluateFlags
from trainers.run.cli.jobs.network import NetworkFlags, NetworkJobConfig
from trainers.run.cli.methods import USERS, is_given
from trainers.run.cli.option import Bounds, bounds_of
from trainers.run.cli.reviewing import ReviewingFlags
from trainers.run.cli.specs.corruptions import corruption_names
from trainers.run.cli.toml import flag, flatten

MEAN, STD = (-1e6, 1e6), (1e-6, 1e6)  # what they may be


def check(config: Any) -> None:
    """Check each option by itself and those that belong together.

    Raises:
        ValueError: with the option, its value, and what is allowed.
    """
    options = {name: value for name, value in flatten(config).items() if value is not None}
    for name, value, bounds in bounds_of(config):
        if value is not None:
            _check_one(name, value, bounds)
    _check_channels(options.get("mean", ()), options.get("std", ()))
    for name in ("attacks", "test_attacks"):
        if not options.get(name, ("any",)):
            raise ValueError(f"--{flag(name)} names no attack; give at least one, such as pgd")
    _check_job(config, options)


def _check_job(config: Any, options: dict[str, Any]) -> None:
    """Check the options of a job that belong together."""
    match config:
        case jobs.RoundsConfig() | jobs.FitConfig():
            _check_fit(config)
        case EvaluateConfig():
            _check_corruptions(config.measure)
        case NetworkJobConfig():
            _check_network(config.network)
        case compress.CompressDecodeConfig() if not config.coding.code:
            raise ValueError(
                "--code names no file; give a *.sprc file that `compress encode` made, or the "
                "folder of several"
            )
        case compress.CompressEvaluateConfig():
            _check_rates(config, options)
        case compress.CompressFitConfig() | compress.CompressEncodeConfig():
            _check_coding(config, options)


def _check_one(name: str, value: Any, bounds: Bounds) -> None:
    """Check one option by itself; an empty text is mostly a variable that is not set."""
    for each in value if isinstance(value, tuple) else (value,):
        if each == "":
            raise ValueError(f"--{flag(name)} is empty; give it a value, or leave it out")
        if isinstance(each, str) and each != each.encode(errors="replace").decode():
            raise ValueError(
                f"--{flag(name)} is {each!a}, which is no UTF-8 and could not be kept in "
                "config.toml; rename the file or folder, or give a link to it"
            )
        if isinstance(each, float) and not math.isfinite(each):
            _refuse(name, each, "finite numbers")
        if (allowed := bounds.refusal(each)) is not None:
            _refuse(name, each, allowed)


def _check_channels(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Check the numbers that a channel is normalised by."""
    for name, numbers, (low, high) in (("std", std, STD), ("mean", mean, MEAN)):
        for number in numbers:
            if not low <= number <= high:
                below = name == "std" and number <= 0
                _refuse(name, number, "above 0" if below else f"from {low:g} to {high:g}")
    if len(mean) != len(std):
        raise ValueError(
            f"--mean has {len(mean)} numbers and --std has {len(std)}; give both, one number a "
            "channel"
        )


def _check_fit(config: jobs.RoundsConfig | jobs.FitConfig) -> None:
    """Refuse options of fits that nothing reads, or that contradict each other."""
    _check_method(config.fit)
    if isinstance(config, jobs.RoundsConfig):
        _check_retraining(config.fit, config.loop)
        _check_reviewing(config.reviewing)


def _check_method(fit: jobs.FitFlags) -> None:
    """Refuse options that the training methods have no use for."""
    chosen = {"--method": fit.method}
    if isinstance(fit, jobs.RoundsFitFlags):
        chosen["--retrain-method"] = fit.retrain_method
    for name, methods in {**USERS, "static": ("ensemble",)}.items():
        if is_given(name, getattr(fit, name)) and not {*chosen.values()} & {*methods}:
            given = " and ".join(f"{option} {method}" for option, method in chosen.items())
            raise ValueError(
                f"--{flag(name)} has no use with {given}; leave it out, or give "
                f"{next(reversed(chosen))} {' or '.join(methods)}"
            )
    if fit.method == "ensemble" and not fit.static:
        raise ValueError(
            "--method ensemble perturbs samples for other classifiers, too, and there are none; "
            "give --static WEIGHTS, such as those of other fits"
        )
    if isinstance(fit, jobs.LoneFitFlags):
        _check_bank(fit)


def _check_retraining(fit: jobs.RoundsFitFlags, loop: jobs.LoopFlags) -> None:
    """Refuse options of later rounds that contradict each other, or that nothing reads."""
    if loop.start == "scratch" and fit.epochs == 0:
        raise ValueError(
            "--start scratch trains for as many epochs as the first fit, and --epochs is 0; give "
            "--start keep, or --epochs"
        )
    picky = loop.ratio is not None or loop.bank_first != "newest"
    if fit.retrain_method == "standard" and picky:
        raise ValueError(
            "--ratio and --bank-first choose samples of the bank, which --retrain-method standard "
            "does not fit; leave them out, or give another method, such as fast"
        )
    if loop.bank_first != "newest" and not loop.bank_per_sample:
        raise ValueError(
            f"--bank-first {loop.bank_first} has no use with --bank-per-sample 0, which takes all; "
            "leave one of them out"
        )
    if fit.retrain_method == "bank" and loop.ratio == 0:
        raise ValueError(
            "--ratio 0 leaves --retrain-method bank no sample of the bank; give a ratio above 0, "
            "or --retrain-method standard"
        )


def _check_reviewing(flags: ReviewingFlags) -> None:
    """Refuse a program that would decide for nobody, or that nothing is clear to."""
    if not flags.auto_review:
        return
    if flags.review == "off":
        raise ValueError(
            "--auto-review decides what --review optional or required heeds, and --review is off; "
            "give one of them"
        )
    if flags.lost_ssim > flags.clear_ssim:
        raise ValueError(
            f"--lost-ssim {flags.lost_ssim:g} is above --clear-ssim {flags.clear_ssim:g}; what is "
            "lost must be less like its original than what is clear"
        )


def _check_bank(fit: jobs.LoneFitFlags) -> None:
    """Refuse a bank where it is not fitted, and a method that lacks it."""
    if fit.bank is None and (fit.method == "bank" or fit.ratio is not None):
        what = "--method bank" if fit.method == "bank" else f"--ratio {fit.ratio:g}"
        raise ValueError(f"{what} needs a bank; give --bank DIR, such as a run's bank/")
    if fit.bank is not None and fit.method == "standard":
        raise ValueError(
            "--bank has no use with --method standard; leave it out, or give --method bank to fit "
            "its samples beside the originals"
        )


def _check_corruptions(measure: EvaluateFlags) -> None:
    """Refuse corruptions that exclude each other, and no severity."""
    corruption_names(measure.corruptions)
    if not measure.severities:
        raise ValueError("--severities names none; give at least one, from 1 to 5")


def _check_network(flags: NetworkFlags) -> None:
    """Refuse a dissection without masks, options of what is not shown, and a unit named twice."""
    units = flags.unit_numbers
    if len(set(units)) < len(units):
        raise ValueError(
            f"--unit-numbers names {max(units, key=units.count)} twice; name each once"
        )
    if "dissection" in flags.show and flags.masks is None:
        raise ValueError(
            "--show dissection needs images with masks of concepts; give --masks DIR (--help says "
            "what is in it)"
        )
    uses = {"masks": "dissection", "class_images": "classes"}
    for name, part in uses.items():
        if flags.show and getattr(flags, name) and part not in flags.show:
            raise ValueError(
                f"--{flag(name)} has no use without {part} in --show; leave it out, or name {part}"
            )


def _check_coding(
    config: compress.CompressFitConfig | compress.CompressEncodeConfig, options: dict[str, Any]
) -> None:
    """Refuse options of what is coded, and how small, that are missing or exclude each other."""
    kind = options["kind"]
    uses = [(name, bounds.kinds) for name, _, bounds in bounds_of(config.coding)]
    uses += [(name, compress.CLASSIFIER_KINDS) for name in compress.CLASSIFIER_OPTIONS]
    for name, kinds in uses:
        if kinds and options.get(name, ()) != () and kind not in kinds:
            raise ValueError(
                f"--{flag(name)} has no use with --kind {kind}; leave it out, or give "
                f"--kind {' or '.join(kinds)}"
            )
    if (
        isinstance(config, compress.CompressFitConfig)
        and kind == "x-task"
        and "network" not in options
    ):
        raise ValueError("--kind x-task has the codec of x; give --network too, or --kind x")
    if "bytes_per_sample" in options and "step" in options:
        raise ValueError(
            f"--step {options['step']:g} and --bytes-per-sample {options['bytes_per_sample']:g} "
            "exclude each other; give one of them"
        )


def _check_rates(config: compress.CompressEvaluateConfig, options: dict[str, Any]) -> None:
    """Check what `compress evaluate` is to measure."""
    for rate in options["rates"]:
        if not rate > 0:
            _refuse("rates", rate, "numbers of bytes above 0")
        if rate > compress.LARGEST_RATE:
            _refuse("rates", rate, f"numbers of bytes up to {compress.LARGEST_RATE}")
    for name, value, bounds in bounds_of(config.measure):
        if value is not None and bounds.kinds and not {*bounds.kinds} & {*options["kinds"]}:
            kind = bounds.kinds[0]
            raise ValueError(
                f"--{flag(name)} has no use without {kind}; leave it out, or give --kinds {kind}"
            )


def _refuse(name: str, value: float, allowed: str) -> None:
    """Say what is wrong with one option."""
    shown = f"{value:g}" if isinstance(value, float) else value
    if isinstance(value, int) and abs(value) >= 10**30:  # Python writes no more than 4300 digits
        shown = "a number of more than 30 digits"
    raise ValueError(f"--{flag(name)} is {shown}; allowed: {allowed}")
