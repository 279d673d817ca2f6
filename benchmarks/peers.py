"""The other libraries' attacks, each as a function (subject, options) -> x_adv.

All are asked for the same budget: norm, eps, steps and step size. A library that is not installed
is left out. The options of a row are those of `benchmarks.rows`.
"""

import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.subject import Subject

Options = Mapping[str, Any]
Peer = Callable[[Subject, Options], Tensor]
PACKAGES = {"torchattacks": "torchattacks", "foolbox": "foolbox", "ART": "art"}


def installed(library: str) -> bool:
    """Return whether a library can be imported."""
    return find_spec(PACKAGES[library]) is not None


def torchattacks_pgd(subject: Subject, options: Options) -> Tensor:
    """PGD, without a way to let fooled samples go."""
    import torchattacks

    attack = torchattacks.PGD(
        subject.model, eps=options["eps"], alpha=options["step_size"], steps=options["steps"]
    )
    return attack(subject.x, subject.y)


def torchattacks_autoattack(subject: Subject, options: Options) -> Tensor:
    """Its members with the standard's 100 steps; its own AutoAttack leaves them at 10."""
    import torchattacks as ta

    model, eps = subject.model, options["eps"]
    classes = subject.classes
    members = [
        ta.APGD(model, eps=eps, steps=100, loss="ce"),
        ta.APGDT(model, eps=eps, steps=100, n_classes=classes),
        ta.FAB(model, eps=eps, steps=100, multi_targeted=True, n_classes=classes),
        ta.Square(model, eps=eps, n_queries=5000),
    ]
    return ta.MultiAttack(members)(subject.x, subject.y)


def torchattacks_deepfool(subject: Subject, options: Options) -> Tensor:
    """DeepFool over all classes, sample by sample."""
    import torchattacks

    attack = torchattacks.DeepFool(
        subject.model, steps=options["steps"], overshoot=options["overshoot"]
    )
    return attack(subject.x, subject.y)


def torchattacks_cw(subject: Subject, options: Options) -> Tensor:
    """C&W at a constant c, for it has no search: with as many steps as the others' in all.

    It masks the label's logit with 0, and pixels at 0 or 1 become infinite in its tanh space.
    """
    import torchattacks

    steps = options["steps"] * options["search_steps"]
    attack = torchattacks.CW(subject.model, c=1, steps=steps, lr=options["lr"])
    return attack(subject.x, subject.y)


def foolbox_pgd(subject: Subject, options: Options) -> Tensor:
    """PGD, without a way to let fooled samples go."""
    import foolbox

    attack = foolbox.attacks.LinfPGD(steps=options["steps"], abs_stepsize=options["step_size"])
    return _foolbox(attack, subject, epsilons=options["eps"])


def foolbox_deepfool(subject: Subject, options: Options) -> Tensor:
    """DeepFool with a forward pass for each candidate class."""
    import foolbox

    attack = foolbox.attacks.L2DeepFoolAttack(
        steps=options["steps"], overshoot=options["overshoot"], candidates=options["classes"]
    )
    return _foolbox(attack, subject)


def foolbox_cw(subject: Subject, options: Options) -> Tensor:
    """C&W with the search over c."""
    import foolbox

    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=options["search_steps"],
        steps=options["steps"],
        stepsize=options["lr"],
        initial_const=options["c"],
    )
    return _foolbox(attack, subject)


def _foolbox(attack: Any, subject: Subject, *, epsilons: float | None = None) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(subject.model, bounds=(0, 1), device=subject.x.device)
    _, x_adv, _ = attack(model, subject.x, subject.y, epsilons=epsilons)
    return x_adv.detach()


def art_pgd(subject: Subject, options: Options) -> Tensor:
    """PGD, one batch."""
    from art.attacks.evasion import ProjectedGradientDescent

    return _art(
        ProjectedGradientDescent, subject, eps=options["eps"], eps_step=options["step_size"],
        max_iter=options["steps"], num_random_init=1,
    )  # fmt: skip


def art_deepfool(subject: Subject, options: Options) -> Tensor:
    """DeepFool over the candidate classes, one batch."""
    from art.attacks.evasion import DeepFool

    return _art(
        DeepFool, subject, max_iter=options["steps"], epsilon=options["overshoot"],
        nb_grads=options["classes"],
    )  # fmt: skip


def art_cw(subject: Subject, options: Options) -> Tensor:
    """C&W with the search over c and a line search in every step."""
    from art.attacks.evasion import CarliniL2Method

    return _art(
        CarliniL2Method, subject, binary_search_steps=options["search_steps"],
        max_iter=options["steps"], learning_rate=options["lr"], initial_const=options["c"],
    )  # fmt: skip


def _art(attack: Any, subject: Subject, **options: Any) -> Tensor:
    from art.estimators.classification import PyTorchClassifier

    logging.getLogger("art").setLevel(logging.ERROR)
    estimator = PyTorchClassifier(
        subject.model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(subject.x.shape[1:]),
        nb_classes=subject.classes,
        clip_values=(0.0, 1.0),
        device_type="gpu" if subject.x.is_cuda else "cpu",
    )
    run = attack(estimator, batch_size=len(subject.x), verbose=False, **options)
    x_adv = run.generate(subject.x.cpu().numpy(), y=subject.y.cpu().numpy())
    return torch.from_numpy(x_adv).to(subject.x)


PEERS: dict[str, dict[str, Peer]] = {
    "pgd": {"torchattacks": torchattacks_pgd, "foolbox": foolbox_pgd, "ART": art_pgd},
    "autoattack": {"torchattacks": torchattacks_autoattack},
    "deepfool": {
        "torchattacks": torchattacks_deepfool,
        "foolbox": foolbox_deepfool,
        "ART": art_deepfool,
    },
    "cw": {"torchattacks": torchattacks_cw, "foolbox": foolbox_cw, "ART": art_cw},
}
