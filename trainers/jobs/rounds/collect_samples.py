"""A round's new training samples: attack, and store in the bank."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from attacks import Attack, LearnedGenerator
from attacks.common.randomness import derive_seed, generator_for
from attacks.feature.guided_attack import GuidedAttack
from augment import Dataset, SampleBank
from augment.bank.samples import ENCODINGS, Encoding, read_back, smallest_encodings
from trainers.evaluate.evaluation import predict, top_classes
from trainers.evaluate.guides import attack_with_guides
from trainers.evaluate.measure_resumable import log_warnings
from trainers.run.cli.config import LoopFlags
from trainers.run.cli.specs.attacks import sample_counts, slug
from trainers.run.folder.metrics import Stopwatch
from trainers.run.job_context import JobContext
from trainers.run.show.progress import Progress

log = logging.getLogger(__name__)
Item = tuple[str, str, int, list[int]]  # bank key, attack's name, instance, rows of the samples


def list_items(
    number: int, names: list[str], loop: LoopFlags, samples: int, *, batch_size: int, seed: int
) -> list[Item]:
    """List a round's items of work, always the same ones in the same order.

    Args:
        number: the round.
        names: the attacks.
        loop: how many samples and instances each attack takes.
        samples: how many training samples there are.
        batch_size: samples of an item.
        seed: the run's seed, from which the choice of samples follows.
    """
    counts, items = sample_counts(loop.attack_samples, names), []
    for name in names:
        order = torch.randperm(samples, generator=generator_for(seed, "choose", number, name))
        rows = order[: counts[name]].sort().values  # (n,)
        for instance in range(loop.instances):
            for part, chunk in enumerate(torch.split(rows, batch_size)):
                key = f"round{number:03}-{slug(name)}-{instance}-{part:05}"
                items.append((key, name, instance, chunk.tolist()))
    return items


def collect_adversarial_samples(
    context: JobContext,
    todo: Sequence[Item],
    number: int,
    train: Dataset,
    *,
    attacks: Mapping[str, Attack],
    bank: SampleBank,
    spent: Stopwatch,
) -> None:
    """Attack the training samples of a round; items that are in the bank are not made again."""
    held = set(bank.keys())
    for name in sorted({name for _, name, instance, _ in todo if instance}):
        draws = getattr(attacks[name], "draws", True) or isinstance(attacks[name], GuidedAttack)
        if not draws:
            log.warning("%s draws nothing at random: its instances of a sample are the same", name)
    missing = [item for item in todo if item[0] not in held]
    done = len(todo) - len(missing)
    with Progress(context.folder, f"round {number}: attack", total=len(todo), done=done) as bar:
        for key, name, instance, rows in missing:
            seed = derive_seed(context.seed, "attack", number, name, instance)
            x, y = (tensor.to(context.device) for tensor in train.stack(rows))
            attack = vary_start(attacks[name], instance)
            result = attack_with_guides(
                attack, context.model, x, y, others=train, seed=seed, sample_ids=rows,
                progress=bar.within,
            )  # fmt: skip
            context.folder.check_held()
            log_warnings(name, result)
            encodings = choose_encodings(context.model, result.x_adv, y)
            spent.keep()  # before the item: one that is done has its time in the file
            bank.append(
                key, result, labels=y, sources=[train.ids[row] for row in rows], attack=name,
                round=number, seed=seed, encodings=encodings,
            )  # fmt: skip
            bar.step()


def vary_start(attack: Attack, instance: int) -> Attack:
    """Return the attack that makes an instance: a network P of a later one begins elsewhere."""
    if instance and isinstance(attack, LearnedGenerator) and not attack.noise:
        return replace(attack, noise=LearnedGenerator.noise)
    return attack


def choose_encodings(model: nn.Module, x_adv: Tensor, y: Tensor) -> list[Encoding]:
    """Choose for each sample the fewest bytes from which the bank reads it back still fooling.

    Args:
        model: the classifier.
        x_adv: perturbed samples (B, ...) in [0, 1].
        y: the correct labels (B,).
    """
    x = x_adv.detach().float()
    still = [is_misclassified(model, read_back(x, encoding), y) for encoding in ENCODINGS]
    return smallest_encodings(torch.stack(still))


def is_misclassified(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Tell which samples x (B, ...) the classifier calls another class than y (B,), bool (B,).

    A non-finite answer is none.
    """
    called = top_classes(predict(model, x.to(y.device)))
    return (called != y) & (called >= 0)
