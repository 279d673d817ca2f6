"""The fast adaptive boundary attack, to the nearest boundary or to those of wanted classes."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm, lengths
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.goal import (
    Classifier,
    Goal,
    detached_logits,
    likeliest_wrong,
    logits_of,
    value_and_gradient,
    without_slope,
)
from attacks.common.options import Count, Natural, at_least, between, inside
from attacks.common.threat import Threat, check_eps, column
from attacks.minimum_norm.best_by_norm import BestByNorm
from attacks.minimum_norm.nearest_boundary import distance, jacobian_rows, shortest_step


@dataclass
class FABState:
    """How far each sample has come, a row for each.

    Attributes:
        closest: its nearest success.
        enough: how near a success has to be for the sample to be done, (B,).
        x_adv: where it is, (B, ...).
        wanted: the class it steps to, int64 (B,).
        done: bool (B,).
    """

    closest: BestByNorm
    enough: Tensor
    x_adv: Tensor
    wanted: Tensor
    done: Tensor

    def lead(self, logits: Tensor) -> Tensor:
        """Return by how much the wanted class leads its rival, (B,), from logits (B, K).

        The rival is the label, or with a target the strongest other class.
        """
        goal = self.closest.goal
        if goal.target is not None:
            return goal.objective(logits)
        pair = logits.gather(1, torch.stack([self.wanted, goal.y], 1))  # (B, 2)
        return pair[:, 0] - pair[:, 1]


@dataclass(frozen=True)
class FAB(GradientAttack):
    """Step to where the linearised model changes its answer, staying near x: a small change.

    The boundary to one class after the other is looked for, or in each step the nearest of all.
    Where a step has crossed it, the next begins nearer to x.

    Args:
        norm: "linf", "l2" or "l1": what is to be small.
        eps: None takes the smallest change found. A radius in pixel units, a number or one a
            sample (B,), takes the first change within it, and none beyond.
        steps: for each class and start.
        targets: how many classes to step to, the likeliest wrong ones. 0 steps to the nearest
            boundary of all classes, for which a step takes a backward pass for each. Where a
            target is given, it is the only one.
        alpha_max: how much of a step may begin at x rather than at the present point, in [0, 1].
        eta: how far to step, in units of the way to the linearised boundary; at least 1.
        beta: which part of the way from x remains after a step that met the goal, in (0, 1).
        restarts: starts for each class: x, then random points up to half as far from it as `eps`,
            or as the nearest success.

    Source: Croce & Hein 2020 (FAB), algorithm 1; the targeted version: Croce & Hein 2020
    (AutoAttack), section 5.
    """

    norm: Norm = "linf"
    eps: float | Tensor | None = None
    steps: Count = 100
    targets: Natural = 9
    alpha_max: Annotated[float, between(0, 1)] = 0.1
    eta: Annotated[float, at_least(1)] = 1.05
    beta: Annotated[float, inside(0, 1)] = 0.9
    restarts: Count = 1

    draws: ClassVar[bool] = False

    def perturb(self, call: Call) -> AttackResult:
        """Step to the boundary of each wanted class. Starts after the first are random."""
        x, forward, goal = call.x, call.forward, Goal(call.y, call.target, "margin")
        logits = detached_logits(forward, x)
        goal.check_classes(logits)
        wanted = (goal.y if goal.target is None else goal.target)[:, None]  # (B, 1)
        if goal.target is None and self.targets:
            wanted = likeliest_wrong(logits, goal.y, self.targets)  # (B, n)
        runs = [classes for classes in wanted.unbind(1) for _ in range(self.restarts)]
        enough = x.new_zeros(len(x)) if self.eps is None else check_eps(self.eps, x).flatten()
        closest = BestByNorm.start(x, logits, goal=goal, norm=self.norm)
        state = FABState(closest, enough, x, goal.y, closest.size <= enough)
        for number, classes in enumerate(runs):
            state.x_adv, state.wanted = x, classes
            if number % self.restarts:
                state.x_adv = self._random_start(state, call)
            active = ActiveSet(state, torch.arange(len(x), device=x.device))
            for step in range(self.steps):
                if is_check_step(step):
                    active.drop(active.now.done)
                if len(active.rows):
                    self._step(forward, active.now)
                call.progress(number * self.steps + step + 1, len(runs) * self.steps)
            state = active.everything()
        closest = state.closest if self.eps is None else within(state.closest, enough)
        return closest.result(call)

    def _random_start(self, state: FABState, call: Call) -> Tensor:
        """Return points up to half as far from x as the radius or the nearest success, like x."""
        far = state.closest.size if self.eps is None else state.enough
        radius = column(far / 2, call.x).nan_to_num(0, 0, 0)  # without a success there is none
        return Threat(call.x, self.norm, radius).random_start(call.generators)

    def _step(self, model: Classifier, state: FABState) -> None:
        """Step across the boundary, evaluate, and step back towards x where the goal is met."""
        closest, x = state.closest, state.closest.x
        if self.targets or closest.goal.target is not None:
            _, lead, slope = value_and_gradient(model, state.x_adv, state.lead)
        else:
            lead, slope = nearest_lead(model, state.x_adv, closest.goal.y, self.norm)
        closest.stuck = closest.stuck | (~state.done & without_slope(slope))
        x_new = self._across(state, lead.nan_to_num(0, 0, 0), slope.nan_to_num(0, 0, 0))
        x_new = torch.where(column(state.done, x), x, x_new)  # what was found stays
        met = closest.update(x_new, detached_logits(model, x_new), passes=2 * ~state.done)
        state.x_adv = torch.where(column(met, x), x + self.beta * (x_new - x), x_new)
        state.done = closest.size <= state.enough

    def _across(self, state: FABState, lead: Tensor, slope: Tensor) -> Tensor:
        """Return a point beyond the linearised boundary, between the nearest to x_adv and to x.

        Args:
            state: has both, (B, ...).
            lead: that of the wanted class at x_adv, (B,).
            slope: its gradient, (B, ...).
        """
        x, x_adv = state.closest.x, state.x_adv
        lead_at_x = lead + (slope * (x - x_adv)).flatten(1).sum(1)
        here, origin = self._way(x_adv, lead, slope), self._way(x, lead_at_x, slope)
        near, far = (lengths(way, self.norm).clamp_min(1e-8) for way in (here, origin))
        alpha = (near / (near + far)).clamp_max(self.alpha_max)
        if state.closest.goal.target is not None:
            # The rival changes along the way: a pull towards x would undo what it took to pass
            # the one before.
            alpha = alpha.masked_fill(~state.closest.success, 0)
        alpha = column(alpha, x)
        mixed = (1 - alpha) * (x_adv + self.eta * here) + alpha * (x + self.eta * origin)
        return mixed.clamp(0, 1)

    def _way(self, x: Tensor, lead: Tensor, slope: Tensor) -> Tensor:
        """Return the shortest way from x to where a lead with this slope is 0, like x."""
        return shortest_step(x, -column(lead.sign(), x) * slope, lead.abs(), self.norm)


def nearest_lead(model: Classifier, x: Tensor, y: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Return the lead over y of the class whose linearised boundary is nearest, and its gradient.

    Args:
        model: the classifier, frozen.
        x: samples, (B, ...).
        y: labels, int64 (B,).
        norm: in which the way is measured.

    Returns:
        The lead (B,), negative while the label leads, and its gradient, like x.

    Source: Croce & Hein 2020 (FAB), eq. (7).
    """
    x = x.detach().requires_grad_()
    logits = logits_of(model, x)
    rivals = likeliest_wrong(logits.detach(), y, logits.shape[1] - 1)  # (B, K - 1)
    leads = logits.gather(1, rivals) - logits.gather(1, y[:, None])
    slope, lead = torch.zeros_like(x), torch.zeros_like(leads[:, 0]).detach()
    far = torch.full_like(lead, torch.inf)
    for each, row in zip(leads.detach().unbind(1), jacobian_rows(leads, x), strict=True):
        way = distance(row, each.abs(), norm)
        nearer = way < far
        far, lead = torch.where(nearer, way, far), torch.where(nearer, each, lead)
        slope = torch.where(column(nearer, x), row, slope)
    return lead, slope.detach()


def within(closest: BestByNorm, radius: Tensor) -> BestByNorm:
    """Return the nearest successes without those beyond a radius, (B,)."""
    x, far = closest.x, closest.size > radius
    none = BestByNorm.start(x, closest.logits, goal=closest.goal, norm=closest.norm)
    return replace(
        closest,
        x_adv=torch.where(column(far, x), x, closest.x_adv),
        size=torch.where(far, none.size, closest.size),
        value=torch.where(far, none.value, closest.value),
    )
