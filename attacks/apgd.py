"""Auto-PGD: projected gradient ascent that sets its own step sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.apgd_rules import Halving, Sparsening
from attacks.attack import Progress
from attacks.goal import Goal, logit_warnings, logits_of, value_and_gradient
from attacks.guard import frozen
from attacks.inputs import check_batch, own_copies
from attacks.losses import LossName, check_loss
from attacks.pgd import Best
from attacks.randomness import normal, sample_generators
from attacks.result import AttackResult
from attacks.threat import Norm, Threat, check_norm

# In l1 the radius shrinks to eps by these factors, each for a share of the steps.
WIDER = ((3.0, 0.3), (2.0, 0.3))


@dataclass
class Climb:
    """Where the ascent of each sample stands, and the best point it came by.

    Attributes:
        x_adv, gradient, value: the present point (B, ...), its gradient, and its value (B,).
        peak, peak_gradient, peak_value: those of the highest value so far.
        rises: steps since the last review that raised the value, (B,).
        reviewed: the peak value at the last review, (B,).
    """

    x_adv: Tensor
    gradient: Tensor
    value: Tensor
    peak: Tensor
    peak_gradient: Tensor
    peak_value: Tensor
    rises: Tensor
    reviewed: Tensor

    @classmethod
    def start(cls, x_adv, gradient, value):
        return cls(x_adv, gradient, value, x_adv, gradient, value, torch.zeros_like(value), value)

    def arrive(self, x_adv, gradient, value):
        """Move on to x_adv."""
        higher = (value > self.peak_value) | (self.peak_value.isnan() & ~value.isnan())
        mask = higher.reshape(-1, *[1] * (x_adv.ndim - 1))
        self.peak = torch.where(mask, x_adv, self.peak)
        self.peak_gradient = torch.where(mask, gradient, self.peak_gradient)
        self.peak_value = torch.where(higher, value, self.peak_value)
        self.rises = self.rises + (value > self.value)
        self.x_adv, self.gradient, self.value = x_adv, gradient, value

    def review(self, rule, threat, steps):
        back = rule.review(threat, peak=self.peak, rising_share=self.rises / steps,
            new_peak=self.peak_value > self.reviewed)
        mask = back.reshape(-1, *[1] * (self.x_adv.ndim - 1))
        self.x_adv = torch.where(mask, self.peak, self.x_adv)
        self.gradient = torch.where(mask, self.peak_gradient, self.gradient)
        self.rises = torch.zeros_like(self.rises)
        self.reviewed = self.peak_value


def climb(model, goal, threat, start, best, steps, record=lambda v: None):
    rule = (Sparsening if threat.norm == "l1" else Halving).start(threat, start)
    reviews = rule.reviews(steps)
    logits, value, gradient = value_and_gradient(model, start, goal.value)
    if best: best.update(start, goal, logits=logits, value=value)
    c = Climb.start(start, gradient, value)
    last = 0
    for i in range(1, steps + 1):
        record(c.value)
        x_new = rule.move(threat, c.x_adv, c.gradient)
        if i<steps:
            logits, value, gradient = value_and_gradient(model, x_new, goal.value)
        else:
            with torch.no_grad():
                logits=logits_of(model, x_new); value=goal.value(logits)
        if best: best.update(x_new, goal, logits=logits, value=value)
        c.arrive(x_new, gradient, value)
        if i in reviews:
            c.review(rule, threat, i - last)
            last = i
    return c.peak
