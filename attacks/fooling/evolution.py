"""Evolutionary search over images, with a population for each sample of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.common.goal import Classifier, Goal, detached_logits

STRENGTH = 15  # distribution index of the polynomial mutation: the larger, the smaller the changes
HALVING = 1000  # generations after which the mutation rate is halved
IMAGES = 256  # of one forward pass


@dataclass
class Evolution:
    """The populations of a batch; a state of `ActiveSet`.

    Attributes:
        goal: its objective is the fitness.
        members: images (B, P, C, ...) in [0, 1], after a step in the order of falling fitness.
        fitness: (B, P), -inf where it is unknown or not finite.
        mutation: share of a child's values that mutate in the first generations.
    """

    goal: Goal
    members: Tensor
    fitness: Tensor
    mutation: float

    @property
    def cost(self) -> int:
        """Queries of a step for each sample."""
        return self.members.shape[1]

    @property
    def image(self) -> Tensor:
        """The fittest image of each sample, (B, C, ...)."""
        return self.members[:, 0]

    @property
    def value(self) -> Tensor:
        """The highest fitness of each sample, (B,)."""
        return self.fitness[:, 0]

    def step(
        self, model: Classifier, number: int, generators: Sequence[torch.Generator], done: Tensor
    ) -> None:
        """Run a generation: create children, and keep the P fittest of parents and children.

        Generation 0 evaluates the noise. Of equally fit images the older one survives.

        Args:
            model: the classifier.
            number: of the generation, from 0.
            generators: one for each sample.
            done: bool (B,), samples whose population does not change.
        """
        rate = self.mutation * 0.5 ** (number // HALVING)
        new = self._offspring(rate, generators) if number else self.members
        grown = self._fitness(model, new).masked_fill(done[:, None], -torch.inf)
        members = torch.cat([self.members, new], 1)  # (B, 2 P, C, ...)
        fitness = torch.cat([self.fitness, grown], 1)  # (B, 2 P)
        rank = fitness.argsort(dim=1, descending=True, stable=True)[:, : self.cost]  # (B, P)
        self.members, self.fitness = _take(members, rank), fitness.gather(1, rank)

    def _offspring(self, rate: float, generators: Sequence[torch.Generator]) -> Tensor:
        """Create P children of each sample, (B, P, C, ...), sample i's from generator i.

        A child is a uniform crossover of two parents, each the fitter of two random members; then
        each value mutates with probability `rate`.
        """
        size, *shape = self.members.shape[1:]
        lots = torch.stack([torch.rand(size, 4, generator=g) for g in generators])  # (B, P, 4)
        drawn = (lots * size).long().to(self.members.device)
        # Members are in the order of falling fitness: the smaller number is the fitter parent.
        mother = _take(self.members, drawn[..., :2].amin(2))  # (B, P, C, ...)
        father = _take(self.members, drawn[..., 2:].amin(2))
        numbers = [torch.rand(3, size, *shape, generator=g) for g in generators]
        cross, hit, chance = torch.stack(numbers, 1).to(self.members)  # (B, P, C, ...) each
        child = torch.where(cross < 0.5, mother, father)
        return torch.where(hit < rate, mutate(child, chance), child)

    def _fitness(self, model: Classifier, members: Tensor) -> Tensor:
        """Evaluate the fitness of images (B, P, C, ...), (B, P)."""
        size, goal = members.shape[1], self.goal
        images = members.flatten(0, 1)  # (B * P, C, ...)
        logits = torch.cat([detached_logits(model, part) for part in torch.split(images, IMAGES)])
        target = None if goal.target is None else goal.target.repeat_interleave(size)
        each = replace(goal, y=goal.y.repeat_interleave(size), target=target)  # (B * P,)
        value = each.objective(logits).masked_fill(~torch.isfinite(logits).all(1), -torch.inf)
        return value.reshape(-1, size)  # (B, P)


def mutate(x: Tensor, chance: Tensor) -> Tensor:
    """Apply a polynomial mutation to x, and clamp to [0, 1].

    Args:
        x: values in [0, 1].
        chance: uniform numbers in [0, 1), like x; a value falls below 0.5 and rises above.

    Source: Deb 2001, polynomial mutation; strength 15 as in Nguyen et al. 2015.

    >>> mutate(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.1, 0.5, 0.9]))
    tensor([0.4043, 0.5000, 0.5957])
    """
    power = 1 / (STRENGTH + 1)
    down = (2 * chance).clamp_max(1).pow(power) - 1
    up = 1 - (2 - 2 * chance).clamp_max(1).pow(power)
    return (x + down + up).clamp(0, 1)


def _take(members: Tensor, rank: Tensor) -> Tensor:
    """Return the members (B, Q, C, ...) with the numbers rank, int64 (B, Q)."""
    rows = torch.arange(len(members), device=members.device)[:, None]  # (B, 1)
    return members[rows, rank]
