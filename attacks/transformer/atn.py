"""Adversarial transformation networks: one network trained to perturb any sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, logits_of
from attacks.common.optimizers import descend, moments, restore_moments
from attacks.common.options import check_kinds
from attacks.common.randomness import generator_for
from attacks.transformer.atn_network import ATNShape, Form, transform
from attacks.transformer.fitted_atn import FittedATN
from attacks.universal.fitting import (
    FitCheckpoint,
    Loader,
    OnEpoch,
    Record,
    SampleLoader,
    check_target,
    run_epochs,
)


@dataclass(frozen=True)
class ATN:
    """Options of a fit that gives a network for perturbing samples, a `FittedATN`.

    It minimises, over all samples, beta * ||g(x) - x||^2 + ||f(g(x)) - r||^2: f are the model's
    softmax scores, and r those of x with the target raised to `alpha` times the highest.

    Args:
        form: "residual" learns what to add to the sample (P-ATN), "autoencoder" the perturbed
            sample itself (AAE).
        beta: weight of the change, a sum over all values.
        alpha: how far the target is to lead, above 1; the paper's 1.5 keeps closer to the sample
            and fails more often.
        passes: times through the samples.
        lr: Adam's learning rate, falling to zero along a half cosine.
        width: channels of the network.
        target: the class to reach, as published; None for a network that is told the class of
            each sample, in training a random one but the model's own answer.

    Source: Baluja & Fischer 2018, section 2: the joint loss and its reranking function.
    """

    form: Form = "residual"
    beta: float = 0.02
    alpha: float = 5.0
    passes: int = 20
    lr: float = 1e-3
    width: int = 32
    target: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_target(self.target)
        ATNShape(1, 2, form=self.form, width=self.width)
        if self.beta < 0 or self.lr <= 0 or self.alpha <= 1:
            raise ValueError(
                f"beta={self.beta}, lr={self.lr}, alpha={self.alpha}; give beta >= 0, lr > 0, "
                "alpha > 1"
            )
        if self.passes < 1:
            raise ValueError(f"passes is {self.passes}; give a number >= 1")

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        checkpoint: FitCheckpoint | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> FittedATN:
        """Train a network to perturb the samples; see `Fittable.fit`.

        Returns:
            The network; its `history` holds, for each pass, the mean "loss" and the share of
            samples that "reached" the class they were sent to.
        """
        with frozen(model):
            samples = SampleLoader.of(loader, model)
            fit = ATNFit(self, model, samples, seed=seed)
            history = run_epochs(
                fit, passes=self.passes, progress=progress, checkpoint=checkpoint, on_epoch=on_epoch
            )
        weights = {name: weight.detach() for name, weight in fit.weights.items()}
        return FittedATN(weights, fit.shape, self.target, tuple(history))


class ATNFit:
    """A transformer on its way through the samples."""

    def __init__(
        self,
        options: ATN,
        model: nn.Module,
        samples: SampleLoader,
        *,
        seed: int,
    ) -> None:
        """Begin with random weights."""
        self.options, self.model, self.samples, self.seed = options, model, samples, seed
        x = samples.like()
        with torch.no_grad():
            logits = logits_of(model, x)
        Goal(torch.tensor([options.target or 0])).check_classes(logits)
        self.shape = ATNShape(
            x.shape[1], logits.shape[1], x.ndim - 2, form=options.form, width=options.width
        )
        weights = self.shape.initial(generator_for(seed, "weights"))
        self.weights = {name: w.to(x).requires_grad_() for name, w in weights.items()}
        self.optimizer = torch.optim.Adam(list(self.weights.values()), lr=options.lr)

    def run_epoch(self, number: int) -> Record:
        """Go through the samples once, at a rate that falls along a half cosine."""
        share = 0.5 + 0.5 * math.cos(math.pi * number / self.options.passes)
        for group in self.optimizer.param_groups:
            group["lr"] = share * self.options.lr
        generator = generator_for(self.seed, "targets", number)
        sums = [self._step(x, generator) for x in self.samples]
        # Waits for the device once.
        loss, reached, could, count = torch.stack(sums).sum(0).tolist()
        return {"loss": loss / count, "reached": reached / max(could, 1), "attackable": int(could)}

    def _step(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Train on a batch.

        Returns:
            Its summed loss, how many samples reached the target, of how many that were not called
            it before, and its size.
        """
        with torch.no_grad():
            before = logits_of(self.model, x).softmax(1)  # (B, K)
        wanted = self._targets(before, generator)
        x_adv = transform(self.weights, x, wanted, shape=self.shape)
        logits = logits_of(self.model, x_adv)
        change = (x_adv - x).square().flatten(1).sum(1)  # (B,)
        aim = rerank(before, wanted, self.options.alpha)  # (B, K)
        miss = (logits.softmax(1) - aim).square().sum(1)  # (B,)
        loss = self.options.beta * change + miss
        descend(loss.mean(), self.optimizer)
        could = before.argmax(1) != wanted
        reached = (could & Goal(wanted, wanted).is_adversarial(logits)).sum()
        counts = [reached.to(x), could.sum().to(x), loss.new_tensor(len(x))]
        return torch.stack([loss.detach().sum(), *counts])

    def _targets(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """Return the classes to aim at (B,): the target, or each time another wrong one."""
        answers, classes = scores.argmax(1), scores.shape[1]
        if self.options.target is not None:
            return torch.full_like(answers, self.options.target)
        shift = torch.randint(1, classes, answers.shape, generator=generator).to(answers)
        return (answers + shift) % classes

    def should_stop(self, record: Record) -> bool:
        """Never stop early: the rate has to fall to its end."""
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state."""
        prefixed = {f"optimizer.{name}": t for name, t in moments(self.optimizer).items()}
        return self.weights | prefixed

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[name])
        states = {k: t for k, t in tensors.items() if k.startswith("optimizer.")}
        states = {name.removeprefix("optimizer."): t for name, t in states.items()}
        restore_moments(self.optimizer, states)


def rerank(scores: Tensor, target: Tensor, alpha: float) -> Tensor:
    """Return scores (B, K) in which the target leads by a factor, all else keeps its order.

    Args:
        scores: softmax scores (B, K).
        target: classes to lead, int64 (B,).
        alpha: the target's score over the highest one, before all are scaled to sum to 1.

    Source: Baluja & Fischer 2018, section 2: the reranking function.

    >>> rerank(torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([2]), 2.0)
    tensor([[0.2778, 0.1667, 0.5556]])
    """
    top = alpha * scores.amax(1, keepdim=True)
    raised = scores.scatter(1, target[:, None], top)
    return raised / raised.sum(1, keepdim=True)
