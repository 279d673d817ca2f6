"""Defaults that depend on the data, on the model, and on --smoke."""

from collections.abc import Mapping
from typing import Any

# By what the data is, and in which norm.
BUDGETS = {
    "digits": {"linf": 0.1, "l2": 1.0, "l1": 4.0},
    "moving-digits": {"linf": 0.1, "l2": 4.0, "l1": 60.0},
    "videos": {"linf": 2 / 255, "l2": 1.5, "l1": 50.0},
    "images": {"linf": 8 / 255, "l2": 0.5, "l1": 12.0},
}

PHOTOGRAPHS: dict[str, Any] = {
    "attacks": ("generator:top_k=1,lam=10,steps=150", "pgd"),
    "attack_samples": ("generator=64", "pgd=1000"),
    "batch_size": 128,
    "augmentation": "classic",
    "rounds": 3,
    "epochs": 12,
    "retrain_epochs": 5,
    "lr": 3e-3,
    "retrain_lr": 3e-3,
    "weight_decay": 5e-4,
    "retrain_weight_decay": 5e-4,
}
VIDEOS = PHOTOGRAPHS | {
    "attacks": ("flicker:eps=0.1,steps=50", "pgd"),
    "attack_samples": ("flicker=32", "pgd=all"),
    "batch_size": 8,
    "epochs": 16,
    "retrain_epochs": 6,
    "retrain_lr": 2e-3,
    "retrain_weight_decay": 2.0,
    "generator_test_samples": 32,
    "curve_samples": 64,
    "masking_samples": 16,
}
# Of the sources that are no photographs. Folders of one's own hold few videos: of each of theirs
# several clips are taken.
SOURCES: dict[str, dict[str, Any]] = {
    "digits": {"reference_model": "zoo:digits-smallcnn-linf"},
    "moving-digits": VIDEOS | {"batch_size": 32, "epochs": 6, "retrain_epochs": 2},
    "videofolder": VIDEOS | {"stride": 2, "clips": 4},
    "ucf101": VIDEOS,
    "hmdb51": VIDEOS,
    "kinetics": VIDEOS,
}
EMBEDDED = ("digits", "moving-digits")  # a classifier of these is fitted where none is given
# Of clips of real videos, found by leaving training people out: see docs/videos.md.
REAL_CLIPS: dict[str, dict[str, Any]] = {"lrcn": {"epochs": 40}}
# In a network that was fitted elsewhere, steps that large would undo much.
GENTLE: dict[str, Any] = {"retrain_lr": 3e-4, "retrain_weight_decay": 0.05}

# Of any job with --smoke, as far as it has them; of the jobs that save samples, fewer.
FEW: dict[str, Any] = {
    "train_samples": 200,
    "test_samples": 60,
    "batch_size": 32,
    "epochs": 6,
    "rounds": 1,
    "retrain_epochs": 1,
    "attack_samples": ("generator=8", "pgd=64"),
    "test_attacks": ("pgd:steps=20",),
    "generator_test_samples": 8,
    "val_samples": 32,
    "samples": 8,
    "fit_samples": 64,
    "curve": ("fmn:steps=10",),
    "curve_samples": 24,
    "curve_checks": 1,
    "masking_samples": 8,
    "transfer_samples": 16,
    "pairs": 4,
    "invert": 1,
    "invert_steps": 20,
}
FEWER = {job: FEW | {"test_samples": 8} for job in ("attack", "compress-encode")}
FEWER["network"] = FEW | {"samples": 2, "units": 4, "class_steps": 10}
FEW_CLIPS: dict[str, Any] = {
    "train_samples": 32,
    "test_samples": 8,
    "batch_size": 8,
    "epochs": 3,
    "clips": 1,
}
SMOKE_VIDEOS: dict[str, Any] = {
    "attacks": ("flicker:eps=0.1", "pgd"),
    "attack_samples": ("flicker=8", "pgd=16"),
}
# Of every attack that has such options and is not told otherwise.
SMOKE_OPTIONS: dict[str, Any] = {
    "steps": 3,
    "queries": 30,
    "version": "custom",
    "passes": 3,
    "rounds": 3,
}


def data_preset(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that suit the data, the model and the norm of some options.

    >>> data_preset({"data": "digits", "model": None, "norm": "linf", "eps": 0.2})["eps"]
    0.1
    """
    if "data" not in options:  # a job that reads no data set
        return {}
    source = options["data"].partition(":")[0]
    preset = dict(SOURCES.get(source, PHOTOGRAPHS))
    if source in SOURCES and source not in EMBEDDED:
        preset |= REAL_CLIPS.get(options["model"], {})
    if options["model"] not in (None, "smallcnn", "c3d-small"):
        preset |= GENTLE
    if "rounds" not in options:  # another job than rounds
        preset.pop("attacks", None)
    if options.get("eps"):  # None, or no number: for the attack, or the job, to say
        preset["eps"] = budget(options["data"], options.get("norm") or "linf")
    return preset


def budget(data: str, norm: str) -> float:
    """Return the usual pixel budget for some data in a norm."""
    kind = "videos" if data.partition(":")[0] in SOURCES else "images"
    return BUDGETS[data if data in EMBEDDED else kind][norm]


def smoke_preset(job: str, data: str) -> dict[str, Any]:
    """Return the defaults with which a job on some data takes seconds.

    >>> smoke_preset("evaluate", "moving-digits")["train_samples"]
    32
    """
    few, source = FEWER.get(job, FEW), data.partition(":")[0]
    if source == "digits" or source not in SOURCES:  # images
        return few
    return few | FEW_CLIPS | (SMOKE_VIDEOS if job == "rounds" else {})
