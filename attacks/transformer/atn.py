"""Adversarial transformation networks: one network trained to perturb any sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from attacks.common.goal import Goal, detached_logits, logits_of
from attacks.common.optimizers import descend, half_cosine, moments, restore_moments
from attacks.common.options import Count, Natural, NonNegative, Positive, above
from attacks.common.randomness import generator_for
from attacks.transformer.atn_network import ATNShape, Form, transform
from attacks.transformer.fitted_atn import FittedATN
from attacks.universal.fitting import EpochFit, FitByEpochs, add_prefix, take_prefix
from attacks.universal.sample_loader import SampleLoader
from attacks.universal.saved_attack import Record


@dataclass(frozen=True)
class ATN(FitByEpochs[FittedATN]):
    """Train a network g that perturbs samples, an adversarial transformation network.

    The loss of a sample x is beta * ||g(x) - x||^2 + ||f(g(x)) - r||^2, where f is the model's
    softmax, and r is f(x) with the target class raised to `alpha` times the highest score.

    `fit` returns a `FittedATN`. Each record of its `history` holds the mean "loss"; "reached",
    the share of attackable samples whose target class the model predicts; and "attackable", the
    number of samples that the model predicts as another class when clean.

    Args:
        form: "residual" learns the perturbation (P-ATN), "autoencoder" the perturbed sample (AAE).
        beta: weight of the squared l2 length of the perturbation.
        alpha: lead of the target class, above 1; the paper's 1.5 changes samples less and fails
            more often.
        passes: number of epochs.
        lr: Adam's learning rate, decayed to zero along a half cosine.
        width: channels of the network at full resolution.
        target: class to reach, as published; None trains a network that takes the class as an
            input, with a random class other than the clean prediction for each sample.

    Source: Baluja & Fischer 2018, section 2: the joint loss and its reranking function.
    """

    form: Form = "residual"
    beta: NonNegative = 0.02
    alpha: Annotated[float, above(1)] = 5.0
    passes: Count = 20
    lr: Positive = 1e-3
    width: Count = 32
    target: Natural | None = None

    def start_fit(self, model: nn.Module, samples: SampleLoader, *, seed: int) -> ATNFit:
        """Return the fit with random weights."""
        return ATNFit(self, model, samples, seed=seed)


class ATNFit(EpochFit[FittedATN]):
    """The network and its optimizer in progress."""

    def __init__(self, options: ATN, model: nn.Module, samples: SampleLoader, *, seed: int) -> None:
        """Begin with random weights."""
        self.options, self.model, self.samples, self.seed = options, model, samples, seed
        x = samples.like()
        logits = detached_logits(model, x)
        Goal(torch.tensor([options.target or 0])).check_classes(logits)
        self.shape = ATNShape(
            x.shape[1], logits.shape[1], x.ndim - 2, form=options.form, width=options.width
        )
        weights = self.shape.initial(generator_for(seed, "weights"))
        self.weights = {name: w.to(x).requires_grad_() for name, w in weights.items()}
        self.optimizer = torch.optim.Adam(list(self.weights.values()), lr=options.lr)

    def run_epoch(self, epoch: int) -> Record:
        """Train on every batch once, at the epoch's learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = half_cosine(epoch, self.options.passes) * self.options.lr
        generator = generator_for(self.seed, "targets", epoch)
        sums = [self._train_batch(x, generator) for x in self.samples]
        # Synchronises with the device once.
        loss, reached, attackable, count = torch.stack(sums).sum(0).tolist()
        return {
            "loss": loss / count,
            "reached": reached / max(attackable, 1),
            "attackable": int(attackable),
        }

    def _train_batch(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Take an optimizer step on x (B, ...).

        Returns:
            (4,): the summed loss, samples that reached the target, attackable samples, and B.
        """
        before = detached_logits(self.model, x).softmax(1)  # (B, K)
        target = self._choose_targets(before, generator)
        x_adv = transform(self.weights, x, target, shape=self.shape)
        logits = logits_of(self.model, x_adv)
        change = (x_adv - x).square().flatten(1).sum(1)  # (B,)
        wanted = rerank(before, target, self.options.alpha)  # (B, K)
        miss = (logits.softmax(1) - wanted).square().sum(1)  # (B,)
        loss = self.options.beta * change + miss
        descend(loss.mean(), self.optimizer)
        attackable = before.argmax(1) != target
        reached = (attackable & Goal(target, target).is_adversarial(logits)).sum()
        counts = [reached.to(x), attackable.sum().to(x), loss.new_tensor(len(x))]
        return torch.stack([loss.detach().sum(), *counts])

    def _choose_targets(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """Return the option `target`, or random classes other than the predicted ones, (B,)."""
        predicted, classes = scores.argmax(1), scores.shape[1]
        if self.options.target is not None:
            return torch.full_like(predicted, self.options.target)
        shift = torch.randint(1, classes, predicted.shape, generator=generator).to(predicted)
        return (predicted + shift) % classes

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights and the optimizer's moments."""
        return self.weights | add_prefix("optimizer.", moments(self.optimizer))

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Continue from the tensors of an earlier `state_dict`."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[name])
        restore_moments(self.optimizer, take_prefix("optimizer.", tensors))

    def result(self, history: tuple[Record, ...]) -> FittedATN:
        """Return the trained network."""
        weights = {name: weight.detach() for name, weight in self.weights.items()}
        return FittedATN(weights, self.shape, self.options.target, history)


def rerank(scores: Tensor, target: Tensor, alpha: float) -> Tensor:
    """Raise the target's score to a multiple of the highest; keep the order of the others.

    Args:
        scores: softmax scores, (B, K).
        target: classes to raise, int64 (B,).
        alpha: the target's score over the highest one, before scaling.

    Returns:
        Scores (B, K), scaled to sum to 1.

    Source: Baluja & Fischer 2018, section 2: the reranking function.

    >>> rerank(torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([2]), 2.0)
    tensor([[0.2778, 0.1667, 0.5556]])
    """
    top = alpha * scores.amax(1, keepdim=True)
    raised = scores.scatter(1, target[:, None], top)
    return raised / raised.sum(1, keepdim=True)
