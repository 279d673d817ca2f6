"""Every option of every job, as plain frozen dataclasses: one source for flags, help and TOML.

Options are grouped for the help page; a flag and a TOML key are the field's name alone
(`--train-samples`, `train-samples = 500`), so names are unique across the groups of a job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class RunFlags:
    """Where and how to run; --seed fixes everything random."""

    seed: int = 0
    """Seed of everything random."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda when there is one."""
    threads: int = 0
    """CPU threads; 0: one for tiny samples, else every core."""
    run_dir: str | None = None
    """Folder of the run; none: runs/TIME-JOB."""
    resume: str = "auto"
    """auto: go on when --run-dir holds an unfinished run; never: refuse one; DIR: go on there."""
    smoke: bool = False
    """Shrink the job to seconds (options you name yourself stay)."""
    debug: bool = False
    """Show tracebacks."""
    config: str | None = None
    """TOML file of options; flags win over it."""
    print_config: bool = False
    """Print every option as TOML and stop."""


@dataclass(frozen=True)
class SourceFlags:
    """The samples to work on."""

    data: str = "digits"
    """digits | imagefolder:DIR | cifar10:DIR | npz:FILE | torchvision:NAME[:ROOT]."""
    classes: str | None = None
    """Class list: one class a line, folder name first."""
    size: int | None = None
    """Resize the shorter side to it and crop the centre."""
    train_samples: int | None = None
    """Use so many training samples, the same number of each class; none: all."""
    test_samples: int | None = None
    """Use so many test samples; none: all."""
    batch_size: int = 64
    """Samples in one step of training, attacking and measuring."""
    download: bool = False
    """Let torchvision fetch the data."""


@dataclass(frozen=True)
class ClassifierFlags:
    """The classifier to attack."""

    model: str = "smallcnn"
    """smallcnn | resnet18-cifar | a torchvision name | path/file.py:factory | module:factory."""
    weights: str | None = None
    """State dict: safetensors, or a .pt that holds tensors only."""
    num_classes: int | None = None
    """Classes the model tells apart; none: those of the data."""
    mean: tuple[float, ...] = ()
    """Mean of each channel, to be subtracted in front of the model."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel, to be divided by in front of the model."""


@dataclass(frozen=True)
class FitFlags:
    """How the classifier is fitted."""

    epochs: int = 10
    """Epochs of round 0; 0, or --weights: the classifier is taken as it comes."""
    retrain_epochs: int = 8
    """Epochs of every later round."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """The optimiser."""
    lr: float = 2e-3
    """Peak learning rate of round 0."""
    retrain_lr: float = 1e-3
    """Peak learning rate of every later round."""
    weight_decay: float = 0.5
    """Weight decay of round 0."""
    retrain_weight_decay: float = 4.0
    """Weight decay of every later round (large on the few digits)."""
    label_smoothing: float = 0.0
    """Share of the label spread over all classes."""
    ema: float = 0.0
    """Decay of averaged weights; 0: off."""
    clip_norm: float | None = None
    """Longest gradient; none: no clipping."""
    bf16: bool = False
    """Forward passes of training in bfloat16."""
    augmentation: Literal["classic", "none"] = "none"
    """classic: shifts, and flips where they keep the class."""


@dataclass(frozen=True)
class LoopFlags:
    """Attack, retrain, re-attack: with what, how often, and when to stop."""

    rounds: int = 4
    """Rounds of attacking and retraining."""
    attacks: tuple[str, ...] = ("generator:top_k=1,steps=100", "pgd")
    """Attacks that make training samples: NAME or NAME:OPTION=VALUE,..."""
    attack_samples: tuple[str, ...] = ("generator=32", "pgd=all")
    """Training samples that an attack perturbs each round: NAME=COUNT or NAME=all."""
    instances: int = 1
    """Perturbed instances of each such sample, each with its own random start."""
    norm: Literal["linf", "l2"] = "linf"
    """Norm of the budget."""
    eps: float = 0.1
    """Pixel budget of the attacks that have one (0.1 on digits, elsewhere 8/255; l2: 1, 0.5)."""
    test_attacks: tuple[str, ...] = ("pgd:steps=20",)
    """Attacks that robust accuracy is measured with."""
    generator_test_samples: int = 64
    """Test samples for the generator, or else for the first of --attacks (it may be slow)."""
    generator_budget: float = 0.08
    """Largest mean |difference| of a success of the generator (0.08 on digits, else 10/255)."""
    ratio: float | None = None
    """Perturbed samples for each original in training; none: every accepted one."""
    start: Literal["keep", "scratch"] = "keep"
    """keep: go on from the last round; scratch: from the first weights, each round anew."""
    review: Literal["off", "wait"] = "off"
    """wait: stop after each attack until the samples in the bank are accepted or rejected."""
    loss_threshold: float = 0.2
    """Stop when the generator's loss stays above it ..."""
    threshold_share: float = 0.9
    """... for this share of the test samples."""
    patience: int = 2
    """Stop when robust accuracy has not grown for so many rounds; 0: never."""


@dataclass(frozen=True)
class RoundsConfig:
    """Attack, retrain, re-attack: the main job."""

    run: RunFlags = field(default_factory=RunFlags)
    source: SourceFlags = field(default_factory=SourceFlags)
    classifier: ClassifierFlags = field(default_factory=ClassifierFlags)
    loop: LoopFlags = field(default_factory=LoopFlags)
    fit: FitFlags = field(default_factory=FitFlags)


@dataclass(frozen=True)
class AttackFlags:
    """The attack, and what it is to reach."""

    attack: str = "pgd"
    """NAME or NAME:OPTION=VALUE,... (8/255 is a number)."""
    norm: Literal["linf", "l2"] | None = None
    """Norm of the budget; none: the attack's own."""
    eps: float | None = None
    """Pixel budget; none: 0.1 on digits, elsewhere the attack's own."""
    steps: int | None = None
    """Steps; none: the attack's own number."""
    target: str | None = None
    """Class to reach, by number or name; none: any class but the true one."""
    split: Literal["train", "val", "test"] = "test"
    """Samples to perturb."""


@dataclass(frozen=True)
class AttackConfig:
    """Perturb samples and save them, with scores and pictures."""

    run: RunFlags = field(default_factory=RunFlags)
    source: SourceFlags = field(default_factory=SourceFlags)
    classifier: ClassifierFlags = field(default_factory=ClassifierFlags)
    attacking: AttackFlags = field(default_factory=AttackFlags)


@dataclass(frozen=True)
class EvaluateFlags:
    """What to measure."""

    attacks: tuple[str, ...] = ("fgsm", "pgd:steps=20")
    """Attacks to measure with: NAME or NAME:OPTION=VALUE,..."""
    norm: Literal["linf", "l2"] = "linf"
    """Norm of the budget."""
    eps: float = 0.1
    """Pixel budget of the attacks that have one (0.1 on digits, elsewhere 8/255; l2: 1, 0.5)."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a classifier: clean accuracy, and accuracy under each attack."""

    run: RunFlags = field(default_factory=RunFlags)
    source: SourceFlags = field(default_factory=SourceFlags)
    classifier: ClassifierFlags = field(default_factory=ClassifierFlags)
    measure: EvaluateFlags = field(default_factory=EvaluateFlags)


Config = RoundsConfig | AttackConfig | EvaluateConfig
