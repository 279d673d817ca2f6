"""The Square Attack: random search with scores alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks import squares
from attacks.attack import Progress
from attacks.goal import Goal, logit_warnings, logits_of
from attacks.guard import frozen
from attacks.inputs import check_batch, own_copies
from attacks.losses import LossName, check_loss
from attacks.pgd import Best
from attacks.randomness import sample_generators
from attacks.result import AttackResult
from attacks.threat import Norm, Threat, check_norm

# The squares halve their area after these queries, of SCHEDULE in all.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
SCHEDULE = 10_000
BLOCK = 8  # random numbers are drawn for as many queries at once


@dataclass(frozen=True)
class Square:
    """Random search for one square after the other; it needs scores, and no gradients.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, a number or one a sample (B,).
        queries: forward passes on each sample at most.
        p_init: share of the image that the first squares cover, in (0, 1].
        shrink_over: queries over which the squares shrink to single pixels; None: `queries`.
        loss: what a square has to raise to be kept.
        early_stop: leave a sample once it is fooled; if not, go on raising its loss.

    Source: Andriushchenko et al. 2020, algorithms 1 to 3; l1: Croce & Hein 2021, section 4.
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
        """Perturb x within the ball; see `Attack.__call__`. Videos get the same square in each frame."""
        check_batch(x, y, target=target)
        generators = sample_generators(x, seed=seed, sample_ids=sample_ids)
        history = []
        with frozen(model), torch.no_grad():
            x, y, target = own_copies(x, y, target)
            goal = Goal(y, target, self.loss)
            threat = Threat.around(x, norm=self.norm, eps=self.eps)
            best = Best.start(x)

            def draw(*shape: int) -> Tensor:
                return torch.stack([torch.rand(*shape, generator=g) for g in generators]).to(x)

            for i in range(self.queries):
                if i == 0:
                    x_new = squares.start(threat, draw)
                else:
                    if i % BLOCK == 1:
                        numbers = draw(BLOCK, squares.PLACES + x.shape[1])
                    x_new = squares.proposal(threat, best.x_adv, size=self.side(i, x), numbers=numbers[:, (i-1)%BLOCK])
                logits = logits_of(model, x_new)
                value = goal.value(logits)
                done = best.success.clone()
                old = best.x_adv, best.value
                best.update(x_new, goal, logits=logits, value=value)
                if self.early_stop:
                    m = done.reshape(-1, *[1] * (x.ndim - 1))
                    best.x_adv = torch.where(m, old[0], best.x_adv)
                    best.value = torch.where(done, old[1], best.value)
                history.append(~done)
                if progress:
                    progress(i + 1, self.queries)
        return AttackResult(
            x=x,
            x_adv=best.x_adv,
            success=best.success,
            queries=torch.stack(history).sum(0),
            loss=goal.as_loss(best.value),
            info=logit_warnings(best.finite),
        )

    def side(self, query: int, x: Tensor) -> int:
        """Return the side of the squares at a query, in pixels."""
        height, width = x.shape[-2:]
        passed = query * SCHEDULE // (self.shrink_over or self.queries)
        share = self.p_init / 2 ** sum(passed > halving for halving in HALVINGS)
        side = max(round(math.sqrt(share * height * width)), 1)
        if self.norm != "linf":
            side = max(side, 3) // 2 * 2 + 1
        return min(side, height, width)
