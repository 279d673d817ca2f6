"""Perturbed samples: the threat model, the losses and every attack.

Every attack is a frozen dataclass of options, called as `attack(model, x, y)`.
"""

from attacks.attack import Attack
from attacks.deepfool import DeepFool
from attacks.errors import RefusedInput
from attacks.fgsm import FGSM
from attacks.generator import LearnedGenerator
from attacks.generator_network import (
    Architecture,
    as_module,
    load_generators,
    perturb,
    save_generators,
)
from attacks.pgd import PGD
from attacks.result import AttackResult
from attacks.threat import Threat

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "deepfool": DeepFool,
    "pgd": PGD,
    "generator": LearnedGenerator,
}

__all__ = [
    "ATTACKS",
    "FGSM",
    "PGD",
    "Architecture",
    "Attack",
    "AttackResult",
    "DeepFool",
    "LearnedGenerator",
    "RefusedInput",
    "Threat",
    "as_module",
    "load_generators",
    "perturb",
    "save_generators",
]
