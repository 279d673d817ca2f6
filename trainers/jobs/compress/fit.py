"""The job `compress fit`: a codec's statistics, from the samples of a split."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from torch import Tensor, nn

from attacks import RefusedInput
from attacks.common.randomness import derive_seed
from augment import Dataset
from augment.datasets.clips import video_of
from compress import Codec
from compress.codec import FITTED
from trainers.evaluate.quality import mean, psnr
from trainers.evenly_spaced import evenly_spaced
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.jobs.compress.attack_resumable import attack_resumable, choose_attack, log_doubts
from trainers.jobs.compress.files import CODEC, DELTA_CODEC, NETWORK, read_codec
from trainers.jobs.compress.publish_outcome import publish_outcome
from trainers.reconstruction.files import fit_or_load_network, save_network
from trainers.reconstruction.options import ReconstructionOptions
from trainers.run.cli.compress_config import CompressFitConfig
from trainers.run.cli.config import SamplesConfig
from trainers.run.cli.specs import build_task, convert, read_options
from trainers.run.folder.atomic import make_checked
from trainers.run.folder.folder import RunFolder
from trainers.run.folder.input_digests import ChangedInput
from trainers.run.job_context import check_attacks, load_split
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
    options = network_options(config)
    ds = load_split(config, flags.split, folder)
    some = subset(ds, len(ds) if options else SAMPLES)
    x_adv, context = (
        None,
        load_or_fit_classifier(config, folder, some) if flags.kind != "x" else None,
    )
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
    if options is not None:
        model = context.model if flags.kind == "x-task" and context else None
        if context is not None and model is not None:
            log_doubts(context, some)
        groups = [video_of(name) for name in some.ids] if some.is_video else None
        fit_and_save_network(
            config, folder, codec, options, x, x_adv, model, groups
        )  # first: it may be refused
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


def network_options(config: CompressFitConfig) -> ReconstructionOptions | None:
    """Return how R is to be trained, if it is."""
    text, asks = config.coding.network, config.coding.kind == "x-task"
    defaults = ({"epochs": 1} if config.run.smoke else {}) | ({"task": 1.0} if asks else {})
    return build_reconstruction(text, defaults=defaults, asks=asks) if text else None


def build_reconstruction(
    text: str, *, defaults: Mapping[str, Any], asks: bool
) -> ReconstructionOptions:
    """Make the options of R's training that a text describes, `unet` or `paper:OPTION=VALUE,...`.

    Args:
        text: the form of the network and options.
        defaults: options that the text overrides.
        asks: whether there is a classifier to ask.

    Raises:
        ValueError: for a form or an option there is not, or a value that is not allowed.
    """
    name, _, rest = text.partition(":")
    known = get_type_hints(ReconstructionOptions)
    form = convert(name, known.pop("form"), what="--network")
    if not asks:
        known.pop("task")
    return ReconstructionOptions(
        form=form, **{**defaults, **read_options("--network", rest, known)}
    )


def fit_and_save_network(
    config: CompressFitConfig,
    folder: RunFolder,
    codec: Codec,
    options: ReconstructionOptions,
    x: Tensor,
    x_adv: Tensor | None,
    model: nn.Module | None,
    groups: list[str] | None,
) -> None:
    """Train R on samples, or their differences to x_adv, and keep it.

    Args:
        config: the job's options.
        folder: its run folder.
        codec: the codec.
        options: how R is trained.
        x: the samples, (B, ...).
        x_adv: like them, for kind "delta".
        model: the classifier, for kind "x-task".
        groups: the video that each is of, of videos.
    """
    network = fit_or_load_network(
        folder,
        codec,
        x,
        options,
        steps=tuple(codec.step * factor for factor in FITTED),
        kind=config.coding.kind,
        x_adv=x_adv,
        classifier=model,
        task=build_task(None, smoke=config.run.smoke) if model is not None else None,
        groups=groups,
        seed=derive_seed(config.run.seed, "reconstruction"),
        device=str(choose_device(config.run.device)),
    )
    save_network(folder.path / NETWORK, network)


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
    file, seal = folder.path / name, folder.checkpoints / f"{name}.json"
    make_checked(
        file,
        seal,
        lambda: save_codec(folder, _fitted(config, folder, change, name), name=name),
        beside=lambda: sorted(folder.checkpoints.glob(f"{TRAIN}*/*")) if change else [],
    )
    return read_codec(file)


def _fitted(config: SamplesConfig, folder: RunFolder, change: Change | None, name: str) -> Codec:
    """Fit a codec to training samples."""
    flag = "--delta-codec" if name == DELTA_CODEC else "--codec"
    log.info("no %s: fitting one to the training samples first", flag)
    try:
        train = load_split(config, "train", folder)
    except ChangedInput:
        raise
    except RefusedInput as error:
        raise RefusedInput(f"{error}; or give {flag} FILE, of `compress fit`") from error
    some = subset(train) if change is None else train.subset(evenly_spaced(len(train), TRIED))
    x, x_adv = some.stack(range(len(some)))[0], change(some) if change else None
    return Codec.fit(x, kind="delta" if change else "x", x_adv=x_adv)


def save_codec(folder: RunFolder, codec: Codec, *, name: str = CODEC) -> None:
    """Keep a codec in a run folder, which can then not be begun anew with other options."""
    folder.checkpoints.mkdir(exist_ok=True)
    codec.save(folder.path / name)
