"""What `compress evaluate` measures: our codes, other codecs' files, and controls.

A job codes and decodes all samples; what is made of the outcome is evaluate.py's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from augment import Dataset
from compress import Codec, TaskQuantiser
from compress.file_format import Kind, parse
from compress.network.restoration_net import RestorationNet
from compress.quantise.quantise import Quantiser, quantise
from compress.quantise.threshold import Threshold, quantise_thresholded
from trainers.evaluate.evaluation import predict
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.compress.benchmark import peers
from trainers.jobs.compress.benchmark.evaluators import Evaluators
from trainers.jobs.compress.files import make_or_load_code
from trainers.reconstruction.files import network_bytes
from trainers.run.cli.jobs.compress import CompressEvaluateConfig
from trainers.run.folder.folder import RunFolder

BITS = (0.25, 0.5, 1.0, 2.0)  # a pixel: the rates where none are given
VIDEO_SHARE = 0.2  # of them, for videos
TINY, TINY_SHARE = 16 * 16, 2.5  # pixels of pictures that take more
TRIED = 32  # samples by which another codec's quality is found
Row = dict[str, Any]
Outcome = tuple[Row, Tensor]


@dataclass(frozen=True)
class Benchmark:
    """Samples, codecs, evaluators and options, which all measurements share.

    Attributes:
        config: the job's options.
        folder: its run folder.
        test: the samples.
        codec: ours.
        delta_codec: that of differences; None where they are not measured.
        x_adv: the perturbed samples, like the samples; likewise.
        task: the search of its x-task.
        network: R, which restores files of its kind; or None.
        evaluators: the classifiers that look at reconstructions.
        warnings: what could not be measured, and why.
    """

    config: CompressEvaluateConfig
    folder: RunFolder
    test: Dataset
    codec: Codec
    delta_codec: Codec | None
    x_adv: Tensor | None
    task: TaskQuantiser
    network: RestorationNet | None
    evaluators: Evaluators
    warnings: list[str]

    def codec_of(self, kind: str) -> Codec:
        """Return the codec for a kind."""
        return self.delta_codec if kind == "delta" and self.delta_codec else self.codec

    @property
    def pixels(self) -> int:
        """Pixels of a sample, in all its frames."""
        return math.prod(self.test.shape[1:])

    @property
    def rates(self) -> list[float]:
        """Bytes a sample to measure at, ascending."""
        share = VIDEO_SHARE if self.test.is_video else 1.0
        share = TINY_SHARE if self.pixels < TINY else share
        bits = BITS[1::2] if self.config.run.smoke else BITS
        usual = [share * each * self.pixels / 8 for each in bits]
        return sorted(set(self.config.measure.rates)) or usual


def list_measurements(benchmark: Benchmark) -> dict[str, Callable[[], Outcome]]:
    """Return everything that is to be measured, by name."""
    evaluators, network = benchmark.evaluators, benchmark.network
    kinds = list(dict.fromkeys(("x", *benchmark.config.measure.kinds)))
    kinds = kinds if evaluators.model is not None else ["x"]
    runs: dict[str, Callable[[float], Outcome]] = {
        kind: partial(run_codec, benchmark, kind) for kind in kinds
    }
    for kind, way in product(kinds, benchmark.config.measure.thresholds):
        if kind != "x-task":
            runs[f"{kind}-{way}"] = partial(run_codec, benchmark, kind, threshold=way)
    if network is not None and (kind := network.config.kind) in kinds:
        runs[f"{kind}+R"] = partial(run_codec, benchmark, kind, network=network)
    runs |= list_peers(benchmark)
    jobs: dict[str, Callable[[], Outcome]] = {
        f"{name}-{rate:g}": partial(run, rate)
        for name, run in runs.items()
        for rate in benchmark.rates
    }
    jobs["zeros"] = partial(send_nothing, benchmark)
    if evaluators.model is not None and evaluators.train is not None:
        jobs["label"] = partial(send_label, benchmark, evaluators.model, evaluators.train)
    return jobs


def list_peers(benchmark: Benchmark) -> dict[str, Callable[[float], Outcome]]:
    """Return how other codecs are measured at a rate, by name; warn of those that cannot be."""
    among = peers.VIDEOS if benchmark.test.is_video else peers.IMAGES
    runs: dict[str, Callable[[float], Outcome]] = {}
    for name in dict.fromkeys(benchmark.config.measure.peers):
        peer = among.get(name)
        if peer is None:  # it codes the other of images and videos
            continue
        channels = benchmark.test.shape[0]
        missing = peer.missing or ("" if channels in (1, 3) else f"it codes no {channels} channels")
        if missing:
            benchmark.warnings.append(f"{name} is left out: {missing}")
            continue
        runs[name] = partial(run_peer, benchmark, name, peer)
    return runs


def new_point(
    codec: str, rate: float | None, size: float, payload: float | None, **more: Any
) -> Row:
    """Return the columns of a point that do not depend on its quality."""
    always = {"codec": codec, "rate": rate, "bytes_per_sample": size, "payload_bytes": payload}
    never = dict.fromkeys(("bytes_with_tables", "bytes_with_network", "setting"))
    return always | never | more


def run_codec(
    benchmark: Benchmark,
    kind: Kind,
    rate: float,
    *,
    network: RestorationNet | None = None,
    threshold: Threshold | None = None,
) -> Outcome:
    """Code all samples as one file, of so many bytes a sample without its header.

    With a network R, the same file is restored; beside its bytes stand those with R's own. A
    difference that no R restores is shown around grey. With a threshold, its choice of coefficients
    takes the place of the codec's dead zone.
    """
    searched, codec = kind == "x-task", benchmark.codec_of(kind)
    changed = benchmark.x_adv if kind == "delta" else None
    name: str = kind
    quantiser: Quantiser = quantise
    if threshold is not None:
        name = f"{kind}-{threshold}"
        quantiser = partial(quantise_thresholded, method=threshold, k=round(rate))
    make = partial(
        codec.encode,
        benchmark.evaluators.x,
        kind=kind,
        x_adv=changed,
        model=benchmark.evaluators.model if searched else None,
        task=benchmark.task if searched else None,
        quantiser=quantiser,
        bytes_per_sample=rate,
    )
    blob, count = make_or_load_code(benchmark.folder, f"{name}-{rate:g}", make), len(benchmark.test)
    file = parse(blob)
    tables = len(codec.tables.packed)
    row = new_point(
        f"{name}+R" if network else name,
        rate,
        len(blob) / count,
        file.payload,
        bytes_with_network=(len(blob) + network_bytes(network)) / count if network else None,
        bytes_with_tables=(len(blob) + tables + 4) / count,  # 4: their check sum
        setting=file.head.step,
    )
    got = codec.decode(blob, network=network)
    return row, (0.5 + got).clamp(0, 1) if changed is not None and network is None else got


def run_peer(benchmark: Benchmark, name: str, peer: peers.Peer, rate: float) -> Outcome:
    """Code each sample as a file of its own, of so many bytes on average without headers."""
    samples = list(benchmark.evaluators.x)
    quality = peers.find_quality(
        peer, [samples[i] for i in evenly_spaced(len(samples), TRIED)], rate
    )
    sizes, payloads, got = zip(*(peer.code(x, quality) for x in samples), strict=True)
    count = len(samples)
    row = new_point(name, rate, sum(sizes) / count, sum(payloads) / count, setting=quality)
    return row, torch.stack(got)


def send_nothing(benchmark: Benchmark) -> Outcome:
    """Send nothing: every sample is mid-grey."""
    return new_point("zeros", None, 0.0, 0.0), torch.full_like(benchmark.evaluators.x, 0.5)


def send_label(benchmark: Benchmark, model: nn.Module, train: Dataset) -> Outcome:
    """Send the classifier's answer alone, and once for all one training sample of each class.

    A class's exemplar is the training sample that the classifier is surest of, coded at the
    highest rate.
    """
    evaluators = benchmark.evaluators
    answers = evaluators.answers(model, evaluators.x)
    assert answers is not None
    rows = choose_exemplars(evaluators, model, train)
    blob = benchmark.codec.encode(train.stack(rows)[0], bytes_per_sample=max(benchmark.rates))
    bits, count = math.log2(len(rows)), len(benchmark.test)
    got = benchmark.codec.decode(blob)[answers.clamp_max(len(rows) - 1)]
    size = bits / 8 + len(blob) / count
    return new_point("label", None, size, bits / 8), got


def choose_exemplars(evaluators: Evaluators, model: nn.Module, train: Dataset) -> list[int]:
    """Return, for each class, the training sample of it that the classifier is surest of."""
    parts = [
        predict(model, train.stack(rows)[0].to(evaluators.device)).softmax(1).cpu()
        for rows in torch.split(torch.arange(len(train)), evaluators.batch_size)
    ]
    scores = torch.cat(parts)  # (N, K)
    own = torch.nn.functional.one_hot(train.labels, scores.shape[1]).bool()
    return (scores * own).argmax(0)[: train.num_classes].tolist()
