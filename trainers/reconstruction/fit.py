"""Train R on coded samples; an interrupted training goes on to the very same bits."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.randomness import generator_for
from compress import Codec, NetworkConfig, RestorationNet, TaskQuantiser
from compress.file_format import Kind, parse
from trainers.fit.ema import Ema
from trainers.fit.options import FitOptions
from trainers.fit.state import FitState, Record, pack, unpack
from trainers.reconstruction.gate import knots, measure_gate
from trainers.reconstruction.options import ReconstructionOptions
from trainers.reconstruction.samples import RestorationSamples, number_groups, split_groups
from trainers.reconstruction.terms import Terms

_CLIP = 1.0  # largest l2 norm of the gradient


@dataclass(frozen=True)
class NetworkFit:
    """A trained restoration network R, and how it got there.

    Attributes:
        network: R, its weights rounded as they are kept, and its gate measured.
        history: one record an epoch: epoch, loss and its parts, lr, seconds.
        gate: one a step that the gate was measured at: step, share, plain_psnr, psnr.
    """

    network: RestorationNet
    history: list[Record]
    gate: list[Record]


def coded_steps(
    codec: Codec,
    x: Tensor,
    targets: Sequence[float],
    *,
    kind: Kind = "x",
    x_adv: Tensor | None = None,
) -> tuple[float, ...]:
    """Return the steps with which samples have so many bytes each, rising.

    Args:
        codec: codes them.
        x: (B, C, ...) in [0, 1].
        targets: bytes a sample.
        kind: "x", or "delta" for x - x_adv.
        x_adv: like x.

    Raises:
        ValueError: when no step gives so few or so many.
    """
    files = [codec.encode(x, kind=kind, x_adv=x_adv, bytes_per_sample=size) for size in targets]
    return tuple(sorted({parse(file).head.step for file in files}))


def fit_network(
    codec: Codec,
    x: Tensor,
    options: ReconstructionOptions | None = None,
    *,
    steps: Sequence[float],
    kind: Kind = "x",
    x_adv: Tensor | None = None,
    classifier: nn.Module | None = None,
    task: TaskQuantiser | None = None,
    groups: Sequence[object] | Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    state: FitState | None = None,
    on_epoch: Callable[[FitState], object] | None = None,
    progress: Progress | None = None,
) -> NetworkFit:
    """Train R on samples coded with several steps, then measure its gate.

    Args:
        codec: codes the samples.
        x: (N, C, H, W) or (N, C, T, H, W) in [0, 1]; all are held in memory once for each step.
        options: network, loss and schedule; None takes the defaults.
        steps: of the quantiser; R serves those between them too.
        kind: of the files that R is for.
        x_adv: like x, for kind "delta".
        classifier: samples to logits (B, K), on the device; for the task term and kind "x-task".
        task: how kind "x-task" is coded.
        groups: of each sample what it is of, such as the video of a clip; samples of one are held
            out together, and count as one to the gate's doubt. None takes each on its own.
        seed: of the order, and of what is held out; the global random state is left alone.
        device: where to train.
        state: what ``on_epoch`` received; training goes on from there.
        on_epoch: called after every epoch with a copy of the state.
        progress: called with (steps done, steps in all) of the present epoch.

    Raises:
        ValueError: for options that contradict each other or the samples.
        RuntimeError: when the loss is not finite.
    """
    options = options or ReconstructionOptions()
    _check(x, options, steps, kind, classifier)
    samples = RestorationSamples(
        codec=codec, x=x, groups=number_groups(groups, len(x)), kind=kind, x_adv=x_adv,
        classifier=classifier, task=task,
    )  # fmt: skip
    with frozen(classifier) if classifier is not None else nullcontext():
        fit = _NetworkTraining(
            samples, options, sorted(set(steps)), seed=seed, device=torch.device(device)
        )
        history = unpack(state, fit.network, fit.optimizer, fit.ema) if state else []
        while len(history) < options.epochs:
            start = time.perf_counter()
            record = fit.epoch(len(history), progress)
            history.append(record | {"seconds": time.perf_counter() - start})
            if on_epoch:
                on_epoch(pack(fit.network, fit.optimizer, fit.ema, history))
        return NetworkFit(fit.network, history, fit.finish())


class _NetworkTraining:
    """The state of training R: network, optimiser, weight average."""

    def __init__(
        self,
        samples: RestorationSamples,
        options: ReconstructionOptions,
        steps: list[float],
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        """Initialise R, and code the training samples at every step of the quantiser."""
        self.samples, self.options, self.steps = samples, options, steps
        self.seed, self.device = seed, device
        self.rows, self.held_out = split_groups(samples.groups, options, seed)
        config = NetworkConfig(
            channels=samples.x.shape[1],
            dims=samples.x.ndim - 2,
            kind=samples.kind,
            form=options.form,
            width=options.width,
            depth=options.depth,
        )
        self.network = RestorationNet(config).to(device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), options.lr, weight_decay=0, fused=True
        )
        self.ema = Ema(self.network, options.ema) if options.ema else None
        self.schedule = FitOptions(epochs=options.epochs, lr=options.lr, warmup=options.warmup)
        self.x = samples.x[self.rows]
        self.decoded = torch.stack([samples.decoded(step, self.rows) for step in steps])
        self.terms = self._terms(self.decoded, self.x)

    def _terms(self, decoded: Tensor, x: Tensor) -> Terms:
        plain = self.network.base(decoded).clamp(0, 1)  # (S, N, C, ...)
        return Terms.measured(self.options, plain, x, self.samples.classifier)

    def epoch(self, epoch: int, progress: Progress | None) -> Record:
        """Train one epoch, whose order depends on (seed, epoch) alone."""
        sums: dict[str, Tensor] = {}
        pairs = len(self.steps) * len(self.x)
        each = -(-pairs // self.options.batch_size)
        self.network.train()
        for number, (rate, row) in enumerate(self._batches(epoch), start=epoch * each):
            lr = self.schedule.rate(number, each * self.options.epochs)
            for name, value in self._step(rate, row, number, lr).items():
                # Sums stay on the device, for reading one would make every step wait for it.
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + value
            if progress:
                progress(number - epoch * each + 1, each)
        self.network.eval()
        means = {name: float(value) / pairs for name, value in sums.items()}
        if not math.isfinite(means["loss"]):
            raise RuntimeError(
                f"the loss of epoch {epoch} is {means['loss']}; lower the learning rate (lr is "
                f"{self.options.lr})"
            )
        return {"epoch": epoch, "lr": lr} | means

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rates and rows of each batch, (B,) and (B,): each pair of them once."""
        generator = generator_for(self.seed, "order", epoch)
        order = torch.randperm(len(self.steps) * len(self.x), generator=generator)
        for part in torch.split(order, self.options.batch_size):
            yield part // len(self.x), part % len(self.x)

    def _step(self, rate: Tensor, row: Tensor, number: int, lr: float) -> dict[str, Tensor]:
        """Take one step; return the sums of the loss and its parts, detached."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        decoded, x = self.decoded[rate, row].to(self.device), self.x[row].to(self.device)
        steps = torch.tensor(self.steps)[rate].to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            restored = self.network(decoded, steps)
        found = self.terms(restored, x, rate.to(self.device))
        self.optimizer.zero_grad()
        torch.autograd.backward(found["loss"].mean())
        nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self.optimizer.step()
        if self.ema:
            self.ema.update(number)
        return {name: value.detach().sum() for name, value in found.items()}

    def finish(self) -> list[Record]:
        """Put the averaged weights into R, round them, and measure its gate."""
        if self.ema:
            self.network.load_state_dict(self.ema.average)
        self.network.round_to_half()
        self.network.eval()
        at, x = knots(self.steps), self.samples.x[self.held_out]
        decoded = torch.stack([self.samples.decoded(step, self.held_out) for step in at])
        self.network.blend_weight, records = measure_gate(
            self.network, list(decoded), x, steps=at, terms=self._terms(decoded, x),
            groups=self.samples.groups[self.held_out], certain=self.options.memorise,
        )  # fmt: skip
        return records


def _check(
    x: Tensor,
    options: ReconstructionOptions,
    steps: Sequence[float],
    kind: Kind,
    classifier: nn.Module | None,
) -> None:
    """Refuse what contradicts itself."""
    if not steps:
        raise ValueError("steps is empty; give at least one step of the quantiser")
    if x.ndim not in (4, 5):
        raise ValueError(f"x is {tuple(x.shape)}; give (N, C, H, W) or (N, C, T, H, W)")
    if options.temporal and x.ndim == 4:
        raise ValueError(f"temporal is {options.temporal}; images have no frames, give 0")
    if classifier is None and (options.task or kind == "x-task"):
        raise ValueError(f"task={options.task}, kind={kind!r}; give a classifier")
    if classifier is not None and not (options.task or kind == "x-task"):
        raise ValueError('a classifier is given, but task is 0 and kind not "x-task"; set task')
