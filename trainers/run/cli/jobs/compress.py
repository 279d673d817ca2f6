"""The options of the jobs `compress fit`, `encode`, `decode` and `evaluate`; see config.py."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from trainers.run.cli.config import RunFlags, SamplesConfig
from trainers.run.cli.option import option

PeerName = Literal["jpeg", "jpeg2000", "webp", "avif", "x264", "av1"]
LARGEST_RATE = 10**12  # bytes a sample
CLASSIFIER_KINDS = ("x-task", "delta")  # of code, that a classifier is asked for
CLASSIFIER_OPTIONS = (
    "model",
    "weights",
    "num_classes",
    "mean",
    "std",
    "defence",
)  # of no use with others


@dataclass(frozen=True)
class CodecFlags:
    """What the codec is fitted to, and how it transforms."""

    kind: Literal["x", "x-task", "delta"] = "x"
    """x: the samples themselves; x-task: the same codec, and R for what the classifier needs of
    them; delta: what an attack changes of them."""
    attack: str | None = option(None, kinds=("delta",))
    """For delta: NAME or NAME:OPTION=VALUE,... (8/255 is a number). None: pgd."""
    split: Literal["train", "val", "test"] = "train"
    """Samples to fit to; of many, a few hundred are taken, for R more."""
    step: float = option(0.05, at_least=1e-5, at_most=625, reason=": it is fitted to 16 times it")
    """Finest step of the quantiser to be ready for, of values in [0, 1]; up to 16 times as much."""
    wavelet: Literal["haar", "cdf53", "cdf97"] = "cdf97"
    """Wavelet of the transform."""
    levels: int | None = option(None, at_least=0, at_most=16)
    """Levels of the transform in height and width. None: as many as there are."""
    time_levels: int | None = option(None, at_least=0, at_most=16)
    """Levels of the transform in time, of videos. None: as many as --levels, or fewer."""
    network: str | None = None
    """Train a network R too, which restores what is decoded: unet | paper, or
    unet:OPTION=VALUE,... such as unet:epochs=20,width=64; of x-task with the classifier's say,
    task=1. None: no R."""


@dataclass(frozen=True)
class CompressFitConfig(SamplesConfig):
    """Fit a codec's statistics to a data set, for `compress encode`."""

    coding: Annotated[CodecFlags, arg(name="codec")] = field(default_factory=CodecFlags)


@dataclass(frozen=True)
class EncodeFlags:
    """What is coded, and how small."""

    codec: str | None = None
    """Codec, as `compress fit` keeps it. None: fit one to the training samples first."""
    split: Literal["train", "val", "test"] | None = None
    """Samples to code. None: all pictures of an imagefolder without train and test folders, of
    other data test."""
    pack: bool = False
    """Put all pictures of an imagefolder into one file, with their names. Else each becomes a file
    of its own, named like it."""
    kind: Literal["x", "x-task", "delta"] = "x"
    """x: the samples; x-task: what the classifier needs of them; delta: what an attack changes."""
    step: float | None = option(None, at_least=1e-5, at_most=10000)
    """Step of the quantiser: larger is smaller and worse. None: --bytes-per-sample's,
    or the codec's."""
    bytes_per_sample: float | None = option(None, above=0, at_most=LARGEST_RATE)
    """Find the step with which a sample takes so many bytes; a file's head comes on top."""
    embed_tables: bool = False
    """Put the codec's tables (some KB) into each file, which then decodes without the codec."""
    attack: str | None = option(None, kinds=("delta",))
    """For delta: NAME or NAME:OPTION=VALUE,... (8/255 is a number). None: pgd."""
    task: str | None = option(None, kinds=("x-task",))
    """For x-task: OPTION=VALUE,... of its search, such as loss=feature,views=2. None: its own."""
    network: str | None = None
    """Network R of `compress fit --network` to name in the files, so that no other restores
    them. None: none."""


@dataclass(frozen=True)
class CompressEncodeConfig(SamplesConfig):
    """Code samples as small files; of a folder of pictures, a file for each."""

    coding: Annotated[EncodeFlags, arg(name="code")] = field(default_factory=EncodeFlags)


@dataclass(frozen=True)
class DecodeFlags:
    """What is decoded."""

    code: tuple[str, ...] = ()
    """Code files (*.sprc) of `compress encode`, or folders of them; what is in folders of these
    comes back in folders."""
    codec: str | None = None
    """The codec they were coded with. None: they hold their tables (--embed-tables)."""
    network: str | None = None
    """Network R of `compress fit --network`, which restores what is decoded. None: no R."""
    samples: int | None = option(None, at_least=1, at_most=10**9)
    """Decode so many samples, the first of them. None: all."""


@dataclass(frozen=True)
class CompressDecodeConfig:
    """Decode files: images become PNG, videos mkv; samples of one size also one npz."""

    run: RunFlags = field(default_factory=RunFlags)
    coding: Annotated[DecodeFlags, arg(name="code")] = field(default_factory=DecodeFlags)


@dataclass(frozen=True)
class RateFlags:
    """What to measure, and against what."""

    codec: str | None = None
    """Codec, as `compress fit` keeps it. None: fit one to the training samples first."""
    rates: tuple[float, ...] = ()
    """Bytes a sample, without heads. None given: 0.25, 0.5, 1 and 2 bits a pixel; of videos a
    fifth of it, of pictures below 16 x 16 2.5 times as much."""
    kinds: tuple[Literal["x", "x-task", "delta"], ...] = ("x", "x-task")
    """What is coded: x the samples, x-task what the classifier needs of them, delta what an attack
    changes of them: its picture is grey plus the difference, or what R makes of it."""
    attack: str | None = option(None, kinds=("delta",))
    """For delta: NAME or NAME:OPTION=VALUE,... (8/255 is a number). None: pgd."""
    delta_codec: str | None = option(None, kinds=("delta",))
    """Codec of differences, of `compress fit --kind delta`. None: fit one first."""
    peers: tuple[PeerName, ...] = get_args(PeerName)
    """Other codecs to measure beside: jpeg, jpeg2000, webp, avif of images, x264, av1 of videos."""
    thresholds: tuple[Literal["hard", "soft", "bayes", "top-k"], ...] = ()
    """Ways to threshold the wavelet coefficients of x and delta instead, measured beside them:
    hard, soft, bayes (BayesShrink), or top-k, which keeps a coefficient for each byte."""
    task: str | None = option(None, kinds=("x-task",))
    """For x-task: OPTION=VALUE,... of its search, such as loss=feature,views=2. None: its own."""
    network: str | None = None
    """Network R of `compress fit --network`: its files are measured with it too. None: no R."""
    judge_model: str | None = None
    """Model of the judge, as for --model. None: that of the default --model."""
    judge_weights: str | None = None
    """Weights of a judge that never saw the classifier's training samples. None: fit one."""


@dataclass(frozen=True)
class CompressEvaluateConfig(SamplesConfig):
    """Measure codecs: bytes against what they keep for the eye and for classifiers."""

    measure: Annotated[RateFlags, arg(name="measurement")] = field(default_factory=RateFlags)
