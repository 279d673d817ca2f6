"""Fit a classifier; what a run after an interruption gives equals, bit for bit, one without."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.frozen import has_reentrant_checkpoint
from attacks.common.goal import logits_of
from attacks.common.randomness import derive_seed, generator_for
from attacks.universal.fitting import take_prefix
from augment import Dataset, iterate
from trainers.fit.awp import perturbed_weights
from trainers.fit.ema import Ema
from trainers.fit.methods import METHODS
from trainers.fit.methods.method import TrainingStep
from trainers.fit.options import FitOptions
from trainers.fit.state import FitState, Record, pack, unpack
from trainers.fit.validation import BestEpoch, Validation
from trainers.run.cli.methods import PERTURBING


class Augment(Protocol):
    """Changes a batch (B, C, ...) at random, drawing from ``generator`` alone."""

    def __call__(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the changed batch, like x."""
        ...


@dataclass(frozen=True)
class FitResult:
    """What a fit was like.

    Attributes:
        history: a record an epoch: epoch, loss, accuracy (on the batches as fitted), lr, seconds,
            and, where there is a validation, robust_accuracy.
        kept: the epoch whose weights the classifier has.
        warning: why the fit ended early; None where it did not.
    """

    history: list[Record]
    kept: int
    warning: str | None = None


def fit_classifier(
    model: nn.Module,
    train: Dataset,
    options: FitOptions,
    *,
    seed: int,
    augment: Augment | None = None,
    static: Sequence[nn.Module] = (),
    validation: Validation | None = None,
    device: str | torch.device = "cpu",
    state: FitState | None = None,
    on_epoch: Callable[[FitState], object] | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit ``model`` in place; it ends in eval mode, with averaged weights if ``ema`` is on.

    Args:
        model: maps (B, C, ...) in [0, 1] to logits (B, K).
        train: labelled samples.
        options: method, optimiser and schedule.
        seed: of order, augmentation, dropout and the method's noise; the global random state is
            left alone.
        augment: applied to every batch.
        static: classifiers that the method "ensemble" perturbs samples for, too.
        validation: watches each epoch, chooses which one's weights are kept, and ends a fit that
            overfits its own attack; see `BestEpoch`. None keeps the last.
        device: where to fit.
        state: what ``on_epoch`` received; fitting goes on from there.
        on_epoch: called after every epoch with a copy of the state.
        progress: called with (steps done, steps in all) of the present epoch.

    Raises:
        ValueError: for unlabelled or no samples.
        RuntimeError: when the loss is not finite.
    """
    _check_labels(train)
    static = [each.to(device).eval().requires_grad_(False) for each in static]
    fit = _ClassifierTraining(model.to(device), train, options, seed, torch.device(device), static)
    history = [] if state is None else unpack(state, model, fit.optimizer, fit.ema)
    best = BestEpoch(validation) if validation else None
    if best and state:
        best.restore(take_prefix("best.", state.tensors))
    warning = best.overfitted(history) if best and history else None
    try:
        while len(history) < options.epochs and warning is None:
            start = time.perf_counter()
            record = fit.epoch(len(history), augment, progress)
            if best:
                with fit.averaged():
                    record["robust_accuracy"] = best.see(len(history), model)
            history.append(record | {"seconds": time.perf_counter() - start})
            warning = best.overfitted(history) if best else None
            if on_epoch:
                kept = best.state() if best else {}
                on_epoch(pack(model, fit.optimizer, fit.ema, history, kept))
        if best:
            if warning is None and options.method in PERTURBING:
                warning = best.masked(history)
            model.load_state_dict(best.weights)
        elif fit.ema:
            model.load_state_dict(fit.ema.average)
    finally:
        model.eval()
    return FitResult(history, best.epoch if best else len(history) - 1, warning)


class _ClassifierTraining:
    """The state of a fit: model, optimiser, weight average."""

    def __init__(
        self,
        model: nn.Module,
        train: Dataset,
        options: FitOptions,
        seed: int,
        device: torch.device,
        static: Sequence[nn.Module],
    ) -> None:
        self.model, self.train, self.options = model, train, options
        self.seed, self.device, self.static = seed, device, static
        self.method = METHODS[options.method]
        self.replays = self.method.replays(options)
        self.optimizer = _optimizer(model, options)
        self.ema = Ema(model, options.ema) if options.ema else None
        # BatchNorm cannot be fitted on a single sample: a last batch of one is left out.
        size, left = options.batch_size, len(train) % options.batch_size
        self.drop_last = len(train) > size and left == 1
        # What is checkpointed re-entrantly is fitted only where its input asks for a gradient, too:
        # the first step tells.
        self.input_gradient = True
        self.steps = self.replays * (len(train) // size + (left > 0 and not self.drop_last))

    def epoch(self, epoch: int, augment: Augment | None, progress: Progress | None) -> Record:
        """Fit one epoch, whose randomness depends on (seed, epoch) alone."""
        # Sums stay on the device, for reading one would make every step wait for the GPU.
        loss_sum, right = torch.zeros(2, dtype=torch.float64, device=self.device)
        seen, rate = 0, 0.0
        generator = generator_for(self.seed, "augment", epoch)
        noise = generator_for(self.seed, "method", epoch)
        training = TrainingStep(self.model, self._forward, self.options, noise, self.static)
        batches = iterate(
            self.train,
            batch_size=self.options.batch_size,
            seed=derive_seed(self.seed, "order", epoch),
            device=self.device,
            drop_last=self.drop_last,
        )
        step, stored = epoch * self.steps, self.train.perturbed
        self.model.train()
        # What draws from the global generators, such as dropout, is seeded; they are given back.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(derive_seed(self.seed, "dropout", epoch))
            for x, y, rows in batches:
                x = augment(x, generator=generator) if augment else x
                training = replace(training, fixed=self._fixed(stored[rows]))
                for _ in range(self.replays):
                    rate = self.options.rate(step, self.steps * self.options.epochs)
                    logits, loss = self._step(training, x, y, step, rate)
                    loss_sum += loss * len(y)
                    right += (logits.argmax(1) == y).sum()
                    seen, step = seen + len(y), step + 1
                    if progress:
                        progress(step - epoch * self.steps, self.steps)
        loss_mean = float(loss_sum) / seen
        if not math.isfinite(loss_mean):
            raise RuntimeError(
                f"the loss of epoch {epoch} is {loss_mean}; lower the learning rate (lr is "
                f"{self.options.lr}) or set clip_norm"
            )
        return {"epoch": epoch, "loss": loss_mean, "accuracy": float(right) / seen, "lr": rate}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model its averaged weights for a while, where there are any, in eval mode."""
        self.model.eval()
        if self.ema is None:
            yield
            return
        live = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema.average)
        try:
            yield
        finally:
            self.model.load_state_dict(live)

    def _forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, K) of x (B, ...) in training mode."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            # GoogLeNet and Inception return their auxiliary logits too while they are trained.
            leaf = x if x.requires_grad else x.detach().requires_grad_(self.input_gradient)
            logits = logits_of(self.model, leaf)
        self.input_gradient = self.input_gradient and has_reentrant_checkpoint(logits)
        return logits

    def _fixed(self, stored: Tensor) -> Tensor | None:
        """Return which samples of a batch are fitted as they are, (B,) bool; None for none.

        Those that come perturbed from a bank, and of the others the first, a share of them.
        """
        share = self.options.clean_share
        share = self.method.clean_share if share is None else share
        fresh = (~stored).cumsum(0)  # (B,) how many of the others there are up to each
        fixed = stored | (fresh <= int(share * int(fresh[-1])))
        return fixed if bool(fixed.any()) else None

    def _perturb(self, training: TrainingStep, x: Tensor, y: Tensor) -> Tensor:
        """Return x (B, ...) as it is fitted."""
        if training.fixed is None:
            return self.method.perturb(training, x, y)
        rows = (~training.fixed).nonzero().squeeze(1).to(x.device)  # (n,)
        if not len(rows):
            return x
        return x.index_copy(0, rows, self.method.perturb(training, x[rows], y[rows]))

    def _step(
        self, training: TrainingStep, x: Tensor, y: Tensor, step: int, rate: float
    ) -> tuple[Tensor, Tensor]:
        """Take one step; returns logits (B, K) and the mean loss, detached."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        fitted = partial(self.method.loss, training, x, self._perturb(training, x, y), y)
        worst = (
            perturbed_weights(self.model, lambda: fitted()[1], gamma=self.options.awp)
            if self.options.awp
            else nullcontext()
        )
        with worst:
            logits, loss = fitted()
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
        if self.options.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip_norm)
        self.optimizer.step()
        if self.ema:
            self.ema.update(step)
        return logits.detach(), loss.detach()


def _optimizer(model: nn.Module, options: FitOptions) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    lr, momentum, decay = options.lr, options.momentum, options.weight_decay
    if options.optimizer == "adamw":
        betas = (momentum, 0.999)
        return torch.optim.AdamW(parameters, lr, betas, weight_decay=decay, fused=True)
    nesterov = momentum > 0
    return torch.optim.SGD(
        parameters, lr, momentum, weight_decay=decay, nesterov=nesterov, fused=True
    )


def _check_labels(train: Dataset) -> None:
    if not len(train):
        raise ValueError(f"{train.name} has no samples to fit on; give more training samples")
    if int(train.labels.min()) < 0:
        raise ValueError(
            f"{train.name} has unlabelled samples; fitting needs a label for each: put the files "
            "into a folder per class"
        )
