"""The job `compress fit`: a codec's statistics, from the samples of a split."""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from attacks import RefusedInput
from attacks.common.randomness import derive_seed
from augment import Dataset
from augment.datasets.clips import video_of
from compress import Codec, RestorationNet
from compress.codec import FITTED
from trainers.evaluate.quality import mean, psnr
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.jobs.compress.attack_resumable import attack_resumable, choose_attack, log_doubts
from trainers.jobs.compress.files import CODEC, DELTA_CODEC, NETWORK, make_or_load_codec, save_codec
from trainers.jobs.compress.publish_outcome import publish_outcome
from trainers.reconstruction.files import fit_or_load_network, save_network
from trainers.reconstruction.fit import fit_network
from trainers.reconstruction.options import ReconstructionOptions
from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.jobs.compress import CompressFitConfig
from trainers.run.cli.specs.attacks import build_task, convert, read_options, types_of
from trainers.run.folder.folder import RunFolder
from trainers.run.folder.input_digests import ChangedInput
from trainers.run.job_context import JobContext, check_attacks, load_split
from trainers.run.session import choose_device

log = logging.getLogger(__name__)
Change = Callable[[Dataset], Tensor]
VALUES = 2**23  # of samples that a codec or R is fitted to, at most
SAMPLES = 600  # for a codec; twice as many make files no smaller
TRAIN = "x_adv-train"  # where perturbed training samples are kept, among the checkpoints
TRIED = 256  # samples that steps are tried on, and that are attacked where none were given


def run_fit(config: CompressFitConfig, folder: RunFolder) -> None:
    """Fit, keep the codec, and say what its steps amount to."""
    flags, started = config.coding, time.monotonic()
    name, attack = choose_attack(config, flags.attack)
    options = build_reconstruction(
        flags.network, asks=flags.kind == "x-task", smoke=config.run.smoke
    )
    ds = load_split(config, flags.split, folder)
    some = subset(ds, len(ds) if options else SAMPLES)
    context = load_or_fit_classifier(config, folder, some) if flags.kind != "x" else None
    x_adv = None
    if flags.kind == "delta" and context is not None:
        check_attacks({name: attack}, some)
        x_adv = attack_resumable(context, name, attack, some)
    x, _ = some.stack(range(len(some)))
    codec = Codec.fit(
        x,
        step=flags.step,
        kind=flags.kind,
        x_adv=x_adv,
        wavelet=flags.wavelet,
        levels=flags.levels,
        time_levels=flags.time_levels,
    )
    if options is not None:  # first: it may be refused
        asked = context if flags.kind == "x-task" else None
        network = fit_or_load_r(config, folder, codec, options, some, x, x_adv, asked)
        save_network(folder.path / NETWORK, network)
    save_codec(folder, codec)
    summary = {
        "job": folder.job,
        "codec": CODEC,
        "kind": flags.kind,
        "samples": len(some),
        "bytes": (folder.path / CODEC).stat().st_size,
        "steps": measure_steps(codec, x, x_adv),
        "network": NETWORK if options is not None else None,
        "seconds": time.monotonic() - started,
    }
    publish_outcome(config, folder, summary, pictures=[])


def build_reconstruction(
    text: str | None, *, asks: bool, smoke: bool
) -> ReconstructionOptions | None:
    """Make the options of R's training that a text describes, `unet` or `paper:OPTION=VALUE,...`.

    Args:
        text: the form of the network and options; None for no R.
        asks: whether there is a classifier to ask.
        smoke: whether the job is to take seconds.

    Raises:
        ValueError: for a form or an option there is not, or a value that is not allowed.
    """
    if not text:
        return None
    name, _, rest = text.partition(":")
    known = types_of(ReconstructionOptions)
    form = convert(name, known.pop("form"), what="--network")
    options = ({"epochs": 1} if smoke else {}) | ({"task": 1.0} if asks else {})
    if not asks:
        known.pop("task")
    return ReconstructionOptions(form=form, **options | read_options("--network", rest, known))


def fit_or_load_r(
    config: CompressFitConfig,
    folder: RunFolder,
    codec: Codec,
    options: ReconstructionOptions,
    ds: Dataset,
    x: Tensor,
    x_adv: Tensor | None,
    context: JobContext | None,
) -> RestorationNet:
    """Return R, trained on samples or, where there is an x_adv, on their differences to it.

    Args:
        config: the job's options.
        folder: its run folder.
        codec: the codec.
        options: how R is trained.
        ds: the samples.
        x: all of them, (B, ...).
        x_adv: like x, for kind "delta".
        context: that of the classifier, for kind "x-task".
    """
    if context is not None:
        log_doubts(context, ds)
    fit = partial(
        fit_network,
        codec,
        x,
        options,
        steps=tuple(codec.step * factor for factor in FITTED),
        kind=config.coding.kind,
        x_adv=x_adv,
        classifier=context.model if context else None,
        task=build_task(None, smoke=config.run.smoke) if context else None,
        groups=[video_of(name) for name in ds.ids] if ds.is_video else None,
        seed=derive_seed(config.run.seed, "reconstruction"),
        device=str(choose_device(config.run.device)),
    )
    return fit_or_load_network(folder, options.epochs, fit)


def subset(ds: Dataset, most: int = SAMPLES) -> Dataset:
    """Return so many samples, spread over a data set, as are fitted to at most."""
    numel = ds.raw([0]).numel()
    return ds.subset(evenly_spaced(len(ds), max(1, min(most, VALUES // numel))))


def measure_steps(codec: Codec, x: Tensor, x_adv: Tensor | None) -> list[dict[str, Any]]:
    """Return bytes and quality at each of the steps that a codec is fitted to.

    Args:
        codec: the codec.
        x: samples (B, ...).
        x_adv: like x where their difference is coded, which `psnr` is then about.
    """
    rows = evenly_spaced(len(x), TRIED)
    some, changed = x[rows], None if x_adv is None else x_adv[rows]
    wanted = some if changed is None else some - changed
    table = []
    for factor in FITTED:
        step = codec.step * factor
        kind = "x" if changed is None else "delta"
        blob = codec.encode(some, kind=kind, x_adv=changed, step=step)  # type: ignore[arg-type]
        quality = mean(psnr(wanted, codec.decode(blob)))
        table.append({"step": step, "bytes_per_sample": len(blob) / len(some), "psnr": quality})
    return table


def fit_or_load_codec(
    config: SamplesConfig, folder: RunFolder, change: Change | None = None, *, name: str = CODEC
) -> Codec:
    """Return a codec that is fitted to the training samples, and kept in the run folder.

    Args:
        config: the job's options.
        folder: its run folder.
        change: perturbs samples, for a codec of differences.
        name: of its file there.
    """
    flag = "--delta-codec" if name == DELTA_CODEC else "--codec"

    def fit() -> Codec:
        log.info("no %s: fitting one to the training samples first", flag)
        try:
            train = load_split(config, "train", folder)
        except ChangedInput:
            raise
        except RefusedInput as error:
            raise RefusedInput(f"{error}; or give {flag} FILE, of `compress fit`") from error
        some = train.subset(evenly_spaced(len(train), TRIED)) if change else subset(train)
        x, x_adv = some.stack(range(len(some)))[0], change(some) if change else None
        return Codec.fit(x, kind="delta" if change else "x", x_adv=x_adv)

    def attacked() -> list[Path]:
        return sorted(folder.checkpoints.glob(f"{TRAIN}*/*")) if change else []

    return make_or_load_codec(folder, fit, name=name, beside=attacked)
