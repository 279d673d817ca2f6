"""The training of perturbation generators: a batch at once, each sample independent of the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attacks.common.active_set import index_rows
from attacks.common.goal import Classifier, Goal, detached_logits, value_and_gradient
from attacks.common.optimizers import half_cosine
from attacks.generator.generator_network import Architecture, perturb
from attacks.generator.whitening import patch_moments, whitening_matrix

Space = Literal["pixel", "paper"]
Optimizer = Literal["whitened", "adam"]
_ADAM = {"whitened": (0.02, (0.9, 0.99)), "adam": (1e-3, (0.9, 0.999))}  # rate, and betas


class GeneratorTraining:
    """The training of one network P for each sample of a batch.

    Losses are summed over samples, and Adam updates every weight independently, so that a
    sample's result does not depend on the batch. Most tensors have a row for each of the A
    samples that are still trained.

    Attributes:
        shift: the weights of P minus the identity, (A, L, C, D), in whitened coordinates for
            "whitened".
        best: the best weights of each sample so far.
        queries: forward passes spent, int64 (B,).
    """

    def __init__(
        self,
        model: Classifier,
        objective: "GeneratorObjective",
        *,
        optimizer: Optimizer,
        lr: float | None,
    ) -> None:
        """Begin with every P as the identity; options as of `LearnedGenerator`."""
        self.model, self.objective = model, objective
        default, self.betas = _ADAM[optimizer]
        self.lr = lr or default
        x, batch = objective.x, len(objective.x)
        self.identity = objective.architecture.identity(1, x)  # (1, L, C, D)
        self.shift = torch.zeros_like(self.identity).repeat(batch, 1, 1, 1)  # (A, L, C, D)
        self.mean, self.square = torch.zeros_like(self.shift), torch.zeros_like(self.shift)
        self.basis: Tensor | None = None
        if optimizer == "whitened":
            width = objective.architecture.kernel
            moments = patch_moments(objective.network_input(), kernel=width)
            self.basis = whitening_matrix(moments)[:, None]  # (A, 1, D, D)
        self.active = torch.arange(batch, device=x.device)
        self.best = BestWeights(
            weights=self.identity.repeat(batch, 1, 1, 1),
            value=x.new_full((batch,), torch.inf),
            met=torch.zeros(batch, dtype=torch.bool, device=x.device),
        )
        self.latest = x.new_full((batch,), torch.inf)
        self.queries = torch.zeros_like(objective.goal.y)

    def run(
        self, *, steps: int, stop_below: float | None, on_step: Callable[[int], None]
    ) -> Tensor:
        """Train all networks.

        Args:
            steps: number of gradient steps.
            stop_below: a sample leaves once its best value is below this; None for never.
            on_step: called with the number of steps done.

        Returns:
            The value before each step, (steps, B); a sample that has left repeats its last value.
        """
        history = []
        for step in range(steps):
            pull = self._evaluate()
            history.append(self.latest.clone())
            self._descend(pull, step, steps)
            if stop_below is not None:
                self._drop(self.best.value[self.active] < stop_below)
            on_step(step + 1)
            if not len(self.active):
                break
        if len(self.active):
            x_adv, weights = self._perturb()
            self._keep_best(detached_logits(self.model, x_adv), x_adv, weights)
        history += [self.latest] * (steps - len(history))
        return torch.stack(history)

    def _evaluate(self) -> Tensor:
        """Evaluate the present weights, store those that are best; return a sum to descend.

        Its gradient in the weights is that of the summed loss.
        """
        self.shift.requires_grad_()
        x_adv, weights = self._perturb()
        logits, _, slope = value_and_gradient(
            self.model, x_adv, lambda logits: self.objective.miss(logits.log_softmax(1))
        )
        self._keep_best(logits, x_adv.detach(), weights.detach())
        return (slope * x_adv).sum() + self.objective.lam * self.objective.distance(x_adv).sum()

    def _perturb(self) -> tuple[Tensor, Tensor]:
        """Return the present samples (A, C, ...) and weights (A, L, C, D)."""
        shift = self.shift if self.basis is None else self.shift @ self.basis
        weights = self.identity + shift  # (A, L, C, D)
        return self.objective.perturb(weights), weights

    def _keep_best(self, logits: Tensor, x_adv: Tensor, weights: Tensor) -> None:
        """Store the weights (A, L, C, D) that are better than those before."""
        value = self.objective.value(logits.log_softmax(1), x_adv)
        self.best.update(self.active, weights, value, self.objective.goal.is_adversarial(logits))
        self.latest[self.active] = value
        self.queries[self.active] += 1

    def _descend(self, pull: Tensor, step: int, steps: int) -> None:
        """Take one Adam step (Kingma & Ba 2015, algorithm 1)."""
        (gradient,) = torch.autograd.grad(pull, self.shift)
        beta1, beta2 = self.betas
        rate = self.lr * (1 if self.basis is None else half_cosine(step, steps))
        self.mean.lerp_(gradient, 1 - beta1)
        self.square.lerp_(gradient.square(), 1 - beta2)
        mean = self.mean / (1 - beta1 ** (step + 1))
        size = (self.square / (1 - beta2 ** (step + 1))).sqrt()
        self.shift = self.shift.detach() - rate * mean / (size + 1e-8)

    def _drop(self, done: Tensor) -> None:
        """Remove the samples that are done, bool (A,)."""
        if not bool(done.any()):
            return
        rows = (~done).nonzero().squeeze(1)
        self.objective, self.active = index_rows(self.objective, rows), self.active[rows]
        self.shift, self.mean, self.square = (
            part[rows] for part in (self.shift, self.mean, self.square)
        )
        if self.basis is not None:
            self.basis = self.basis[rows]


@dataclass(frozen=True)
class GeneratorObjective:
    """The objective of a batch of generators: eq. (1), or eq. (2) with a target.

    Attributes:
        x: samples, (B, C, ...) in [0, 1].
        goal: labels and targets.
        classes: of the scores that eq. (1) sums, int64 (B, k); of eq. (2) the target, (B, 1).
        architecture: of each network P.
        space: of P's input, see `LearnedGenerator`.
        lam: weight of the distance.
        mean: of each channel, (B, C, 1, ...).
        std: of each channel, (B, C, 1, ...).
    """

    x: Tensor
    goal: Goal
    classes: Tensor
    architecture: Architecture
    space: Space
    lam: float
    mean: Tensor
    std: Tensor

    def network_input(self) -> Tensor:
        """Return the pixels, or the normalised values, like x."""
        return self.x if self.space == "pixel" else (self.x - self.mean) / self.std

    def perturb(self, weights: Tensor) -> Tensor:
        """Return the perturbed samples, like x, clamped to [0, 1] by a straight-through clamp.

        Args:
            weights: (B, *architecture.shape).
        """
        seen = self.network_input()
        output = perturb(weights, seen, architecture=self.architecture)
        if self.space == "paper":
            output = _rescale(output, seen) * self.std + self.mean
        # The order of the sum keeps values in [0, 1] exactly, even where a large output rounds.
        return output.detach().clamp(0, 1) + (output - output.detach())

    def distance(self, x_adv: Tensor) -> Tensor:
        """Return mean |x - x_adv| in units of std, (B,)."""
        return ((x_adv - self.x).abs() / self.std).flatten(1).mean(1)

    def value(self, log_scores: Tensor, x_adv: Tensor) -> Tensor:
        """Return eq. (1) or (2), (B,), from the log softmax (B, K)."""
        return self._score_term(log_scores) + self.lam * self.distance(x_adv)

    def miss(self, log_scores: Tensor) -> Tensor:
        """Return what the training minimises beside the distance, (B,), from the log softmax.

        It is the first term of eq. (1) or (2), or in pixel space its log form.
        """
        if self.space == "paper":
            return self._score_term(log_scores)
        chosen = torch.zeros_like(log_scores, dtype=torch.bool).scatter(1, self.classes, True)
        # eq. (1): -log(1 - sum of the scores), the log of all other classes; eq. (2): -log score.
        wanted = ~chosen if self.goal.target is None else chosen
        return -log_scores.masked_fill(~wanted, -torch.inf).logsumexp(1)

    def _score_term(self, log_scores: Tensor) -> Tensor:
        score = log_scores.gather(1, self.classes).exp().sum(1)
        return score if self.goal.target is None else 1 - score


@dataclass
class BestWeights:
    """The best weights of each sample so far: any that meet the goal, then the lowest value.

    Attributes:
        weights: (B, *architecture.shape).
        value: of eq. (1) or (2), (B,).
        met: bool (B,), whether the goal is met.
    """

    weights: Tensor
    value: Tensor
    met: Tensor

    def update(self, index: Tensor, weights: Tensor, value: Tensor, met: Tensor) -> None:
        """Store weights (A, ...) that are better than those of the samples index, int64 (A,)."""
        old_value, old_met = self.value[index], self.met[index]
        better = (met & ~old_met) | ((met == old_met) & (value < old_value))
        self.weights[index] = torch.where(better[:, None, None, None], weights, self.weights[index])
        self.value[index] = torch.where(better, value, old_value)
        self.met[index] = old_met | met


def _rescale(output: Tensor, like: Tensor) -> Tensor:
    """Map the value range of each sample linearly onto that of `like`.

    The published code ends P with this step, which the paper does not mention. A constant output
    becomes the lower end of the range.
    """
    dims = tuple(range(1, output.ndim))
    low, high = output.amin(dims, keepdim=True), output.amax(dims, keepdim=True)
    to_low, to_high = like.amin(dims, keepdim=True), like.amax(dims, keepdim=True)
    return (output - low) / (high - low).clamp_min(1e-8) * (to_high - to_low) + to_low
