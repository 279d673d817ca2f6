"""The training of an adversarial transformer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from attacks.common.descent import descend, moments, restore_moments
from attacks.common.goal import Goal, logits_of
from attacks.common.randomness import generator_for
from attacks.transformer.atn_network import TransformerShape, transform
from attacks.universal.fitting import Record, Samples

if TYPE_CHECKING:
    from attacks.transformer.atn import AdversarialTransformer


class TransformerFit:
    """A transformer on its way through the samples."""

    def __init__(
        self,
        options: AdversarialTransformer,
        model: nn.Module,
        samples: Samples,
        *,
        seed: int,
    ) -> None:
        """Begin with random weights."""
        self.options, self.model, self.samples, self.seed = options, model, samples, seed
        x = samples.like()
        with torch.no_grad():
            logits = logits_of(model, x)
        Goal(torch.tensor([options.target or 0])).check_classes(logits)
        self.shape = TransformerShape(
            x.shape[1], logits.shape[1], x.ndim - 2, form=options.form, width=options.width
        )
        weights = self.shape.initial(generator_for(seed, "weights"))
        self.weights = {name: w.to(x).requires_grad_() for name, w in weights.items()}
        self.optimizer = torch.optim.Adam(list(self.weights.values()), lr=options.lr)

    def play(self, number: int) -> Record:
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
        aim = reranked(before, wanted, self.options.alpha)  # (B, K)
        miss = (logits.softmax(1) - aim).square().sum(1)  # (B,)
        loss = self.options.beta * change + miss
        descend(loss.mean(), self.optimizer)
        could = before.argmax(1) != wanted
        reached = (could & Goal(wanted, wanted).met(logits)).sum()
        counts = [reached.to(x), could.sum().to(x), loss.new_tensor(len(x))]
        return torch.stack([loss.detach().sum(), *counts])

    def _targets(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """Return the classes to aim at (B,): the target, or each time another wrong one."""
        answers, classes = scores.argmax(1), scores.shape[1]
        if self.options.target is not None:
            return torch.full_like(answers, self.options.target)
        shift = torch.randint(1, classes, answers.shape, generator=generator).to(answers)
        return (answers + shift) % classes

    def enough(self, record: Record) -> bool:
        """Never stop early: the rate has to fall to its end."""
        return False

    def tensors(self) -> dict[str, Tensor]:
        """Return the state."""
        prefixed = {f"optimizer.{name}": t for name, t in moments(self.optimizer).items()}
        return self.weights | prefixed

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[name])
        states = {k: t for k, t in tensors.items() if k.startswith("optimizer.")}
        states = {name.removeprefix("optimizer."): t for name, t in states.items()}
        restore_moments(self.optimizer, states)


def reranked(scores: Tensor, target: Tensor, alpha: float) -> Tensor:
    """Return scores (B, K) in which the target leads by a factor, all else keeps its order.

    Args:
        scores: softmax scores (B, K).
        target: classes to lead, int64 (B,).
        alpha: the target's score over the highest one, before all are scaled to sum to 1.

    Source: Baluja & Fischer 2018, section 2: the reranking function.

    >>> reranked(torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([2]), 2.0)
    tensor([[0.2778, 0.1667, 0.5556]])
    """
    top = alpha * scores.amax(1, keepdim=True)
    raised = scores.scatter(1, target[:, None], top)
    return raised / raised.sum(1, keepdim=True)
