"""A small evolutionary search over images: a population for each sample, all in one batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.goal import Goal, logits_of
from attacks.randomness import uniform

STRENGTH = 15  # distribution index of the polynomial mutation: the larger, the smaller the changes
HALVING = 1000  # generations in which the mutation rate falls to half
IMAGES = 256  # in one forward pass


@dataclass
class Evolution:
    """Populations of images in [0, 1] whose fitness is the value of a goal.

    Attributes:
        members: (B, P, C, ...); the fittest of each sample first after a step.
        fitness: (B, P), -inf where it is unknown or not finite.
        mutation: share of the values of a child that mutate in the first generations.
        generators: B random number generators.
    """

    members: Tensor
    fitness: Tensor
    mutation: float
    generators: Sequence[torch.Generator]

    @classmethod
    def of_noise(
        cls, x: Tensor, generators: Sequence[torch.Generator], *, size: int, mutation: float
    ) -> "Evolution":
        """Begin with `size` images of uniform noise for each sample of x (B, C, ...)."""
        noise = [(uniform(x, generators) + 1) / 2 for _ in range(size)]
        members = torch.stack(noise, 1)  # (B, P, C, ...)
        fitness = members.new_full(members.shape[:2], -torch.inf)  # (B, P)
        return cls(members, fitness, mutation, generators)

    @property
    def cost(self) -> int:
        """Images of each sample that the model sees in a step."""
        return self.members.shape[1]

    @property
    def best(self) -> Tensor:
        """The fittest image of each sample, (B, C, ...)."""
        return self.members[:, 0]

    def step(self, model: nn.Module, goal: Goal, *, number: int, done: Tensor) -> Tensor:
        """Play generation `number`; samples that are `done` (B,) stay as they are.

        Generation 0 is the noise itself. Of equally fit images the older one survives.

        Returns:
            The value of each sample's fittest image, (B,).
        """
        rate = self.mutation * 0.5 ** (number // HALVING)
        new = self._offspring(rate) if number else self.members
        grown = fitness_of(new, model, goal).masked_fill(done[:, None], -torch.inf)
        members = torch.cat([self.members, new], 1)  # (B, 2 P, C, ...)
        fitness = torch.cat([self.fitness, grown], 1)  # (B, 2 P)
        rank = fitness.argsort(dim=1, descending=True, stable=True)[:, : self.cost]  # (B, P)
        self.members, self.fitness = take(members, rank), fitness.gather(1, rank)
        return self.fitness[:, 0]

    def _offspring(self, rate: float) -> Tensor:
        """Return as many children (B, P, C, ...), sample i's drawn from generator i.

        Each is a uniform crossover of two parents, each of them the fitter of two members drawn
        at random; then each value mutates with probability `rate`.
        """
        size, *shape = self.members.shape[1:]
        lots = torch.stack([torch.rand(size, 4, generator=g) for g in self.generators])  # (B, P, 4)
        drawn = (lots * size).long().to(self.members.device)
        # The fittest come first, so the smaller of two numbers is the fitter parent.
        parents = (drawn[..., :2].amin(2), drawn[..., 2:].amin(2))  # (B, P) each
        mother, father = (take(self.members, rank) for rank in parents)  # (B, P, C, ...) each
        numbers = [torch.rand(3, size, *shape, generator=g) for g in self.generators]
        cross, hit, chance = torch.stack(numbers, 1).to(self.members)  # (B, P, C, ...) each
        child = torch.where(cross < 0.5, mother, father)
        return torch.where(hit < rate, mutate(child, chance), child)


def mutate(x: Tensor, chance: Tensor) -> Tensor:
    """Return x in [0, 1] after a polynomial mutation, clamped to [0, 1].

    Args:
        x: values in [0, 1].
        chance: uniform numbers in [0, 1), like x; below 0.5 a value falls, above it grows.

    Source: Deb & Deb 2014, eq. (1) and (2), with the index 15 of Nguyen et al. 2015.
    """
    power = 1 / (STRENGTH + 1)
    down = (2 * chance).clamp_max(1).pow(power) - 1
    up = 1 - (2 - 2 * chance).clamp_max(1).pow(power)
    return (x + down + up).clamp(0, 1)


def fitness_of(members: Tensor, model: nn.Module, goal: Goal) -> Tensor:
    """Return the goal's value of each image of members (B, P, C, ...), (B, P); -inf for NaN."""
    size = members.shape[1]
    images = members.flatten(0, 1)  # (B * P, C, ...)
    with torch.no_grad():
        logits = torch.cat([logits_of(model, part) for part in images.split(IMAGES)])
    target = None if goal.target is None else goal.target.repeat_interleave(size)
    each = replace(goal, y=goal.y.repeat_interleave(size), target=target)
    value = each.value(logits).masked_fill(~torch.isfinite(logits).all(1), -torch.inf)
    return value.unflatten(0, (-1, size))  # (B, P)


def take(members: Tensor, rank: Tensor) -> Tensor:
    """Return the images (B, Q, C, ...) with the numbers rank (B, Q)."""
    rows = torch.arange(len(members), device=members.device)[:, None]  # (B, 1)
    return members[rows, rank]
