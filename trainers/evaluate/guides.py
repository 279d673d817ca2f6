"""Guides for attacks that lead samples to others."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from attacks.attack import Attack, AttackResult, Progress
from attacks.common.randomness import generator_for, ids_of
from attacks.feature.guided_attack import GuidedAttack
from augment import Dataset
from augment.batches import Samples


def attack_with_guides(
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    others: Samples,
    target: Tensor | None = None,
    seed: int,
    sample_ids: Sequence[int] | Tensor | None,
    progress: Progress | None = None,
) -> AttackResult:
    """Attack samples; an attack that needs guides is led to samples of other classes.

    Args:
        attack: any attack.
        model: the classifier.
        x: samples, (B, ...).
        y: labels, (B,).
        others: the data set that guides are drawn from.
        target: as of the attack.
        seed: as of the attack; with a sample's id, it chooses the sample's guide.
        sample_ids: as of the attack.
        progress: as of the attack.

    Raises:
        ValueError: when there is no sample of another class.
    """
    perturb: Callable[..., AttackResult] = attack
    if isinstance(attack, GuidedAttack):
        rows = choose_guides(others, y, seed=seed, ids=ids_of(x, sample_ids))
        assert isinstance(others, Dataset)  # `choose_guides` has checked it
        perturb = partial(attack, guide=others.stack(rows)[0].to(x))
    return perturb(model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress)


def choose_guides(others: Samples, y: Tensor, *, seed: int, ids: Sequence[int]) -> list[int]:
    """Choose for each sample the row of one of another class, whatever the batch.

    Args:
        others: where to choose from.
        y: labels, (B,).
        seed: of the choice.
        ids: a number for each sample.

    Raises:
        ValueError: when there is none.
    """
    if not isinstance(others, Dataset):
        raise ValueError("guides are drawn from a Dataset of augment; give one, not a loader")
    rows = []
    for label, sample in zip(y.tolist(), ids, strict=True):
        there = torch.nonzero(others.labels != label).flatten()  # (N,)
        if not len(there):
            raise ValueError(
                f"all samples of {others.name} are of class {label}, and a guide is to be of "
                "another; give more samples"
            )
        place = torch.randint(len(there), (), generator=generator_for(seed, "guide", sample))
        rows.append(int(there[place]))
    return rows
