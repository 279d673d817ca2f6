"""What a round fits: originals, samples of the bank beside them, and the method."""

from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment import Dataset, MixedDataset, SampleBank
from augment.bank.mixed import choose_of_each
from trainers.evaluate.evaluation import predict
from trainers.fit.fit_or_load import fit_or_load, load_weights
from trainers.jobs.rounds.banked import note_attacks
from trainers.jobs.rounds.collect_samples import (
    Item,
    collect_adversarial_samples,
    list_items,
)
from trainers.jobs.rounds.reviewing import review_round
from trainers.jobs.rounds.setup import Rounds, comes_fitted, fit_flags
from trainers.run.folder.metrics import Stopwatch
from trainers.run.job_context import JobContext


def train_round(rounds: Rounds, number: int) -> None:
    """Make what is missing of a round's training: samples, verdicts, classifier."""
    context, config = rounds.context, rounds.config
    train: Dataset | None = rounds.train
    flags = fit_flags(config, number)
    if number:
        load_weights(context.model, rounds.file(number - 1, ".safetensors"))
        bank, todo = rounds.bank(number), list_round_items(rounds, number)
        spent = Stopwatch(rounds.file(number) / "attack" / "seconds.json")
        collect_adversarial_samples(
            context, todo, number, rounds.train, attacks=rounds.attacks, bank=bank, spent=spent
        )
        note_attacks(rounds, number, bank, spent)
        bank = review_round(rounds, number)
        if flags.method != "standard":
            chosen, ratio = choose_stored(rounds, bank), config.loop.ratio
            train = MixedDataset(rounds.train, bank, chosen=chosen, ratio=ratio, seed=context.seed)
        if config.loop.start == "scratch":
            context.model.load_state_dict(rounds.first_weights)
    elif comes_fitted(config):
        train = None  # the classifier is what it came as
    file = rounds.file(number, ".safetensors")
    static = static_classifiers(rounds, number) if flags.method == "ensemble" else []
    fit_or_load(context, file, train, flags=flags, number=number, val=rounds.val, static=static)


def choose_stored(rounds: Rounds, bank: SampleBank) -> list[int]:
    """Return the numbers of the bank's samples that are fitted, by what the options say.

    The instances that an attack makes of a sample in one round count as one.
    """
    loop, accepted = rounds.config.loop, rounds.fitted(bank)
    if not loop.bank_per_sample:
        return accepted
    if loop.bank_first == "newest":
        entries = bank.entries()
        value: Sequence[float] = [entries[i].round for i in accepted]
    else:
        value = losses(rounds.context, *bank.stack(accepted)).tolist()
    count = loop.bank_per_sample * loop.instances
    return choose_of_each(bank, accepted, count, value=value)


def losses(context: JobContext, x: Tensor, y: Tensor) -> Tensor:
    """Return the classifier's cross-entropy on samples (N, ...) with labels (N,), (N,)."""
    found = [torch.zeros(0)]
    for rows in torch.split(torch.arange(len(x)), context.batch_size):
        logits = predict(context.model, x[rows].to(context.device))
        each = F.cross_entropy(logits, y[rows].to(context.device), reduction="none")
        found.append(each.cpu())
    return torch.cat(found)


def static_classifiers(rounds: Rounds, number: int) -> list[nn.Module]:
    """Return the classifiers that the method ensemble perturbs for: of rounds before, --static."""
    model = rounds.context.model
    before = [deepcopy(model) for _ in range(number)]
    for earlier, each in enumerate(before):
        load_weights(each, rounds.file(earlier, ".safetensors"))
    return [*before, *rounds.static]


def list_round_items(rounds: Rounds, number: int) -> list[Item]:
    """Return what a round attacks of the training samples: nothing in round 0."""
    context, samples = rounds.context, len(rounds.train)
    names, size = list(rounds.attacks) if number else [], context.batch_size
    return list_items(
        number, names, rounds.config.loop, samples, batch_size=size, seed=context.seed
    )
