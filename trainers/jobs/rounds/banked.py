"""What each attack made of the training samples of a round, by the bank."""

from collections.abc import Sequence
from statistics import median

from augment import SampleBank
from augment.bank.samples import Entry
from trainers.evenly_spaced import evenly_spaced
from trainers.jobs.rounds.collect_samples import is_misclassified
from trainers.jobs.rounds.setup import Rounds, round_name
from trainers.run.folder.atomic import is_present
from trainers.run.folder.metrics import Stopwatch

TAG = "train_attack"
NORMS = ("linf", "l2", "l1")
COUNTED = 256  # samples of an attack, at most


def note_attacks(rounds: Rounds, number: int, bank: SampleBank, spent: Stopwatch) -> None:
    """Note how often each attack fooled the classifier on training samples, and by what change.

    Those count that were right before. The samples are taken as the bank stores them.

    Args:
        rounds: the run, with the classifier that was attacked.
        number: the round.
        bank: holds its samples.
        spent: the time that the attacks took, where it is known.
    """
    if (name := f"{round_name(number)}/attack") in rounds.context.folder.metrics.lines:
        return
    values: dict[str, float] = {}
    for attack in rounds.attacks:
        values |= describe_attack(rounds, bank, attack, bank.indices(round=number, attack=attack))
    if is_present(spent.path):
        made = len(bank.indices(round=number))
        values |= {
            f"{TAG}/seconds": spent.seconds,
            f"{TAG}/samples_per_second": made / spent.seconds,
        }
    rounds.context.folder.metrics.add(name, step=number, values=values)


def describe_attack(
    rounds: Rounds, bank: SampleBank, attack: str, indices: Sequence[int]
) -> dict[str, float]:
    """Return the success of an attack on some training samples and its median norms, by tag."""
    some = [indices[i] for i in evenly_spaced(len(indices), COUNTED)]
    entries = bank.entries()
    places = {name: row for row, name in enumerate(rounds.train.ids)}
    attackable, fooled = 0, list[Entry]()
    for start in range(0, len(some), rounds.context.batch_size):
        part = some[start : start + rounds.context.batch_size]
        x, _ = rounds.train.stack([places[entries[i].source] for i in part])
        x_adv, y = bank.stack(part)
        right, later = (
            ~is_misclassified(rounds.context.model, each, y.to(rounds.context.device))
            for each in (x, x_adv)
        )
        attackable += int(right.sum())
        fooled += [
            entries[i] for i, won in zip(part, (right & ~later).tolist(), strict=True) if won
        ]
    found = {f"{TAG}/{attack}/success": len(fooled) / attackable} if attackable else {}
    norms = NORMS if fooled else ()
    return found | {
        f"{TAG}/{attack}/median_{norm}": median(getattr(entry, norm) for entry in fooled)
        for norm in norms
    }
