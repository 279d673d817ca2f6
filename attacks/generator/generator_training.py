"""The training of a batch of perturbation generators, all at once and each for itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from attacks.common.goal import Classifier, Goal, check_differentiable, logits_of
from attacks.generator.generator_network import Architecture, perturb
from attacks.generator.whitening import patch_moments, whitener

Space = Literal["pixel", "paper"]


@dataclass(frozen=True)
class GeneratorObjective:
    """What the generators of a batch are trained for; eq. (1), or eq. (2) with a target.

    Args:
        x: the samples, (B, C, ...) in [0, 1].
        goal: labels and target.
        classes: the classes whose scores eq. (1) sums, (B, k); the target's (B, 1) for eq. (2).
        architecture: of each network P.
        space: where P works, see `LearnedGenerator`.
        lam: weight of the distance.
        mean: per channel, broadcastable over x.
        std: per channel, broadcastable over x.
    """

    x: Tensor
    goal: Goal
    classes: Tensor
    architecture: Architecture
    space: Space
    lam: float
    mean: Tensor
    std: Tensor

    def rows(self, index: Tensor) -> "GeneratorObjective":
        """Return the task of the samples at index (A,) alone."""
        target = None if self.goal.target is None else self.goal.target[index]
        goal = replace(self.goal, y=self.goal.y[index], target=target)
        return replace(self, x=self.x[index], classes=self.classes[index], goal=goal)

    def network_input(self) -> Tensor:
        """Return what P sees: the pixels, or the normalised values."""
        return self.x if self.space == "pixel" else (self.x - self.mean) / self.std

    def apply(self, weights: Tensor) -> Tensor:
        """Return the perturbed samples, like x in [0, 1]; the clamp passes gradients through."""
        seen = self.network_input()
        output = perturb(weights, seen, architecture=self.architecture)
        if self.space == "paper":
            output = _rescale(output, seen) * self.std + self.mean
        # In this order the value lies in [0, 1] exactly, also where a huge output would round it.
        return output.detach().clamp(0, 1) + (output - output.detach())

    def distance(self, x_adv: Tensor) -> Tensor:
        """Return mean |x - x_adv| in units of std, (B,)."""
        return ((x_adv - self.x).abs() / self.std).flatten(1).mean(1)

    def value(self, log_scores: Tensor, x_adv: Tensor) -> Tensor:
        """Return eq. (1) or (2) itself, (B,), from the log softmax (B, K)."""
        score = log_scores.gather(1, self.classes).exp().sum(1)
        miss = score if self.goal.target is None else 1 - score
        return miss + self.lam * self.distance(x_adv)

    def objective(self, log_scores: Tensor, x_adv: Tensor) -> Tensor:
        """Return what is minimised, (B,): the value, or its logarithmic form in pixel space."""
        if self.space == "paper":
            return self.value(log_scores, x_adv)
        chosen = torch.zeros_like(log_scores, dtype=torch.bool).scatter(1, self.classes, True)
        # eq. (1): -log(1 - sum of the scores), the log of all other classes; eq. (2): -log score.
        wanted = ~chosen if self.goal.target is None else chosen
        miss = -log_scores.masked_fill(~wanted, -torch.inf).logsumexp(1)
        return miss + self.lam * self.distance(x_adv)


@dataclass(frozen=True)
class AdamSettings:
    """How the weights move.

    Args:
        lr: learning rate.
        betas: decay of Adam's first and second moment.
        whiten: take the steps in coordinates whitened by each sample's patches.
        decay: let the rate fall to zero along a half cosine.
    """

    lr: float
    betas: tuple[float, float]
    whiten: bool
    decay: bool

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step 0, 1, ... of `steps`."""
        return self.lr * (0.5 + 0.5 * math.cos(math.pi * step / steps) if self.decay else 1)


@dataclass
class BestWeights:
    """The best weights of each sample so far: those that meet the goal, then the lowest value."""

    weights: Tensor
    value: Tensor
    met: Tensor

    def update(self, index: Tensor, weights: Tensor, value: Tensor, met: Tensor) -> None:
        """Take over what is better, for the samples at index (A,)."""
        old_value, old_met = self.value[index], self.met[index]
        better = (met & ~old_met) | ((met == old_met) & (value < old_value))
        self.weights[index] = torch.where(better[:, None, None, None], weights, self.weights[index])
        self.value[index] = torch.where(better, value, old_value)
        self.met[index] = old_met | met


class GeneratorTraining:
    """The state of a batch's training; rows of most tensors are the samples still training.

    Losses are summed over samples and Adam acts on each number for itself, so that a sample's
    course depends neither on the batch nor on who has left it.
    """

    def __init__(self, model: Classifier, task: GeneratorObjective, rule: AdamSettings) -> None:
        """Start every P at the identity."""
        self.model, self.task, self.rule = model, task, rule
        x, batch = task.x, len(task.x)
        self.identity = task.architecture.identity(1, x)  # (1, L, C, D)
        self.shift = torch.zeros_like(self.identity).repeat(batch, 1, 1, 1)  # (A, L, C, D)
        self.first, self.second = torch.zeros_like(self.shift), torch.zeros_like(self.shift)
        self.basis: Tensor | None = None
        if rule.whiten:
            moments = patch_moments(task.network_input(), kernel=task.architecture.kernel)
            self.basis = whitener(moments)[:, None]  # (A, 1, D, D)
        self.active = torch.arange(batch, device=x.device)
        self.best = BestWeights(
            weights=self.identity.repeat(batch, 1, 1, 1),
            value=x.new_full((batch,), torch.inf),
            met=torch.zeros(batch, dtype=torch.bool, device=x.device),
        )
        self.latest = x.new_full((batch,), torch.inf)
        self.queries = torch.zeros_like(task.goal.y)

    def run(self, *, steps: int, stop_below: float | None, tick: Callable[[int], None]) -> Tensor:
        """Train, then look at the last iterate; return the value before each step, (steps, B).

        A sample that has left keeps its last value in the rows that follow.
        """
        history = []
        for step in range(steps):
            objective = self._look()
            history.append(self.latest.clone())
            self._descend(objective, step, steps)
            if stop_below is not None:
                self._keep(self.best.value[self.active] >= stop_below)
            tick(step + 1)
            if not len(self.active):
                break
        if len(self.active):
            with torch.no_grad():
                self._look()
        history += [self.latest] * (steps - len(history))
        return torch.stack(history)

    def _weights(self) -> Tensor:
        return self.identity + (self.shift if self.basis is None else self.shift @ self.basis)

    def _look(self) -> Tensor:
        """Evaluate the current iterate, remember it where it is best, return the objective."""
        self.shift.requires_grad_()
        weights = self._weights()  # (A, L, C, D)
        x_adv = self.task.apply(weights)
        logits = logits_of(self.model, x_adv)
        if torch.is_grad_enabled():
            check_differentiable(logits)
        log_scores = logits.log_softmax(1)
        value = self.task.value(log_scores, x_adv).detach()
        met = self.task.goal.is_adversarial(logits.detach())
        self.best.update(self.active, weights.detach(), value, met)
        self.latest[self.active] = value
        self.queries[self.active] += 1
        return self.task.objective(log_scores, x_adv).sum()

    def _descend(self, objective: Tensor, step: int, steps: int) -> None:
        """Take one Adam step (Kingma & Ba 2015, algorithm 1)."""
        (gradient,) = torch.autograd.grad(objective, self.shift)
        (beta1, beta2), rate = self.rule.betas, self.rule.rate(step, steps)
        self.first.lerp_(gradient, 1 - beta1)
        self.second.lerp_(gradient.square(), 1 - beta2)
        mean = self.first / (1 - beta1 ** (step + 1))
        spread = (self.second / (1 - beta2 ** (step + 1))).sqrt()
        self.shift = self.shift.detach() - rate * mean / (spread + 1e-8)

    def _keep(self, staying: Tensor) -> None:
        """Go on with the samples where `staying` (A,) alone."""
        if bool(staying.all()):
            return
        index = staying.nonzero().squeeze(1)
        self.task = self.task.rows(index)
        self.active, self.shift = self.active[index], self.shift[index]
        self.first, self.second = self.first[index], self.second[index]
        if self.basis is not None:
            self.basis = self.basis[index]


def _rescale(output: Tensor, like: Tensor) -> Tensor:
    """Map each sample's range of values linearly onto the range of `like`.

    The published code does this at the end of P; the paper does not mention it. A constant
    output has no range: it is moved to the lower end.
    """
    dims = tuple(range(1, output.ndim))
    low, high = output.amin(dims, keepdim=True), output.amax(dims, keepdim=True)
    to_low, to_high = like.amin(dims, keepdim=True), like.amax(dims, keepdim=True)
    return (output - low) / (high - low).clamp_min(1e-8) * (to_high - to_low) + to_low
