"""A perturbation of few wavelet coefficients."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.goal import Classifier, Goal, detached_logits, value_and_gradient
from attacks.common.options import Count, Natural, Positive
from attacks.common.threat import column
from attacks.minimum_norm.best_by_norm import BestByNorm
from attacks.minimum_norm.nearest_boundary import movable
from compress.wavelet.transform import Coefficients, check_wavelet, dwt, idwt

_FIRST_SHRINK, _LESS, _MORE = 0.5, 0.9, 1.1
_SHRINK_RANGE = (0.02, 0.95)


@dataclass
class WaveletState:
    """How far each sample has come, a row for each.

    Attributes:
        closest: its success of the fewest coefficients.
        change: the coefficients of its perturbation.
        fewest: those of the closest success.
        shrink: how much a step takes from each coefficient, over what it gives the steepest, (B,).
        done: whether it was wrong from the start, bool (B,).
    """

    closest: BestByNorm
    change: Coefficients
    fewest: Coefficients
    shrink: Tensor
    done: Tensor


@dataclass(frozen=True)
class WaveletSparse(GradientAttack):
    """Grow the wavelet coefficients of a perturbation that matter most, and shrink all others.

    Proximal gradient steps on the l1 norm of the coefficients: where a sample is not fooled, its
    coefficients go along the gradient of the margin; all then come nearer to 0. How much nearer
    follows each sample: less until it is fooled, then more. In the end the smallest coefficients
    of the best success are left out, as many as it can do without.

    Args:
        steps: a forward and a backward pass each.
        lr: by how much the steepest coefficient grows in a step; a coefficient of 1 changes a
            sample by about 1 in l2.
        prune: forward passes that look for coefficients to leave out.
        wavelet: of `compress.dwt`, such as "haar", "cdf53" or "cdf97".
        levels: of the transform; None takes as many as halve the shorter side to one.

    Source: proximal gradient (ISTA): Daubechies, Defrise & De Mol 2004; perturbations as wavelet
    coefficients: Rey-de-Castro & Rabitz 2018, section 5.4.
    """

    steps: Count = 100
    lr: Positive = 0.3
    prune: Natural = 8
    wavelet: str = "cdf97"
    levels: int | None = None

    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        check_wavelet(self.wavelet)

    def perturb(self, call: Call) -> AttackResult:
        """Perturb x by few coefficients; see `Attack.__call__`. Nothing here is random.

        `info["nonzeros"]` is their number, int64 (B,), 0 where x is returned.
        """
        history: list[Tensor] = []
        x, forward, goal = call.x, call.forward, Goal(call.y, call.target, "margin")
        logits = detached_logits(forward, x)
        closest = BestByNorm.start(x, logits, goal=goal, norm="l1")
        zero = dwt(torch.zeros_like(x), wavelet=self.wavelet, levels=self.levels)
        shrink = x.new_full((len(x),), _FIRST_SHRINK)
        state = WaveletState(closest, zero, zero, shrink, closest.success)
        active = ActiveSet(state, torch.arange(len(x), device=x.device))
        for step in range(self.steps):
            if is_check_step(step):
                active.drop(active.now.done)
            value = self._step(forward, active.now) if len(active.rows) else x.new_empty(0)
            history.append(active.spread(goal.as_loss(value), absent=torch.nan))
            call.progress(step + 1, self.steps)
        if len(active.rows):
            self._leave_out(forward, active.now)
        end = active.everything()
        result = end.closest.result(call, torch.stack(history))
        result.info["nonzeros"] = (end.fewest.flat != 0).sum(1)
        return result

    def _step(self, model: Classifier, state: WaveletState) -> Tensor:
        """Evaluate each sample, and step its coefficients; return the margins before, (A,)."""
        closest, change = state.closest, state.change
        x_adv = applied(closest.x, change)
        logits, value, slope = value_and_gradient(model, x_adv, closest.goal.objective)
        met = self._keep(state, x_adv, logits)
        closest.note_slope(slope)
        slope = slope_of(change, movable(slope.nan_to_num(0, 0, 0), x_adv))
        steepest = slope.flatten(1).abs().amax(1).clamp_min(torch.finfo(slope.dtype).tiny)
        grown = change.values + self.lr * slope * column(~met / steepest, slope)
        grown = grown.sign() * (grown.abs() - column(self.lr * state.shrink, grown)).clamp_min(0)
        grown = torch.where(column(state.done, grown), change.values, grown)
        state.change = change.with_values(grown)
        factor = torch.where(met, _MORE, _LESS)
        state.shrink = (state.shrink * factor).clamp(*_SHRINK_RANGE)
        return value

    def _leave_out(self, model: Classifier, state: WaveletState) -> None:
        """Search for the fewest of the best coefficients that still fool, by halving."""
        whole = state.fewest
        order = whole.flat.abs().argsort(1, descending=True).argsort(1)  # ranks
        enough = (whole.flat != 0).sum(1)  # (A,)
        too_few = torch.zeros_like(enough)
        for _ in range(self.prune):
            middle = (enough + too_few) // 2
            state.change = whole.with_values(whole.flat * (order < middle[:, None]))
            x_adv = applied(state.closest.x, state.change)
            met = self._keep(state, x_adv, detached_logits(model, x_adv))
            enough = torch.where(met, middle, enough)
            too_few = torch.where(met, too_few, middle)

    def _keep(self, state: WaveletState, x_adv: Tensor, logits: Tensor) -> Tensor:
        """Keep what fools with fewer coefficients; return who is fooled, bool (A,)."""
        closest, change = state.closest, state.change
        nonzeros = (change.flat != 0).sum(1)
        # Among as many, the smaller ones.
        size = nonzeros + change.flat.abs().sum(1).tanh() / 2
        before = closest.size
        met = closest.update(x_adv, logits, size=size, passes=~state.done)
        better = column(closest.size < before, change.values)
        state.fewest = change.with_values(torch.where(better, change.values, state.fewest.values))
        return met


def slope_of(change: Coefficients, slope: Tensor) -> Tensor:
    """Return the gradient of coefficients that a gradient of samples implies, (A, ...)."""
    leaf = torch.zeros_like(slope, requires_grad=True)
    with torch.enable_grad():
        picture = idwt(change.with_values(leaf))
    return torch.autograd.grad(picture, leaf, slope)[0]


def applied(x: Tensor, change: Coefficients) -> Tensor:
    """Return samples with a perturbation of these coefficients, in [0, 1]."""
    return (x + idwt(change)).clamp(0, 1)
