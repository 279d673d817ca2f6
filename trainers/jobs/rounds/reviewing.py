"""The review of a round's samples: by persons, by a program, or by nobody."""

import logging
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from augment import SampleBank
from augment.bank.reviews import read_reviews, statuses
from augment.bank.samples import Status
from trainers.evaluate.evaluation import predict
from trainers.evaluate.quality import ssim
from trainers.jobs.rounds.setup import Rounds
from trainers.run.cli.command import command_line
from trainers.run.cli.reviewing import ReviewingFlags
from trainers.run.errors import Waiting
from trainers.run.folder.atomic import cached_json, is_cached
from trainers.run.show.progress import Progress

LOOP, PROGRAM = "rounds", "automatic"  # who decides where no person does
KNOWN = 0.9  # share of originals below which a reference is called poor
DECISIONS: dict[int, Status] = {1: "accepted", -1: "rejected"}
Row = dict[str, Any]
log = logging.getLogger(__name__)


def review_round(rounds: Rounds, number: int) -> SampleBank:
    """Review a round's samples, and fix which reviews its fit heeds: those until then.

    Returns:
        The bank of the round, with these reviews.

    Raises:
        Waiting: with --review required, while samples are undecided.
    """
    if is_reviewed(rounds, number):
        return rounds.bank(number)
    rounds.heeded(number).unlink(missing_ok=True)
    bank = rounds.bank(number)
    if rounds.reference is not None:
        review_automatically(rounds, bank, number, rounds.reference)
    if rounds.config.reviewing.review != "required":
        pending = bank.indices(status="pending", round=number)
        bank.set_status(pending, "accepted", reviewer=LOOP, automatic=True)
    # Persons may have decided meanwhile: what counts is what is in the file by now.
    bank = rounds.bank(number)
    if pending := bank.indices(status="pending", round=number):
        path = rounds.context.folder.path
        raise Waiting(
            f"{len(pending)} sample{'s' * (len(pending) > 1)} of round {number} "
            f"wait{'s' * (len(pending) == 1)} for a decision; run "
            f"`{command_line(['review', '--run-dir', path])}`, then start the same command again"
        )
    cached_json(rounds.heeded(number), lambda: len(bank.reviews))
    return bank


def is_reviewed(rounds: Rounds, number: int) -> bool:
    """Tell whether it is fixed which reviews a round's fit heeds, and they are all there."""
    file = rounds.heeded(number)
    if not is_cached(file):
        return False
    there = len(read_reviews(rounds.context.folder.path / "bank"))
    return bool(cached_json(file, lambda: None) <= there)


def review_automatically(
    rounds: Rounds, bank: SampleBank, number: int, reference: nn.Module
) -> None:
    """Decide on the samples of a round that are clear; those that are not stay pending."""
    context, flags = rounds.context, rounds.config.reviewing
    entries = bank.entries()
    rows = {name: row for row, name in enumerate(rounds.train.ids)}
    pending = torch.tensor(bank.indices(status="pending", round=number)).long()
    parts = torch.split(pending, context.batch_size) if len(pending) else ()
    found: list[Tensor] = []
    known = 0  # originals that the reference calls by their label
    with Progress(context.folder, f"round {number}: review", total=len(parts)) as bar:
        for part in parts:
            x, y = rounds.train.stack([rows[entries[i].source] for i in part.tolist()])
            x_adv, _ = bank.stack(part)
            before, after = (
                predict(reference, each.to(context.device)).softmax(1).cpu() for each in (x, x_adv)
            )
            known += int((before.argmax(1) == y).sum())
            found.append(judge(before, after, y, ssim(x, x_adv), flags))
            bar.step()
    if known < KNOWN * len(pending):
        log.warning(
            "round %d: --reference-model calls only %d of %d originals by their label, and decides "
            "on samples of these alone; a better classifier decides on more",
            number, known, len(pending),
        )  # fmt: skip
    verdicts = torch.cat(found) if found else pending
    for value, status in DECISIONS.items():
        chosen = pending[verdicts == value].tolist()
        bank.set_status(chosen, status, reviewer=PROGRAM, automatic=True)


def judge(before: Tensor, after: Tensor, y: Tensor, alike: Tensor, flags: ReviewingFlags) -> Tensor:
    """Return what a program decides of samples, (B,): keys of DECISIONS, 0 where it is not clear.

    Where the reference is wrong about the original it has no say: the sample is rejected then only
    if it is not like its original at all.

    Args:
        before: the reference's probabilities of the originals (B, K).
        after: those of the perturbed samples (B, K).
        y: labels (B,).
        alike: structural similarities (B,).
        flags: the bounds.
    """
    knows, same = before.argmax(1) == y, after.argmax(1) == y
    clear, lost = alike >= flags.clear_ssim, alike < flags.lost_ssim
    other = ~same & ~clear & (after.amax(1) >= flags.sure)
    return (knows & same & clear).long() - (lost | (knows & other)).long()


def count_decisions(bank: SampleBank, number: int) -> Row:
    """Count who decided what on a round's samples, and how often persons and program agree.

    Returns:
        In "people" and "automatic" the number of samples by status, in "both" how many have a
        decision of each kind, in "agree" of how many of these it is the same.
    """
    samples = [entry.hash for entry in bank.entries() if entry.round == number]
    people = statuses(review for review in bank.reviews if not review.automatic)
    program = statuses(review for review in bank.reviews if review.reviewer == PROGRAM)
    both = [key for key in samples if key in people and key in program]
    return {
        "people": Counter(people[key] for key in samples if key in people),
        "automatic": Counter(program[key] for key in samples if key in program),
        "both": len(both),
        "agree": sum(people[key] == program[key] for key in both),
    }
