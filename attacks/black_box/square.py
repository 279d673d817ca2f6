"""The Square Attack: random search, with scores alone."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm
from attacks.black_box import squares
from attacks.common.active_set import ActiveSet, index_rows, is_check_step, scatter_rows
from attacks.common.batch_attack import BatchAttack, Call
from attacks.common.best_by_loss import BestByLoss, SearchState
from attacks.common.goal import Goal, LossName, detached_logits
from attacks.common.options import Count, Share
from attacks.common.randomness import unit
from attacks.common.threat import Threat

# The squares halve their area after these queries, of SCHEDULE in all.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
SCHEDULE = 10_000
BLOCK = 8  # random numbers are drawn, and brought to the device, for so many queries at once


@dataclass(frozen=True)
class Square(BatchAttack):
    """Change one random square after the other, and keep what raises the loss; no gradients.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, a number or one a sample (B,).
        queries: forward passes on each sample at most.
        p_init: share of the image that the first squares cover, in (0, 1].
        shrink_over: queries over which the squares shrink to 1/512 of that; None takes `queries`.
        loss: "ce", "margin" or "dlr".
        early_stop: a sample's first success is its result, and it leaves the batch. Else all
            queries are spent, and the success with the highest loss is kept.
        batch_size: how many samples one pass may hold; None for as many as there are. Once there
            is room, several queries of each sample are made in one pass; the result is the same.

    Source: Andriushchenko et al. 2020, algorithms 1 to 3; l1: Croce & Hein 2021 (Mind the Box).
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    queries: Count = 5000
    p_init: Share = 0.8
    shrink_over: Count | None = None
    loss: LossName = "margin"
    early_stop: bool = True
    batch_size: Count | None = None

    def perturb(self, call: Call) -> AttackResult:
        """Change random squares where that helps. A video's frames share them."""
        threat = Threat.around(call.x, norm=self.norm, eps=self.eps)
        goal = Goal(call.y, call.target, self.loss)
        search = SquareRun(call, self, goal, threat)
        state, history = search.run()
        already = goal.is_adversarial(call.clean_logits())
        return state.result(
            call, already=already, logits=search.logits, random=call.random, history=history
        )

    def side(self, query: int, x: Tensor) -> int:
        """Return the side of the squares at a query, in pixels of x (B, C, ..., H, W).

        >>> x = torch.zeros(1, 3, 32, 32)
        >>> [Square(queries=10_000).side(query, x) for query in (1, 11, 501, 8001)]
        [29, 20, 7, 1]
        """
        height, width = x.shape[-2:]
        passed = query * SCHEDULE // (self.shrink_over or self.queries)
        share = self.p_init / 2 ** sum(passed > halving for halving in HALVINGS)
        side = max(round(math.sqrt(share * height * width)), 1)
        if self.norm != "linf":  # whose squares have a positive and a negative half
            side = max(side, 3) // 2 * 2 + 1
        return min(side, height, width)


@dataclass
class SquareState(SearchState):
    """How far each sample has come, a row for each; the next square is put on the best.

    Attributes:
        threat: the ball it stays in.
        mask: where it may change, bool, broadcastable over samples, (B, ...).
        numbers: those of the next queries, U[0, 1), (B, BLOCK, n).
        **others: see `SearchState`.
    """

    threat: Threat
    mask: Tensor
    numbers: Tensor


class SquareRun:
    """One call of the attack.

    Attributes:
        active: the samples still worked on.
        logits: of the first points, (B, K).
    """

    def __init__(
        self, call: Call, options: Square, goal: Goal, threat: Threat, mask: Tensor | None = None
    ) -> None:
        """Prepare to search; without a mask all may change."""
        self.call, self.options = call, options
        none, x = torch.zeros_like(goal.y), threat.x
        if mask is None:
            mask = torch.ones_like(threat.eps, dtype=torch.bool)
        best, numbers = BestByLoss.start(x), x.new_empty(len(x), 0)
        state = SquareState(goal, best, none, None, none.bool(), threat, mask, numbers)
        self.active = ActiveSet(state, torch.arange(len(x), device=x.device))
        self.logits = x.new_empty(0)

    def run(self) -> tuple[SquareState, Tensor]:
        """Spend all queries; return the state then, and the losses after each, (queries, B).

        Where a sample has left there is NaN.
        """
        history: list[Tensor] = []
        while len(history) < self.options.queries:
            for values in self._advance(len(history)):
                history.append(self.active.spread(values, absent=torch.nan))
                self.call.progress(len(history), self.options.queries)
        state = self.active.everything()
        return state, state.goal.as_loss(torch.stack(history))

    def _advance(self, query: int) -> Tensor:
        """Try the next change of each sample, or several; return values after each, (n, A)."""
        early = self.options.early_stop
        if early and is_check_step(query):
            self.active.drop(self.active.now.left)
        state = self.active.now
        if not len(state.left):
            return state.best.value[None]
        if query % BLOCK == 0:
            state.numbers = self._draw(BLOCK, squares.PLACES + state.threat.x.shape[1])
        count = self._ahead(query)
        return self._try_ahead(state, query, count) if count > 1 else self._try(state, query)

    def _ahead(self, query: int) -> int:
        """Return how many changes to try in one pass: several once few samples are left."""
        room = self.options.batch_size or len(self.call.x)
        if query < BLOCK or len(self.active.rows) * BLOCK > room:
            return 1
        end = min(query - query % BLOCK + BLOCK, self.options.queries)
        sides = [self.options.side(q, self.active.now.threat.x) for q in range(query, end)]
        return sides.count(sides[0])  # they never grow again

    def _try(self, state: SquareState, query: int) -> Tensor:
        """Try the next change of each sample; return the best values then, (1, A)."""
        seen = self._look(state, self._change(state, query, state.numbers[:, query % BLOCK]))
        state.best.merge(seen, keep_first=self.options.early_stop)
        state.count_pass(early_stop=self.options.early_stop)
        return state.best.value[None]

    def _try_ahead(self, state: SquareState, query: int, count: int) -> Tensor:
        """Try `count` changes of each sample in one pass, each made to the same best sample.

        Late in the search few are kept. What comes after one that was is tried again, on top of
        it: the same as one after the other, in fewer and larger passes.

        Returns:
            The best values after each, (count, A).
        """
        early, device = self.options.early_stop, state.left.device
        turns = torch.arange(count, device=device)
        over = torch.where(state.left, count, 0)  # (A,): how many turns each has had
        values = state.best.value.repeat(count, 1)
        while True:
            rows, turn = (over[:, None] <= turns).nonzero(as_tuple=True)  # (P,); waits
            if not len(rows):
                return values
            base = index_rows(state, rows)
            numbers = base.numbers[torch.arange(len(rows), device=device), query % BLOCK + turn]
            seen = self._look(base, self._change(base, query, numbers))
            better = base.best.better(seen, keep_first=early)
            none = torch.full_like(over, count)
            kept = none.scatter_reduce(0, rows, torch.where(better, turn, count), "amin")  # (A,)
            broken = rows[~seen.finite & (turn <= kept[rows])]
            state.best.finite = state.best.finite.index_fill(0, broken, False)
            won = (turn == kept[rows]).nonzero()[:, 0]
            best = index_rows(state.best, rows[won])
            best.merge(index_rows(seen, won), keep_first=early)
            state.best = scatter_rows(state.best, rows[won], best)
            values = torch.where(turns[:, None] >= kept, state.best.value, values)
            now = (kept + 1).clamp_max(count)
            state.queries, over = state.queries + (now - over), now
            if early:
                state.left = state.best.success
                over = over.masked_fill(state.left, count)

    def _change(self, state: SquareState, query: int, numbers: Tensor) -> Tensor:
        """Propose the next samples, (A, ...), by numbers (A, n)."""
        if query == 0:
            x_new = squares.start(state.threat, self._draw)
        else:
            side = self.options.side(query, state.threat.x)
            x_new = squares.proposal(state.threat, state.best.x_adv, size=side, numbers=numbers)
        return torch.where(state.mask, x_new, state.threat.x)

    def _look(self, state: SquareState, x_new: Tensor) -> BestByLoss:
        """Evaluate x_new, (A, ...)."""
        logits = detached_logits(self.call.forward, x_new)
        if not len(self.logits):
            self.logits = logits
        return BestByLoss.seen(x_new, state.goal, logits=logits, value=state.goal.objective(logits))

    def _draw(self, *shape: int) -> Tensor:
        """Return U[0, 1) numbers for the active samples, (A, *shape)."""
        generators = [self.call.generators[row] for row in self.active.rows.tolist()]
        return unit(self.active.now.threat.x, generators, shape)
