"""A small evolutionary search over images: a population for each sample, all in one batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.common.goal import Classifier, Goal, logits_of
from attacks.common.randomness import uniform

STRENGTH = 15  # distribution index of the polynomial mutation: the larger, the smaller the changes
HALVING = 1000  # generations in which the mutation rate falls to half
IMAGES = 256  # in one forward pass


@dataclass
class Evolution:
    """Populations of images whose fitness is a goal's value; a state that `active.take` knows.

    Attributes:
        goal: what is climbed.
        members: (B, P, C, ...) in [0, 1]; after a step the fittest of each sample comes first.
        fitness: (B, P), -inf where it is unknown or not finite.
        mutation: share of a child's values that mutate in the first generations.
    """

    goal: Goal
    members: Tensor
    fitness: Tensor
    mutation: float

    @classmethod
    def of_noise(
        cls,
        goal: Goal,
        x: Tensor,
        generators: Sequence[torch.Generator],
        *,
        population: int,
        mutation: float,
    ) -> "Evolution":
        """Begin with images of uniform noise for each sample of x (B, C, ...)."""
        noise = [(uniform(x, generators) + 1) / 2 for _ in range(population)]
        members = torch.stack(noise, 1)  # (B, P, C, ...)
        fitness = members.new_full(members.shape[:2], -torch.inf)  # (B, P)
        return cls(goal, members, fitness, mutation)

    @property
    def cost(self) -> int:
        """Images of each sample that the model sees in a step."""
        return self.members.shape[1]

    @property
    def image(self) -> Tensor:
        """The fittest image of each sample, (B, C, ...)."""
        return self.members[:, 0]

    @property
    def value(self) -> Tensor:
        """Its fitness, (B,)."""
        return self.fitness[:, 0]

    def step(
        self, model: Classifier, number: int, generators: Sequence[torch.Generator], done: Tensor
    ) -> None:
        """Play a generation; the populations of samples that are `done` (B,) stay as they are.

        Generation 0 is the noise itself. Of equally fit images the older one survives.
        """
        rate = self.mutation * 0.5 ** (number // HALVING)
        new = self._offspring(rate, generators) if number else self.members
        grown = self._fitness(model, new).masked_fill(done[:, None], -torch.inf)
        members = torch.cat([self.members, new], 1)  # (B, 2 P, C, ...)
        fitness = torch.cat([self.fitness, grown], 1)  # (B, 2 P)
        rank = fitness.argsort(dim=1, descending=True, stable=True)[:, : self.cost]  # (B, P)
        self.members, self.fitness = _chosen(members, rank), fitness.gather(1, rank)

    def _offspring(self, rate: float, generators: Sequence[torch.Generator]) -> Tensor:
        """Return as many children (B, P, C, ...), sample i's drawn from generator i.

        Each is a uniform crossover of two parents, each of them the fitter of two members drawn
        at random; then each value mutates with probability `rate`.
        """
        size, *shape = self.members.shape[1:]
        lots = torch.stack([torch.rand(size, 4, generator=g) for g in generators])  # (B, P, 4)
        drawn = (lots * size).long().to(self.members.device)
        # The fittest come first, so the smaller of two numbers is the fitter parent.
        mother = _chosen(self.members, drawn[..., :2].amin(2))  # (B, P, C, ...)
        father = _chosen(self.members, drawn[..., 2:].amin(2))
        numbers = [torch.rand(3, size, *shape, generator=g) for g in generators]
        cross, hit, chance = torch.stack(numbers, 1).to(self.members)  # (B, P, C, ...) each
        child = torch.where(cross < 0.5, mother, father)
        return torch.where(hit < rate, mutate(child, chance), child)

    def _fitness(self, model: Classifier, members: Tensor) -> Tensor:
        """Return the goal's value of images (B, P, C, ...), (B, P)."""
        size, goal = members.shape[1], self.goal
        images = members.flatten(0, 1)  # (B * P, C, ...)
        with torch.no_grad():
            logits = torch.cat([logits_of(model, part) for part in torch.split(images, IMAGES)])
        target = None if goal.target is None else goal.target.repeat_interleave(size)
        each = replace(goal, y=goal.y.repeat_interleave(size), target=target)  # (B * P,)
        value = each.objective(logits).masked_fill(~torch.isfinite(logits).all(1), -torch.inf)
        return value.reshape(-1, size)  # (B, P)


def mutate(x: Tensor, chance: Tensor) -> Tensor:
    """Return x after a polynomial mutation, clamped to [0, 1].

    Args:
        x: values in [0, 1].
        chance: uniform numbers in [0, 1), like x; below 0.5 a value falls, above it grows.

    Source: Deb 2001, polynomial mutation; its strength of 15 is that of Nguyen et al. 2015.

    >>> mutate(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.1, 0.5, 0.9]))
    tensor([0.4043, 0.5000, 0.5957])
    """
    power = 1 / (STRENGTH + 1)
    down = (2 * chance).clamp_max(1).pow(power) - 1
    up = 1 - (2 - 2 * chance).clamp_max(1).pow(power)
    return (x + down + up).clamp(0, 1)


def _chosen(members: Tensor, rank: Tensor) -> Tensor:
    """Return the images (B, Q, C, ...) with the numbers rank (B, Q)."""
    rows = torch.arange(len(members), device=members.device)[:, None]  # (B, 1)
    return members[rows, rank]
