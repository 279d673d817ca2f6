"""Perturbed samples: the threat model, the losses and every attack.

Every attack is a frozen dataclass of options, called as `attack(model, x, y)`.
"""

from attacks.attack import Attack
from attacks.bim import BIM
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
from attacks.least_likely import LeastLikely
from attacks.mifgsm import MIFGSM
from attacks.most_likely import MostLikely
from attacks.pgd import PGD
from attacks.result import AttackResult
from attacks.threat import Threat

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "bim": BIM,
    "deepfool": DeepFool,
    "pgd": PGD,
    "mifgsm": MIFGSM,
    "least-likely": LeastLikely,
    "most-likely": MostLikely,
    "generator": LearnedGenerator,
}

__all__ = [
    "ATTACKS",
    "BIM",
    "FGSM",
    "MIFGSM",
    "PGD",
    "Architecture",
    "Attack",
    "AttackResult",
    "DeepFool",
    "LearnedGenerator",
    "LeastLikely",
    "MostLikely",
    "RefusedInput",
    "Threat",
    "as_module",
    "load_generators",
    "perturb",
    "save_generators",
]
