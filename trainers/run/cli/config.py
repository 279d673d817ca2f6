"""Every option of every job, as plain frozen dataclasses: one source for flags, help and TOML.

Options are grouped for the help page; a flag and a TOML key are the field's name alone
(`--train-samples`, `train-samples = 500`), so names are unique across the groups of a job. The
name that a job gives a group is its heading in the help: "data" reads "data options".
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from trainers.run.cli.methods import MethodName
from trainers.run.cli.numbers import LARGEST
from trainers.run.cli.option import option
from trainers.run.cli.reviewing import ReviewingFlags

# Two climbs of Auto-PGD, which together come near to AutoAttack, and PGD to compare with others.
STRONG = ("apgd:steps=20", "apgd-t:steps=20,targets=2,loss=margin", "pgd:steps=20")


@dataclass(frozen=True)
class RunFlags:
    """Where and how to run."""

    seed: int = option(0, at_least=0, at_most=2**63 - 1)
    """Seed of everything random."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda when there is one, else cpu."""
    threads: int = option(0, at_least=0, at_most=1024)
    """CPU threads. 0: one for tiny samples, else one for every core."""
    run_dir: str | None = None
    """Folder of the run. None: runs/TIME-JOB."""
    resume: str = "auto"
    """auto: go on when --run-dir holds an unfinished run; never: refuse one; DIR: go on there."""
    smoke: bool = False
    """Shrink the job to seconds (options you name yourself stay)."""
    debug: bool = False
    """Show tracebacks."""
    config: str | None = None
    """TOML file of options; flags win over it. None: no file."""
    print_config: bool = False
    """Print every option as TOML and stop."""


@dataclass(frozen=True)
class SourceFlags:
    """The samples to work on."""

    data: str = "digits"
    """digits | photos (two, for --model efficientnet-lite0) | imagefolder:DIR | cifar10:DIR |
    npz:FILE | torchvision:NAME[:ROOT]; of videos: moving-digits | videofolder:DIR | ucf101:DIR |
    hmdb51:DIR | kinetics:DIR | npz:FILE."""
    classes: str | None = None
    """Class list: one class a line, folder name first. None: the names that the data has."""
    size: int | None = option(None, at_least=1, at_most=8192)
    """Resize the shorter side to it and crop the centre. None: their size; where they differ, 224,
    of videos 112."""
    channels: int | None = option(None, one_of=(1, 3))
    """1: grey, 3: RGB. None: RGB where any file has colours. All splits share one form."""
    frames: int | None = option(None, at_least=1, at_most=2**16)
    """Frames of a clip, taken from the middle of its video. None: 16, of an npz all."""
    stride: int = option(1, at_least=1, at_most=10**6)
    """How many frames of the video further the next frame of a clip is: 2 of a videofolder."""
    clips: int = option(1, at_least=1, at_most=2**16)
    """Clips of each video, spread evenly over it, each a sample of its own: 4 of a videofolder."""
    train_samples: int | None = option(None, at_least=1, at_most=10**9)
    """Use so many training samples, the same number of each class. None: all of them."""
    test_samples: int | None = option(None, at_least=1, at_most=10**9)
    """Use so many test samples, the same number of each class. None: all of them."""
    batch_size: int = option(64, at_least=1, at_most=2**20)
    """Samples in one step of training, attacking and measuring."""
    download: bool = False
    """Let torchvision fetch the data."""


@dataclass(frozen=True)
class ClassifierFlags:
    """The classifier to work on."""

    model: str | None = None
    """smallcnn | resnet18-cifar | preactresnet18[-silu] | wrn-28-10 or other wrn-DEPTH-WIDTH |
    dense-memory | c3d-small | lrcn | c3d | i3d | zoo:NAME, robust | NAME or NAME@WEIGHTS of
    torchvision, as resnet50@IMAGENET1K_V2 | efficientnet-lite0, 1, 2 | timm:NAME[@pretrained] |
    robustbench:NAME[@L2] | path/file.py:factory | module:factory. The command models lists them.
    None: smallcnn, for videos c3d-small."""
    weights: str | None = None
    """Safetensors, or what torch.save wrote: a state dict or a training checkpoint. None: those of
    the new model."""
    num_classes: int | None = option(None, at_least=2, at_most=10**6)
    """Number of classes the model tells apart. None: as many as the data has."""
    binary: bool = False
    """The model has a single logit z, as behind a sigmoid; [0, z] are taken for its two classes."""
    mean: tuple[float, ...] = ()
    """Mean of each channel, subtracted in front of the model; give it with --std, or neither."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel, divided by in front of the model."""
    defence: tuple[str, ...] = ()
    """Transforms of samples in front of the model, in turn, in training too: jpeg | bit-depth |
    median-blur | gaussian-blur | total-variation | wavelet | resize-pad | crop-ensemble, each with
    options, such as jpeg:quality=75. Attacks know them, unless told otherwise."""


@dataclass(frozen=True)
class FitFlags:
    """How the classifier is fitted."""

    epochs: int = option(10, at_least=1, at_most=10**6)
    """Epochs."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """Optimiser."""
    momentum: float = option(0.9, at_least=0, below=1)
    """Momentum of sgd, or the first beta of adamw, at least 0 and below 1."""
    lr: float = option(2e-3, above=0, at_most=10**6)
    """Peak learning rate."""
    weight_decay: float = option(0.5, at_least=0, at_most=10**6)
    """Weight decay."""
    label_smoothing: float = option(0.0, at_least=0, below=1)
    """Share of the label that is spread over all classes, at least 0 and below 1."""
    ema: float = option(0.0, at_least=0, below=1)
    """Decay of the weights' moving average, at least 0 and below 1. 0: no averaging."""
    clip_norm: float | None = option(None, above=0, at_most=10**9)
    """Largest L2 norm of the whole gradient, above 0. None: no clipping."""
    bf16: bool = False
    """Forward passes of training in bfloat16."""
    augmentation: str = "none"
    """classic: shifts, and flips where they keep the class; classic:OPTION=VALUE,... changes them,
    such as classic:rotation=10,zoom=0.1,brightness=0.2,contrast=0.2,saturation=0.2,hue=0.05, or
    classic:colour_cast=0.1,vignette=0.3,distortion=0.1; none: samples as they are."""
    method: MethodName = "standard"
    """standard: fit the samples as they are; bank: with those of a bank. Of perturbed ones, made
    anew in each step: pgd-at (Madry), trades, mart, fast (one step from a random start), free (a
    gradient serves weights and samples), ensemble (also for classifiers of other fits)."""
    train_norm: Literal["linf", "l2", "l1"] | None = None
    """Norm that such a method perturbs in. None: --norm."""
    train_eps: float | None = option(None, above=0, at_most=10**9)
    """Budget that it perturbs within. None: --eps, in another norm than --norm the usual one."""
    train_steps: int | None = option(None, at_least=1, at_most=LARGEST)
    """Steps of pgd-at (None: 7), trades and mart (None: 10); steps of free on a batch (None: 4)."""
    train_step_size: float | None = option(None, above=0, at_most=10**9)
    """Size of each. None: 2.5 budgets over the steps, of fast 1.25, of free and ensemble 1."""
    beta: float | None = option(None, at_least=0, at_most=10**9)
    """Weight of the answers' divergence in trades (None: 6) and mart (None: 5)."""
    clean_share: float | None = option(None, at_least=0, below=1)
    """Share of a batch that stays as it is, at least 0 and below 1. None: 0, of ensemble 0.5."""
    awp: float = option(0.0, at_least=0, below=1)
    """Move the weights up the loss before its gradient is taken, by this share of their length
    (0.005 is usual). 0: off."""
    static: tuple[str, ...] = ()
    """Further classifiers for ensemble: WEIGHTS of one like --model, or WEIGHTS,model=MODEL."""
    val_samples: int = option(256, at_least=0, at_most=10**9)
    """Validation samples, of a tenth of the training data where it has none of its own. A fit by
    any method but standard keeps the epoch that is most robust on them, and ends where it overfits
    its own attack; rounds hand over the round that is. 0: keep the last."""


@dataclass(frozen=True)
class RoundsFitFlags(FitFlags):
    """How the classifier is fitted, first and later."""

    epochs: int = option(10, at_least=0, at_most=10**6)
    """Epochs of round 0. With 0, --weights or a --model that brings weights, the classifier is
    taken as it comes."""
    lr: float = option(2e-3, above=0, at_most=10**6)
    """Peak learning rate of round 0."""
    weight_decay: float = option(0.5, at_least=0, at_most=10**6)
    """Weight decay of round 0."""
    retrain_method: MethodName = "fast"
    """Method of every later round, as --method; with any but standard the samples of the bank are
    fitted beside the others, as they are; bank perturbs nothing itself."""
    retrain_epochs: int = option(8, at_least=1, at_most=10**6)
    """Epochs of every later round."""
    retrain_lr: float = option(1e-3, above=0, at_most=10**6)
    """Peak learning rate of every later round: 1e-3 on digits, else 2e-3; 3e-4 for other models."""
    retrain_weight_decay: float = option(4.0, at_least=0, at_most=10**6)
    """Weight decay of every later round: 4 on digits, else 2; 0.05 for models but the default."""


@dataclass(frozen=True)
class SamplesConfig:
    """What all jobs ask for that work on a data set with a classifier."""

    run: RunFlags = field(default_factory=RunFlags)
    source: Annotated[SourceFlags, arg(name="data")] = field(default_factory=SourceFlags)
    classifier: ClassifierFlags = field(default_factory=ClassifierFlags)


@dataclass(frozen=True)
class LoopFlags:
    """Attack, retrain, re-attack: with what, how often, and when to stop."""

    rounds: int = option(3, at_least=0, at_most=10**4)
    """Rounds of attacking and retraining."""
    attacks: tuple[str, ...] = ("generator:top_k=1,lam=15,steps=100", "pgd")
    """Attacks that make training samples: NAME or NAME:OPTION=VALUE,..."""
    attack_samples: tuple[str, ...] = ("generator=32", "pgd=all")
    """Training samples an attack perturbs each round: NAME=COUNT or NAME=all. Not named: all;
    the generator 64."""
    instances: int = option(1, at_least=1, at_most=10**4)
    """Perturbed instances of each such sample, each with its own random start; attacks that draw
    nothing at random give the same one again."""
    norm: Literal["linf", "l2", "l1"] = "linf"
    """Norm of the budget."""
    eps: float = option(0.1, above=0, at_most=10**9)
    """Budget of attacks that have one: 0.1 (l2 1, l1 4) on digits, 8/255 (0.5, 12) on
    images, 2/255 (1.5, 50) on videos."""
    test_attacks: tuple[str, ...] = STRONG
    """Attacks that robust accuracy is measured with, on test and validation samples. The worst
    case of those with one budget is what rounds are chosen by."""
    final_attacks: tuple[str, ...] = ()
    """Attacks that the classifier which is handed over is measured with at the end, such as
    autoattack. None: no others."""
    generator_test_samples: int = option(64, at_least=1, at_most=10**9)
    """Test samples that the generator, or else the first of --attacks, is measured on."""
    ratio: float | None = option(None, at_least=0, at_most=10**6)
    """Samples of the bank for each original in retraining. 0: none; None: those chosen, once."""
    bank_per_sample: int = option(1, at_least=0, at_most=10**6)
    """Samples of the bank by each attack of one original, times --instances. 0: all accepted."""
    bank_first: Literal["newest", "hardest"] = "newest"
    """Which they are: newest, or hardest by the loss of the classifier that is retrained."""
    start: Literal["keep", "scratch"] = "keep"
    """keep: go on from the last round; scratch: from the first weights, each round anew, for as
    many epochs as the first fit and at its rate."""
    loss_threshold: float = option(0.5, at_least=0, at_most=10**9)
    """Stop when the generator can no longer bring the score of the original top classes (its loss
    without the distance) below this on --threshold-share of its test samples, and once could."""
    threshold_share: float = option(0.9, at_least=0, at_most=1)
    """Share of the test samples it could attack at which --loss-threshold ends the rounds."""
    patience: int = option(2, at_least=0, at_most=10**6)
    """Stop when robust accuracy has not grown for so many rounds. 0: never."""


@dataclass(frozen=True)
class RoundsConfig(SamplesConfig):
    """Attack, retrain, re-attack: the main job."""

    loop: Annotated[LoopFlags, arg(name="rounds")] = field(default_factory=LoopFlags)
    reviewing: Annotated[ReviewingFlags, arg(name="review")] = field(default_factory=ReviewingFlags)
    fit: Annotated[RoundsFitFlags, arg(name="training")] = field(default_factory=RoundsFitFlags)


@dataclass(frozen=True)
class AttackFlags:
    """The attack, and what it is to reach."""

    attack: str = "pgd"
    """NAME or NAME:OPTION=VALUE,... (8/255 is a number)."""
    norm: Literal["linf", "l2", "l1"] | None = None
    """Norm of the budget. None: the one in --attack, or else linf."""
    eps: float | None = option(None, above=0, at_most=10**9)
    """Budget. None: --attack's, or else 0.1 (l2 1, l1 4) on digits, 8/255 (0.5, 12) on
    images, 2/255 (1.5, 50) on videos."""
    steps: int | None = option(None, at_least=1, at_most=LARGEST)
    """Steps of the attack. None: those in --attack, or else the attack's own number."""
    target: str | None = None
    """Class to reach, by number or name. None: any class but the true one."""
    split: Literal["train", "val", "test"] = "test"
    """Samples to perturb."""
    save_as: Literal["bytes", "float"] = "bytes"
    """bytes: round the samples to whole bytes, so that the saved files themselves fool, and push
    on those that this would cost their success; float: save what the attack returned."""


@dataclass(frozen=True)
class AttackConfig(SamplesConfig):
    """Perturb samples and save them, with scores and pictures."""

    attacking: Annotated[AttackFlags, arg(name="attack")] = field(default_factory=AttackFlags)


@dataclass(frozen=True)
class FittedFlags:
    """What a fitted classifier is measured with."""

    test_attacks: tuple[str, ...] = STRONG
    """Attacks that robust accuracy is measured with: NAME or NAME:OPTION=VALUE,..."""
    norm: Literal["linf", "l2", "l1"] = "linf"
    """Norm of the budget."""
    eps: float = option(0.1, above=0, at_most=10**9)
    """Budget of attacks that have one: 0.1 (l2 1, l1 4) on digits, 8/255 (0.5, 12) on
    images, 2/255 (1.5, 50) on videos."""


@dataclass(frozen=True)
class LoneFitFlags(FitFlags):
    """How the classifier is fitted, with or without a bank."""

    bank: str | None = None
    """Folder of a sample bank, such as a run's bank/; its accepted samples are fitted as they are
    beside the originals, by any method but standard."""
    ratio: float | None = option(None, at_least=0, at_most=10**6)
    """Samples of the bank for each original. None: all accepted, once."""


@dataclass(frozen=True)
class FitConfig(SamplesConfig):
    """Fit a classifier, also against attacks (--method), and measure it."""

    fit: Annotated[LoneFitFlags, arg(name="training")] = field(default_factory=LoneFitFlags)
    measure: Annotated[FittedFlags, arg(name="measurement")] = field(default_factory=FittedFlags)
