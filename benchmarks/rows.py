"""What benchmarks/attacks.py compares: budgets, and who can work within them."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attacks import ATTACKS
from benchmarks.peers import PEERS, installed
from benchmarks.subject import EPS, Subject

Job = Callable[[], Tensor]  # attacks once and returns x_adv
LIMIT, OURS = "limit", "ours"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        attack: the name in ATTACKS and in PEERS.
        budget: what every candidate is asked for.
        own: options by which ours alone is asked for the same.
        passes: the limit's, of all samples forward and back; None for as many as ours makes.
        samples: how many of the samples; None for all.
        rounds: how often at most; None for as often as the user says, after a warm-up.
    """

    attack: str
    budget: Mapping[str, Any]
    own: Mapping[str, Any] = field(default_factory=dict)
    passes: int | None = None
    samples: int | None = None
    rounds: int | None = None


ROWS = {
    "pgd-10": Row("pgd", {"eps": EPS, "steps": 10, "step_size": EPS / 4}, passes=10),
    "pgd-50": Row(
        "pgd", {"eps": EPS, "steps": 50, "step_size": EPS / 10}, {"early_stop": True}, passes=50
    ),
    "pgd-50, 16/255": Row(
        "pgd",
        {"eps": 2 * EPS, "steps": 50, "step_size": EPS / 5},
        {"early_stop": True},
        passes=50,
    ),
    "deepfool": Row("deepfool", {"steps": 50, "overshoot": 0.02, "classes": 10}),
    "cw": Row("cw", {"steps": 50, "search_steps": 9, "lr": 0.01, "c": 1.0}, passes=450),
    # Minutes for each candidate, of which one more would not change the ratio.
    "autoattack": Row("autoattack", {"eps": EPS}, samples=16, rounds=1),
}


def missing(row: Row) -> dict[str, str]:
    """Return who cannot take part in a row, each with the reason."""
    out = {lib: "not installed" for lib in PEERS[row.attack] if not installed(lib)}
    if row.attack not in ATTACKS:
        out[OURS] = f"there is no attack {row.attack!r} yet"
    return out


def jobs(row: Row, subject: Subject) -> dict[str, Job]:
    """Return the candidates of a row by name, ours first and the limit last."""
    spent: list[int] = []

    def ours() -> Tensor:
        attack = ATTACKS[row.attack](**row.budget, **row.own)
        result = attack(subject.model, subject.x, subject.y)
        spent[:] = [round(result.queries.double().mean().item())]
        return result.x_adv

    peers = {
        library: partial(peer, subject, row.budget)
        for library, peer in PEERS[row.attack].items()
        if installed(library)
    }
    return {OURS: ours, **peers, LIMIT: lambda: bare(subject, row.passes or spent[0])}


def precisions(subject: Subject) -> dict[str, Job]:
    """Return PGD-10 in float32, in bfloat16, compiled, and with the channels innermost."""
    budget, last = ROWS["pgd-10"].budget, in_channels_last(subject)

    def pgd(on: Subject, **options: bool) -> Tensor:
        return ATTACKS["pgd"](**budget, **options)(on.model, on.x, on.y).x_adv

    return {
        OURS: partial(pgd, subject),
        "bf16": partial(pgd, subject, bf16=True),
        "bf16, compiled": partial(pgd, subject, bf16=True, compile=True),
        "the same, channels last": partial(pgd, last, bf16=True, compile=True),
        LIMIT: lambda: bare(subject, 10),
    }


def in_channels_last(subject: Subject) -> Subject:
    """Return the same classifier and samples with the channels innermost in memory."""
    order = torch.channels_last
    model = deepcopy(subject.model).to(memory_format=order)
    x = subject.x.contiguous(memory_format=order)
    return Subject(model, x, subject.y, subject.clean_accuracy)


def bare(subject: Subject, passes: int) -> Tensor:
    """Run the classifier forward and back to its input, and do nothing with the gradient."""
    for _ in range(passes):
        leaf = subject.x.detach().requires_grad_()
        torch.autograd.grad(subject.model(leaf).logsumexp(1).sum(), leaf)
    return subject.x
