"""The worst case: the samples that survive every one of several attacks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.evaluate.budgets import Budget
from trainers.evaluate.scores import AttackMeasurement


@dataclass(frozen=True)
class WorstCase:
    """The samples that survive all attacks of one budget, the same samples for each.

    Attributes:
        budget: a norm and a radius.
        attacks: names of those that joined: those held to the budget, and those that look for
            the smallest change in its norm, with the samples whose change is within the radius.
        survived: (N,) bool, right before and fooled by none of them.
    """

    budget: Budget
    attacks: list[str]
    survived: Tensor


def worst_cases(
    measurements: Mapping[str, AttackMeasurement], *, first: Budget | None = None
) -> list[WorstCase]:
    """Return the worst case of each budget that an attack was held to.

    Args:
        measurements: of several attacks on the same samples, by name.
        first: the budget that comes first among those of as many attacks.

    Returns:
        The one of most attacks first; none where no attack has a budget.
    """
    budgets = [m.budget for m in measurements.values() if m.budget and m.budget.eps is not None]
    counts = Counter(budgets)
    ranked = sorted(counts, key=lambda budget: (-counts[budget], budget != first))
    return [_worst_case(budget, measurements) for budget in ranked]


def _worst_case(budget: Budget, measurements: Mapping[str, AttackMeasurement]) -> WorstCase:
    joined = {}
    for name, m in measurements.items():
        if m.budget == budget:
            joined[name] = m.survived
        elif m.budget == Budget(budget.norm, None):
            joined[name] = m.survived | ~budget.holds(m.sizes[budget.norm])
    right = next(iter(measurements.values())).clean
    return WorstCase(budget, list(joined), torch.stack([right, *joined.values()]).all(0))


def outsiders(measurements: Mapping[str, AttackMeasurement]) -> dict[str, str]:
    """Return the attacks that no worst case is made of, each with the reason."""
    held = {m.budget.norm for m in measurements.values() if m.budget and m.budget.eps is not None}
    found = {}
    for name, m in measurements.items():
        if m.budget is None:
            found[name] = "no budget: nothing limits its changes"
        elif m.budget.eps is None and m.budget.norm not in held:
            norm = m.budget.norm
            found[name] = f"looks for the smallest {norm} change; no attack has an {norm} budget"
    return found


def worst_case(measurements: Sequence[AttackMeasurement]) -> float:
    """Return the share of samples that survive every one of the attacks, all of one budget.

    Args:
        measurements: of attacks on the same samples; those that look for the smallest change may
            stand beside others of their norm, see `WorstCase`.

    Raises:
        ValueError: when there are none, or they are held to different things.
    """
    if not measurements:
        raise ValueError("there are no measurements; evaluate at least one attack")
    named = {str(number): m for number, m in enumerate(measurements)}
    for case in worst_cases(named):
        if len(case.attacks) == len(named):
            return float(case.survived.double().mean())
    budgets = list(dict.fromkeys(m.budget for m in measurements))
    if len(budgets) > 1:
        shown = ", ".join("none" if budget is None else str(budget) for budget in budgets)
        raise ValueError(
            f"the budgets of these measurements are {shown}; join those of one norm and eps, or "
            "let `worst_cases` sort them"
        )
    return float(torch.stack([m.survived for m in measurements]).all(0).double().mean())
