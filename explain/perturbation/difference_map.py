"""Difference maps: where an attack has to change a sample so that its class is lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from attacks.attack import Attack, Progress
from attacks.common.options import Count
from attacks.common.progress import PERCENT, PartProgress
from attacks.common.randomness import derive_seed, ids_of
from attacks.generator.generator import LearnedGenerator
from explain.method import ExplanationCall, ExplanationMethod

STEPS = 50  # of the usual generator: enough to fool, at a sixth of the attack's own cost


@dataclass(frozen=True)
class DifferenceMap(ExplanationMethod):
    """The mean absolute difference, over channels, of a sample and what an attack makes of it.

    The class y is the one that the attack leaves. Where the sample is not predicted as y, little or
    nothing has to change for that, and the map may be empty. A generator lowers the classes that
    lead on the clean sample, y among them where it is predicted.

    Args:
        attack: any of ATTACKS that needs no target and no guide; usually a generator P learned
            for each sample in 50 steps.
        instances: runs of the attack with seeds of their own, of whose maps the mean is taken.
        chunk: samples that are attacked at once.

    Source: Rey-de-Castro & Rabitz 2018, section 5.2.
    """

    attack: Attack = field(default_factory=partial(LearnedGenerator, steps=STEPS))
    instances: Count = 1
    chunk: Count = 32

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return the mean over instances and channels of |x_adv - x|, (B, H, W) or (B, T, H, W)."""
        found = learn_differences(
            call.model,
            call.x,
            call.y,
            attack=self.attack,
            instances=self.instances,
            chunk=self.chunk,
            seed=call.seed,
            sample_ids=call.sample_ids,
            progress=call.progress,
        )
        return found.mean((0, 2))


def learn_differences(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None,
    *,
    attack: Attack,
    instances: int = 1,
    chunk: int = 32,
    seed: int = 0,
    sample_ids: Sequence[int] | Tensor | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Attack samples several times, and return the absolute differences, colour kept.

    Args:
        model: the classifier.
        x: images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1].
        y: the classes to leave, int64 (B,); None takes the model's predictions.
        attack: the attack.
        instances: number I of runs. The first has the seed itself, each later one another.
        chunk: samples that are attacked at once.
        seed: with a sample's id, fixes that sample's random numbers.
        sample_ids: B integers; None hashes each sample's content.
        progress: called with (steps done, steps in all).

    Returns:
        |x_adv - x|, (I, B, C, ...) in [0, 1].

    Raises:
        ValueError: for what the attack cannot work with.
    """
    ids, parts = ids_of(x, sample_ids), range(0, len(x), chunk)
    told = PartProgress(progress, [PERCENT] * (instances * len(parts)))
    found = []
    for instance in range(instances):
        own = derive_seed(seed, "instance", instance) if instance else seed
        rows = []
        for start in parts:
            part = slice(start, start + chunk)
            result = attack(
                model,
                x[part],
                None if y is None else y[part],
                seed=own,
                sample_ids=ids[part],
                progress=told.within,
            )
            rows.append(result.delta.abs())
            told.end_part()
        found.append(torch.cat(rows))  # (B, C, ...)
    return torch.stack(found)


def mean_and_spread(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation over instances of maps (I, B, ...), (B, ...) each.

    Of a single instance nothing is known of the spread: it is 0.

    >>> mean, spread = mean_and_spread(torch.tensor([[1.0], [3.0]]))
    >>> mean.item(), round(spread.item(), 4)
    (2.0, 1.4142)
    """
    spread = maps.std(0) if len(maps) > 1 else torch.zeros_like(maps[0])
    return maps.mean(0), spread
