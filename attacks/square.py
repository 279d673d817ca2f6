"""The Square Attack: random search, with scores alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks import squares
from attacks.active import ActiveSet, due
from attacks.attack import Progress
from attacks.best import Best
from attacks.diagnosis import warnings_of
from attacks.forward import prepared
from attacks.goal import Classifier, Goal, logits_of
from attacks.guard import frozen
from attacks.inputs import check_batch, own_copies
from attacks.losses import LossName, check_loss
from attacks.randomness import sample_generators, unit
from attacks.result import AttackResult
from attacks.threat import Norm, Threat, check_norm

# The squares halve their area after these queries, of SCHEDULE in all.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
SCHEDULE = 10_000
BLOCK = 8  # random numbers are drawn, and brought to the device, for so many queries at once


@dataclass(frozen=True)
class Square:
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

    Source: Andriushchenko et al. 2020, algorithms 1 to 3; l1: Croce & Hein 2021 (Mind the Box).
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    queries: int = 5000
    p_init: float = 0.8
    shrink_over: int | None = None
    loss: LossName = "margin"
    early_stop: bool = True

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_norm(self.norm)
        check_loss(self.loss)
        if self.queries < 1:
            raise ValueError(f"queries is {self.queries}; give at least 1")
        if not 0 < self.p_init <= 1:
            raise ValueError(f"p_init is {self.p_init}; give a share of the image in (0, 1]")
        if self.shrink_over is not None and self.shrink_over < 1:
            raise ValueError(f"shrink_over is {self.shrink_over}; give at least 1, or None")

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Perturb x within the ball; see `Attack.__call__`. A video's frames share the squares."""
        check_batch(x, y, target=target)
        generators = sample_generators(x, seed=seed, sample_ids=sample_ids)
        with frozen(model), torch.no_grad():
            x, y, target = own_copies(x, y, target)
            threat = Threat.around(x, norm=self.norm, eps=self.eps)
            forward, random = prepared(model, x)
            goal = Goal(y, target, self.loss)
            search = Search(forward, self, goal, threat, generators)
            history = []
            for query in range(self.queries):
                history.append(search.goal.as_loss(search.step(query)))
                if progress:
                    progress(query + 1, self.queries)
            state = search.active.everything()
        best = state.best
        return AttackResult(
            x=x,
            x_adv=best.x_adv,
            success=best.success,
            queries=state.queries,
            loss=search.goal.as_loss(best.value),
            history=torch.stack(history),  # (queries, B)
            info=warnings_of(search.goal, search.logits, finite=best.finite, random=random),
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
class State:
    """How far each sample has come, a row for each.

    Attributes:
        goal: what it pursues.
        threat: the ball it stays in.
        best: the best it has seen, and what the next square is put on.
        numbers: those of the next queries, U[0, 1), (B, BLOCK, n).
        queries: forward passes spent on it, int64 (B,).
        left: whether it is done, bool (B,).
    """

    goal: Goal
    threat: Threat
    best: Best
    numbers: Tensor
    queries: Tensor
    left: Tensor


class Search:
    """One call of the attack.

    Attributes:
        goal: what all samples pursue.
        active: the samples still worked on.
        logits: of the first points, (B, K).
    """

    def __init__(
        self,
        model: Classifier,
        options: Square,
        goal: Goal,
        threat: Threat,
        generators: Sequence[torch.Generator],
    ) -> None:
        """Prepare to search; `model` is frozen and `prepared`."""
        self.model, self.options, self.goal, self.generators = model, options, goal, generators
        none, x = torch.zeros_like(goal.y), threat.x
        state = State(goal, threat, Best.start(x), x.new_empty(len(x), 0), none, none.bool())
        self.active = ActiveSet(state, torch.arange(len(x), device=x.device))
        self.logits = x.new_empty(0)

    def step(self, query: int) -> Tensor:
        """Try one change of each sample; return the best values so far, NaN where it has left."""
        early = self.options.early_stop
        if early and due(query):
            self.active.drop(self.active.now.left)
        state, x_adv = self.active.now, self.active.now.best.x_adv
        if len(x_adv):
            if query % BLOCK == 0:
                state.numbers = self._draw(BLOCK, squares.PLACES + x_adv.shape[1])
            self._try(state, self._change(state, query))
            if early:
                state.left = state.best.success
        return self.active.spread(state.best.value, absent=torch.nan)

    def _change(self, state: State, query: int) -> Tensor:
        """Return what to try, (A, ...)."""
        if query == 0:
            return squares.start(state.threat, self._draw)
        return squares.proposal(
            state.threat,
            state.best.x_adv,
            size=self.options.side(query, state.threat.x),
            numbers=state.numbers[:, query % BLOCK],
        )

    def _try(self, state: State, x_new: Tensor) -> None:
        """Look at x_new (A, ...) and keep what is better."""
        logits = logits_of(self.model, x_new)
        value = state.goal.value(logits)
        state.best.update(
            x_new, state.goal, logits=logits, value=value, keep_first=self.options.early_stop
        )
        state.queries = state.queries + ~state.left
        if not len(self.logits):
            self.logits = logits

    def _draw(self, *shape: int) -> Tensor:
        """Return U[0, 1) numbers for the active samples, (A, *shape)."""
        generators = [self.generators[row] for row in self.active.rows.tolist()]
        return unit(self.active.now.threat.x, generators, shape)
