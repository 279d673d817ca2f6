"""The fast adaptive boundary attack, in its targeted version."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.goal import Goal, logit_warnings, logits_of, value_and_gradient
from attacks.guard import frozen
from attacks.hyperplane import to_hyperplane
from attacks.inputs import check_batch, check_eps, own_copies
from attacks.result import AttackResult
from attacks.threat import Norm, check_norm, lengths


@dataclass
class Nearest:
    """The nearest point of each sample that meets the goal; the sample itself until there is one.

    Attributes:
        x_adv: the points, (B, ...).
        size: how far they are from x, (B,); inf where there is none.
        value: of the goal there, (B,).
        finite: whether all logits so far were finite, bool (B,).
    """

    x_adv: Tensor
    size: Tensor
    value: Tensor
    finite: Tensor

    @classmethod
    def start(cls, x: Tensor, goal: Goal, logits: Tensor) -> "Nearest":
        """Begin at the clean samples, some of which may meet the goal."""
        finite = torch.isfinite(logits).all(1)
        value = goal.value(logits)
        size = torch.full_like(value, torch.inf).masked_fill(goal.met(logits), 0)
        return cls(x, size, value.masked_fill(~finite, torch.nan), finite)

    def update(self, x: Tensor, x_adv: Tensor, goal: Goal, *, logits: Tensor, norm: Norm) -> Tensor:
        """Take over the points that are nearer; return which meet the goal, bool (B,)."""
        met, size = goal.met(logits), lengths(x_adv - x, norm)
        nearer = met & (size < self.size)
        mask = nearer.reshape(-1, *[1] * (x.ndim - 1))
        self.x_adv = torch.where(mask, x_adv, self.x_adv)
        self.size = torch.where(nearer, size, self.size)
        self.value = torch.where(nearer, goal.value(logits), self.value)
        self.finite = self.finite & torch.isfinite(logits).all(1)
        return met


@dataclass(frozen=True)
class FAB:
    norm: Norm = "linf"
    eps: float | Tensor | None = None
    steps: int = 100
    targets: int = 9
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def __call__(self, model, x, y, *, target=None, seed=0, sample_ids=None, progress=None):
        check_batch(x, y, target=target)
        with frozen(model):
            x, y, target = own_copies(x, y, target)
            goal = Goal(y, target, "margin")
            with torch.no_grad():
                logits = logits_of(model, x)
            nearest = Nearest.start(x, goal, logits)
            classes = likeliest(logits, y, self.targets) if target is None else target[:, None]
            done = 0
            for wanted in classes.unbind(1):
                def lead(logits, wanted=wanted):
                    own = logits.gather(1, wanted[:, None]).squeeze(1)
                    if target is None:
                        return own - logits.gather(1, y[:, None]).squeeze(1)
                    return -LOSSES["margin"](logits, wanted)
                x_adv = x
                for _ in range(self.steps):
                    x_adv = self.step(model, goal, x, x_adv, lead, nearest)
                    done += 1
                    if progress: progress(done, classes.shape[1] * self.steps)
        return nearest

    def step(self, model, goal, x, x_adv, lead, nearest):
        _, value, slope = value_and_gradient(model, x_adv, lead)
        apart = (slope * (x_adv - x)).flatten(1).sum(1)
        here = to_hyperplane(x_adv, slope, -value, norm=self.norm)
        origin = to_hyperplane(x, slope, apart - value, norm=self.norm)
        near, far = (lengths(d, self.norm).clamp_min(1e-8) for d in (here, origin))
        alpha = (near / (near + far)).clamp_max(self.alpha_max).reshape(-1, *[1] * (x.ndim - 1))
        x_new = ((1 - alpha) * (x_adv + self.eta * here) + alpha * (x + self.eta * origin)).clamp(0, 1)
        with torch.no_grad():
            logits = logits_of(model, x_new)
        met = nearest.update(x, x_new, goal, logits=logits, norm=self.norm)
        return torch.where(met.reshape(alpha.shape), x + self.beta * (x_new - x), x_new)


def likeliest(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """Return the classes with the largest logits, y left out, (B, n) with n <= count."""
    own = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
    count = min(count, logits.shape[1] - 1)
    return logits.masked_fill(own, -torch.inf).topk(count, dim=1).indices
