"""Who is compared: our attacks, those of torchattacks, foolbox and ART, and the limit.

All of a row are asked for the same budget. Each is a function (subject, budget) that attacks once
and returns x_adv and, where the library says so itself, which samples were fooled, bool (B,).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from attacks import ATTACKS
from benchmarks.subject import EPS, Subject

Budget = Mapping[str, Any]
Answer = tuple[Tensor, Tensor | None]
Job = Callable[[], Answer]
OURS, LIMIT = "ours", "limit"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        attack: the name in ATTACKS and in PEERS.
        budget: what every candidate is asked for.
        own: options that ours alone has, or other values of those in the budget.
        passes: the limit's, of all samples forward and back; None for as many as ours makes.
        samples: how many of the samples at most.
        rounds: how many there are, without a warm-up; None leaves both to the caller.
    """

    attack: str
    budget: Budget
    own: Budget = field(default_factory=dict)
    passes: int | None = None
    samples: int | None = None
    rounds: int | None = None


# Ours takes fewer steps: what is compared is the time to a norm as small as the best peer's.
CW_OWN = {"lr": 0.3, "c": None}
ROWS = {
    "pgd-10": Row("pgd", {"eps": EPS, "steps": 10, "step_size": EPS / 4}, passes=10),
    "pgd-50": Row(
        "pgd", {"eps": EPS, "steps": 50, "step_size": EPS / 10}, {"early_stop": True}, passes=50
    ),
    "pgd-50, 2 eps": Row(
        "pgd", {"eps": 2 * EPS, "steps": 50, "step_size": EPS / 5}, {"early_stop": True}, passes=50
    ),
    # From here on a candidate takes seconds to minutes.
    "deepfool": Row(
        "deepfool", {"steps": 50, "overshoot": 0.02, "classes": 10}, samples=32, rounds=2
    ),
    "cw, 50 steps": Row(
        "cw",
        {"steps": 50, "search_steps": 1, "lr": 0.01, "c": 1.0},
        {"steps": 26, "search_steps": 1} | CW_OWN,
        samples=64,
        rounds=2,
    ),
    "cw, 9 x 50 steps": Row(
        "cw",
        {"steps": 50, "search_steps": 9, "lr": 0.01, "c": 1.0},
        {"steps": 50, "search_steps": 4} | CW_OWN,
        samples=32,
        rounds=1,
    ),
    "autoattack": Row("autoattack", {"eps": EPS}, samples=64, rounds=1),
    "autoattack, 2 eps": Row("autoattack", {"eps": 2 * EPS}, samples=64, rounds=1),
}


def missing(row: Row) -> dict[str, str]:
    """Return who cannot take part in a row, each with the reason."""
    return {lib: "not installed" for lib in PEERS[row.attack] if not find_spec(PACKAGES[lib])}


def jobs(row: Row, subject: Subject) -> dict[str, Job]:
    """Return the candidates of a row by name, ours first and the limit last."""
    spent: list[int] = []

    def ours() -> Answer:
        result = ATTACKS[row.attack](**row.budget | row.own)(subject.model, subject.x, subject.y)
        spent[:] = [round(result.queries.double().mean().item())]
        return result.x_adv, result.success

    left_out = missing(row)
    peers = {
        library: partial(peer, subject, row.budget)
        for library, peer in PEERS[row.attack].items()
        if library not in left_out
    }
    return {OURS: ours, **peers, LIMIT: lambda: bare(subject, row.passes or spent[0])}


def precisions(subject: Subject) -> dict[str, Job]:
    """Return PGD-10 in float32, in bfloat16, compiled, and with the channels innermost."""
    budget, last = ROWS["pgd-10"].budget, subject.channels_last()

    def pgd(on: Subject, **options: bool) -> Answer:
        result = ATTACKS["pgd"](**budget, **options)(on.model, on.x, on.y)
        return result.x_adv, result.success

    return {
        OURS: partial(pgd, subject),
        "bf16": partial(pgd, subject, bf16=True),
        "bf16, compiled": partial(pgd, subject, bf16=True, compile=True),
        "the same, channels last": partial(pgd, last, bf16=True, compile=True),
        LIMIT: lambda: bare(subject, 10),
    }


def bare(subject: Subject, passes: int) -> Answer:
    """Run the classifier forward and back to its input, and do nothing with the gradient."""
    for _ in range(passes):
        leaf = subject.x.detach().requires_grad_()
        torch.autograd.grad(subject.model(leaf).logsumexp(1).sum(), leaf)
    return subject.x, torch.zeros_like(subject.y, dtype=torch.bool)


def torchattacks(names: str, subject: Subject, budget: Budget) -> Answer:
    """Run one of its attacks, or several, each on what those before it have not fooled."""
    import torchattacks as library

    model, eps, steps = subject.model, budget.get("eps"), budget.get("steps")
    made: dict[str, Callable[[], Any]] = {
        "PGD": lambda: library.PGD(model, eps=eps, alpha=budget["step_size"], steps=steps),
        "DeepFool": lambda: library.DeepFool(model, steps=steps, overshoot=budget["overshoot"]),
        # It has no search over c: as many steps as the others' in all.
        "CW": lambda: library.CW(
            model, c=budget["c"], steps=steps * budget["search_steps"], lr=budget["lr"]
        ),
        # The members of the standard with its parameters; its own AutoAttack takes 10 steps.
        "APGD": lambda: library.APGD(model, eps=eps, steps=100, loss="ce"),
        "APGDT": lambda: library.APGDT(model, eps=eps, steps=100, n_classes=subject.classes),
        "FAB": lambda: library.FAB(
            model, eps=eps, steps=100, multi_targeted=True, n_classes=subject.classes
        ),
        "Square": lambda: library.Square(model, eps=eps, n_queries=5000),
    }
    members = [made[name]() for name in names.split()]
    attack = members[0] if len(members) == 1 else library.MultiAttack(members)
    return attack(subject.x, subject.y).detach(), None


def foolbox(name: str, subject: Subject, budget: Budget) -> Answer:
    """Run one of its attacks, which end with a look at who is fooled."""
    import foolbox as library

    steps, attacks = budget["steps"], library.attacks
    made: dict[str, Callable[[], Any]] = {
        "PGD": lambda: attacks.LinfPGD(steps=steps, abs_stepsize=budget["step_size"]),
        "DeepFool": lambda: attacks.L2DeepFoolAttack(
            steps=steps, overshoot=budget["overshoot"], candidates=budget["classes"]
        ),
        "CW": lambda: attacks.L2CarliniWagnerAttack(
            binary_search_steps=budget["search_steps"],
            steps=steps,
            stepsize=budget["lr"],
            initial_const=budget["c"],
        ),
    }
    model = library.PyTorchModel(subject.model, bounds=(0, 1), device=subject.x.device)
    found = made[name]()(model, subject.x, subject.y, epsilons=budget.get("eps"))
    return found[1].detach(), found[2]


def art(name: str, subject: Subject, budget: Budget) -> Answer:
    """Run one of its attacks on the batch as a whole."""
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    logging.getLogger("art").setLevel(logging.ERROR)
    options = {new: budget[old] for old, new in ART_NAMES[name].items()}
    shape, device = tuple(subject.x.shape[1:]), "gpu" if subject.x.is_cuda else "cpu"
    estimator = PyTorchClassifier(
        subject.model, nn.CrossEntropyLoss(), shape, subject.classes,
        clip_values=(0.0, 1.0), device_type=device,
    )  # fmt: skip
    attack = getattr(evasion, name)(estimator, batch_size=len(subject.x), verbose=False, **options)
    x_adv = attack.generate(subject.x.cpu().numpy(), y=subject.y.cpu().numpy())
    return torch.from_numpy(x_adv).to(subject.x), None


ART_NAMES = {
    "ProjectedGradientDescent": {"eps": "eps", "step_size": "eps_step", "steps": "max_iter"},
    "DeepFool": {"steps": "max_iter", "overshoot": "epsilon", "classes": "nb_grads"},
    "CarliniL2Method": {
        "search_steps": "binary_search_steps",
        "steps": "max_iter",
        "lr": "learning_rate",
        "c": "initial_const",
    },
}
PACKAGES = {"torchattacks": "torchattacks", "foolbox": "foolbox", "ART": "art"}
PEERS: dict[str, dict[str, Callable[[Subject, Budget], Answer]]] = {
    "pgd": {
        "torchattacks": partial(torchattacks, "PGD"),
        "foolbox": partial(foolbox, "PGD"),
        "ART": partial(art, "ProjectedGradientDescent"),
    },
    "deepfool": {
        "torchattacks": partial(torchattacks, "DeepFool"),
        "foolbox": partial(foolbox, "DeepFool"),
        "ART": partial(art, "DeepFool"),
    },
    "cw": {
        "torchattacks": partial(torchattacks, "CW"),
        "foolbox": partial(foolbox, "CW"),
        "ART": partial(art, "CarliniL2Method"),
    },
    "autoattack": {"torchattacks": partial(torchattacks, "APGD APGDT FAB Square")},
}
