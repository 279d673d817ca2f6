"""The attack of Carlini and Wagner: the shortest perturbation that a penalty still holds up."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm, lengths
from attacks.common.active_set import ActiveSet
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.goal import Classifier, Goal, value_and_gradient
from attacks.common.options import Count, NonNegative, Positive
from attacks.common.threat import column
from attacks.minimum_norm.best_by_norm import BestByNorm, clearance
from attacks.minimum_norm.nearest_boundary import distance, movable, nearest_boundary

_BETAS = (0.8, 0.95)  # of Adam: short memories, for short runs
_FIRST_WEIGHT = 3.0  # of the penalty, over what it takes to cross a linear boundary
_MORE_WEIGHT, _MORE_REACH = 10.0, 2.0  # after a descent without success: c, and the way taken


@dataclass(frozen=True)
class CW(GradientAttack):
    """Minimises the squared l2 norm plus c times how much of the margin is missing.

    Adam descends from x, again and again; between the descents a binary search for each sample
    lowers c where it was fooled and raises c where not. Two changes to the paper: pixels are
    clipped to [0, 1] after each step, not squashed by a tanh, in which those at 0 or 1 hardly
    move; and Adam scales the gradient of a sample as a whole, which keeps its direction, with
    steps that are a share of the way to the linearised boundary, so that no scale has to be known.
    The first descent is to the class behind the nearest linearised boundary, the others are to
    whichever class leads.

    Args:
        steps: of each descent, a forward and a backward pass each.
        search_steps: descents, each with another c.
        lr: length of the first steps over the way to the boundary; it falls off along half a
            cosine.
        c: of the first descent; None takes what would do for a linear classifier, and more.
        confidence: by how much the wrong class must lead, in logits, for a success on a sample
            that was right. One that was wrong from the start stays as it is.

    Source: Carlini & Wagner 2017, sections V and VI.A, loss f6; the clipping is their
    projected gradient descent (V.B).
    """

    steps: Count = 50
    search_steps: Count = 4
    lr: Positive = 0.3
    c: Positive | None = None
    confidence: NonNegative = 0.0

    norm: ClassVar[Norm] = "l2"  # that it makes small
    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Descend with a weight that a search adapts to each sample. Nothing here is random."""
        history: list[Tensor] = []
        active = self._start(call)
        for number in range(self.search_steps):
            descent = _CWDescent.start(active.now)
            for step in range(self.steps):
                if len(active.rows):
                    self._step(call.forward, active.now, descent, step, aimed=number == 0)
                losses = active.now.closest.goal.as_loss(descent.value)
                history.append(active.spread(losses, absent=torch.nan))
                call.progress(len(history), self.search_steps * self.steps)
            _choose_c(active.now, descent)
        end = active.everything()
        return end.closest.result(call, torch.stack(history))  # (search_steps * steps, B)

    def _start(self, call: Call) -> "ActiveSet[_CWState]":
        """Evaluate x, and leave out the samples that are wrong from the start."""
        x, goal = call.x, Goal(call.y, call.target, "margin")
        found = nearest_boundary(call.forward, x, goal, norm="l2")
        closest = BestByNorm.start(x, found.logits, goal=goal, norm="l2")
        closest.note_slope(found.gradient)
        gap = found.gap + self.confidence
        most = lengths(torch.ones_like(x), "l2")
        reach = distance(movable(found.gradient, x), gap, "l2").minimum(most)
        # On a linear classifier c = 2 * reach**2 / gap ends just on the boundary.
        c = (_FIRST_WEIGHT * 2 * reach / gap * reach).nan_to_num(0, 0, 0)
        search = _CWState(
            closest=closest,
            aim=found.aim(goal),
            gradient=found.gradient,
            c=c if self.c is None else torch.full_like(c, self.c),
            too_low=torch.zeros_like(c),
            enough=torch.full_like(c, torch.inf),
            reach=reach,
        )
        active = ActiveSet(search, torch.arange(len(x), device=x.device))
        active.drop(closest.success)
        return active

    def _step(
        self,
        model: Classifier,
        search: "_CWState",
        descent: "_CWDescent",
        step: int,
        *,
        aimed: bool,
    ) -> None:
        """Move each sample by a step of Adam, and evaluate it; towards one class where `aimed`."""
        closest, beta, beta_square = search.closest, *_BETAS
        pull = column(search.c * descent.short, closest.x)  # (A, 1, ..., 1)
        slope = 2 * (descent.x_adv - closest.x) - pull * descent.gradient.nan_to_num(0, 0, 0)
        descent.mean = descent.mean.lerp(slope, 1 - beta)
        descent.square = descent.square.lerp(lengths(slope, "l2").square(), 1 - beta_square)
        size = (descent.square / (1 - beta_square ** (step + 1))).sqrt()
        share = self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2
        length = share * search.reach / (size * (1 - beta ** (step + 1)))
        length = length.nan_to_num(0, 0, 0)  # without a slope there is no step
        descent.x_adv = (descent.x_adv - column(length, closest.x) * descent.mean).clamp(0, 1)
        goal = search.aim if aimed else closest.goal
        logits, value, descent.gradient = value_and_gradient(model, descent.x_adv, goal.objective)
        descent.value = closest.goal.objective(logits)
        descent.short = value < self.confidence + clearance(logits)
        descent.met = descent.met | closest.update(descent.x_adv, logits, lead=self.confidence)
        closest.note_slope(descent.gradient)


def _choose_c(search: "_CWState", descent: "_CWDescent") -> None:
    """Choose the next c and the reach of each sample by how the descent with the last c ended."""
    closest, met = search.closest, descent.met
    search.too_low = torch.where(met, search.too_low, search.too_low.maximum(search.c))
    search.enough = torch.where(met, search.enough.minimum(search.c), search.enough)
    middle = (search.too_low + search.enough) / 2
    search.c = torch.where(search.enough.isinf(), _MORE_WEIGHT * search.c, middle)
    # Where the steps were too short, not c too low, the descent has used them all.
    farther = search.reach.maximum(_MORE_REACH * lengths(descent.x_adv - closest.x, "l2"))
    search.reach = torch.where(closest.success, closest.size, farther)


@dataclass
class _CWState:
    """State of each sample between descents: `aim` is the first goal, `gradient` of that at x."""

    closest: BestByNorm
    aim: Goal
    gradient: Tensor
    c: Tensor
    too_low: Tensor
    enough: Tensor
    reach: Tensor


@dataclass
class _CWDescent:
    """State of each sample in a descent: iterate, loss and gradient there, and Adam's two means."""

    x_adv: Tensor
    value: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    short: Tensor
    met: Tensor

    @classmethod
    def start(cls, search: _CWState) -> "_CWDescent":
        """Begin at x."""
        no = torch.zeros_like(search.closest.stuck)
        return cls(
            x_adv=search.closest.x,
            value=search.closest.value,
            gradient=search.gradient,
            mean=torch.zeros_like(search.gradient),
            square=torch.zeros_like(search.c),
            short=~no,
            met=no,
        )
