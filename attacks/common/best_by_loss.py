"""The best iterate of each sample so far, and the result of an attack that keeps it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.batch_attack import Call
from attacks.common.goal import Goal, detached_logits, warnings_of, without_slope
from attacks.common.threat import column


@dataclass
class BestByLoss:
    """The best iterate of each sample so far: one that meets the goal, then the highest value.

    Attributes:
        x_adv: the iterates, (B, ...) in [0, 1].
        value: the goal's value there, (B,); NaN until some logits are finite.
        success: whether the goal is met there, bool (B,).
        finite: whether all logits were finite so far, bool (B,).
    """

    x_adv: Tensor
    value: Tensor
    success: Tensor
    finite: Tensor

    @classmethod
    def start(cls, x: Tensor) -> "BestByLoss":
        """Begin with the clean samples, whose value is not known."""
        value = x.new_full((len(x),), torch.nan)
        no = torch.zeros_like(value, dtype=torch.bool)
        return cls(x_adv=x, value=value, success=no, finite=~no)

    @classmethod
    def seen(cls, x_adv: Tensor, goal: Goal, *, logits: Tensor, value: Tensor) -> "BestByLoss":
        """Build the iterates x_adv (B, ...) with their success; arguments as of `update`."""
        finite = torch.isfinite(logits).all(1)
        success = goal.is_adversarial(logits, finite=finite)
        return cls(x_adv, value.masked_fill(~finite, torch.nan), success, finite)

    def update(
        self, x_adv: Tensor, goal: Goal, *, logits: Tensor, value: Tensor, keep_first: bool = False
    ) -> None:
        """Take over the samples that x_adv (B, ...) improves.

        Args:
            x_adv: the next iterates.
            goal: decides what counts as success.
            logits: of x_adv, (B, K).
            value: the goal's, of these logits, (B,).
            keep_first: a sample's first success stays, whatever the value of later ones.
        """
        other = BestByLoss.seen(x_adv, goal, logits=logits, value=value)
        self.merge(other, keep_first=keep_first)

    def better(self, other: "BestByLoss", *, keep_first: bool = False) -> Tensor:
        """Return whose best is better in `other`, bool (B,); see `update`."""
        higher = ~(other.value <= self.value)  # than NaN, too
        better = torch.where(other.success == self.success, higher, other.success)
        better = better & ~other.value.isnan()
        return better & ~self.success if keep_first else better

    def merge(self, other: "BestByLoss", *, keep_first: bool = False) -> None:
        """Take over the samples whose best is better in `other`; see `update`."""
        better = self.better(other, keep_first=keep_first)
        finite = other.finite | self.success if keep_first else other.finite
        mask = column(better, self.x_adv)
        self.x_adv = torch.where(mask, other.x_adv, self.x_adv)
        self.value = torch.where(better, other.value, self.value)
        self.success = self.success | other.success
        self.finite = self.finite & finite


@dataclass
class SearchState:
    """The state of a search in a ball, a row for each sample; attacks add what they move.

    Attributes:
        goal: what each sample pursues.
        best: its best iterate so far.
        queries: forward passes spent on it, int64 (B,).
        stuck: whether a gradient had no slope before the sample was fooled, bool (B,); None for
            attacks that take no gradient.
        left: whether it is done, bool (B,).
    """

    goal: Goal
    best: BestByLoss
    queries: Tensor
    stuck: Tensor | None
    left: Tensor

    def count_pass(self, *, early_stop: bool) -> None:
        """Count a pass of each sample that has not left; with `early_stop` those fooled leave."""
        self.queries = self.queries + ~self.left
        if early_stop:
            self.left = self.best.success

    def note_slope(self, gradient: Tensor) -> None:
        """Note which samples have no gradient (B, ...) to follow, and are not fooled yet."""
        assert self.stuck is not None  # the attack takes gradients
        searching = self.best.finite & ~(self.best.success | self.left)
        self.stuck = self.stuck | (searching & without_slope(gradient))

    def result(
        self,
        call: Call,
        *,
        already: Tensor,
        logits: Tensor,
        random: bool,
        history: Tensor | None = None,
        info: dict[str, Any] | None = None,
    ) -> AttackResult:
        """Build the result of the attack.

        Args:
            call: that the attack was given.
            already: who met the goal before, bool (B,).
            logits: some answers of the model to all samples, (B, K).
            random: what `is_random` said of the model.
            history: the loss before each step, (steps, B).
            info: what the attack alone reports.
        """
        goal, best = self.goal, self.best
        trouble = warnings_of(goal, logits, finite=best.finite, stuck=self.stuck, random=random)
        return AttackResult(
            x=call.x,
            x_adv=best.x_adv,
            success=best.success,
            already=already,
            queries=self.queries,
            loss=goal.as_loss(best.value),
            history=history,
            info={**(info or {}), **trouble},
        )


def verify(
    call: Call,
    x_adv: Tensor,
    goal: Goal,
    *,
    queries: Tensor,
    random: bool,
    history: Tensor | None = None,
    stuck: Tensor | None = None,
    info: dict[str, Any] | None = None,
) -> AttackResult:
    """Evaluate finished samples x_adv (B, ...) in full precision, and build the result.

    Args:
        call: that the attack was given.
        x_adv: the perturbed samples.
        goal: what counts as success, and the loss.
        queries: (B,) forward passes spent before this one.
        random: what `is_random` said of the model.
        history: (steps, B) losses, or None.
        stuck: see `warnings_of`.
        info: what the attack alone reports.
    """
    logits = detached_logits(call.exact, x_adv)
    already = goal.is_adversarial(detached_logits(call.exact, call.x))
    value = goal.objective(logits)
    best = BestByLoss.seen(x_adv.contiguous(), goal, logits=logits, value=value)
    state = SearchState(goal, best, queries + 1, stuck, already)
    return state.result(
        call, already=already, logits=logits, random=random, history=history, info=info
    )
