"""The learned perturbation generator: a network P trained for each sample to fool the model."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.goal import Goal, detached_logits, logit_warnings
from attacks.common.options import Count, NonNegative, Positive
from attacks.common.randomness import normal
from attacks.generator.generator_network import Architecture
from attacks.generator.generator_training import (
    GeneratorObjective,
    GeneratorTraining,
    Optimizer,
    Space,
)


@dataclass(frozen=True)
class LearnedGenerator(GradientAttack):
    """Train a small convolutional network P for each sample so that P(x) is close to x but fools.

    The value of a sample is eq. (1): the sum of the softmax scores of its k highest clean classes
    + lam * mean |x - P(x)|; or, with a target class m, eq. (2): (1 - score of m)
    + lam * mean |x - P(x)|. The mean is over values divided by `std`. The result is the iterate
    with the lowest value of those that meet the goal, or of all if none does. Random are the
    initial weights, where `seed` is not 0.

    The result's `loss` and `history` are the value. Its `info` holds "weights"
    (B, *architecture.shape) and "architecture" (see `save_generators`); "top_before" and
    "top_after", each (classes (B, k), scores (B, k)), the highest classes; "score_sum_before" and
    "score_sum" (B,), the summed scores of the k highest clean classes; and "mean_abs" (B,), mean
    |x_adv - x| in pixel units.

    Args:
        steps: gradient steps, each a forward and a backward pass.
        lr: learning rate; None takes 0.02 for "whitened" and 1e-3 for "adam".
        optimizer: "whitened" is Adam on weights whitened by the sample's own patches, with a
            learning rate that decays to zero: it minimises the published loss in about a tenth of
            the steps. "adam" is Adam at a constant rate, as published (with steps=2000).
        space: "pixel" trains P on [0, 1] with a straight-through clamp, and minimises
            -log(1 - s) for a score sum s, whose gradient does not vanish on confident samples.
            "paper" trains P on normalised values, minimises the sum itself, and rescales P's
            output to the range of its input.
        top_k: number k of classes in eq. (1); at most K - 1 are used.
        lam: weight of the distance.
        stop_below: a sample leaves once its value is below this; None takes all steps.
        kernel: odd width of the convolutions.
        blocks: number of blocks, each ended by a ReLU.
        layers: convolutions in a block.
        noise: standard deviation of the noise on P's initial weights (of whitened ones, for
            "whitened"), keyed by (seed, sample), so that each seed gives another instance of P;
            with seed 0 P begins as the identity.
        mean: of each channel, for space="paper"; one value serves all channels.
        std: of each channel, the unit of the distance; one value serves all channels.

    Source: Rey-de-Castro & Rabitz 2018, sections 3 and 4.1, eq. (1) and (2).
    """

    steps: Count = 300
    lr: Positive | None = None
    optimizer: Optimizer = "whitened"
    space: Space = "pixel"
    top_k: Count = 5
    lam: NonNegative = 1.0
    stop_below: float | None = None
    kernel: int = 3
    blocks: int = 3
    layers: int = 3
    noise: NonNegative = 0.01
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; give numbers > 0")
        Architecture(1, kernel=self.kernel, blocks=self.blocks, layers=self.layers)

    def perturb(self, call: Call) -> AttackResult:
        """Train a network for each sample of a batch, and evaluate the model on their outputs."""
        model, x = call.exact, call.x
        clean = detached_logits(model, x)  # (B, K)
        before, goal = clean.softmax(1), Goal(call.y, call.target)
        objective = self._objective(x, before, goal)
        training = GeneratorTraining(call.forward, objective, optimizer=self.optimizer, lr=self.lr)
        if call.seed and self.noise:
            training.shift = self.noise * normal(training.shift, call.generators)
        history = training.run(
            steps=self.steps,
            stop_below=self.stop_below,
            on_step=lambda done: call.progress(done, self.steps),
        )
        x_adv = objective.perturb(training.best.weights)
        logits = detached_logits(model, x_adv)
        value = objective.value(logits.log_softmax(1), x_adv)
        return AttackResult(
            x=x,
            x_adv=x_adv,
            success=goal.is_adversarial(logits),
            already=goal.is_adversarial(clean),
            queries=training.queries + 2,
            loss=value,
            history=history,  # (steps, B)
            info={
                "weights": training.best.weights,
                "architecture": objective.architecture,
                "mean_abs": (x_adv - x).abs().flatten(1).mean(1),
                **self._rank_classes(before, logits.softmax(1)),
                **logit_warnings(torch.isfinite(logits).all(1)),
            },
        )

    def _rank_classes(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        """Return the entries of `info` on classes, from clean and perturbed scores (B, K)."""
        top = self._top(before)  # (B, k)
        top_after = after.topk(top.shape[1], dim=1)
        return {
            "top_before": (top, before.gather(1, top)),
            "top_after": (top_after.indices, top_after.values),
            "score_sum_before": before.gather(1, top).sum(1),
            "score_sum": after.gather(1, top).sum(1),
        }

    def _objective(self, x: Tensor, scores: Tensor, goal: Goal) -> GeneratorObjective:
        """Return the objective of samples x (B, C, ...) with clean scores (B, K)."""
        goal.check_classes(scores)
        return GeneratorObjective(
            x=x,
            goal=goal,
            classes=self._top(scores) if goal.target is None else goal.target[:, None],
            architecture=Architecture(
                x.shape[1], x.ndim - 2, self.kernel, blocks=self.blocks, layers=self.layers
            ),
            space=self.space,
            lam=self.lam,
            mean=_per_channel("mean", self.mean, x),
            std=_per_channel("std", self.std, x),
        )

    def _top(self, scores: Tensor) -> Tensor:
        """Return the k highest classes of scores (B, K), at most all but one, int64 (B, k)."""
        return scores.topk(min(self.top_k, scores.shape[1] - 1), dim=1).indices


def _per_channel(name: str, values: tuple[float, ...], x: Tensor) -> Tensor:
    """Return one value for each channel of x, (B, C, 1, ...); one channel takes their mean."""
    channels = x.shape[1]
    if channels == 1:
        values = (sum(values) / len(values),)
    if len(values) not in (1, channels):
        raise ValueError(f"{name} has {len(values)} values for {channels} channels; give one each")
    column = torch.tensor(values, dtype=x.dtype, device=x.device)
    return column.reshape(1, -1, *[1] * (x.ndim - 2)).expand(len(x), *[-1] * (x.ndim - 1))
