"""Perturbed samples: the threat model, the losses and every attack.

Every attack is a frozen dataclass of options, called as `attack(model, x, y)`.
"""

from attacks.apgd import APGD
from attacks.attack import Attack
from attacks.autoattack import AutoAttack
from attacks.bim import BIM
from attacks.deepfool import DeepFool
from attacks.errors import RefusedInput
from attacks.fab import FAB
from attacks.fgsm import FGSM
from attacks.fmn import FMN
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
from attacks.square import Square
from attacks.threat import Threat

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "bim": BIM,
    "pgd": PGD,
    "mifgsm": MIFGSM,
    "least-likely": LeastLikely,
    "most-likely": MostLikely,
    "deepfool": DeepFool,
    "fmn": FMN,
    "apgd": APGD,
    "fab": FAB,
    "square": Square,
    "autoattack": AutoAttack,
    "generator": LearnedGenerator,
}

__all__ = [
    "APGD",
    "ATTACKS",
    "BIM",
    "FAB",
    "FGSM",
    "FMN",
    "MIFGSM",
    "PGD",
    "Architecture",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "DeepFool",
    "LearnedGenerator",
    "LeastLikely",
    "MostLikely",
    "RefusedInput",
    "Square",
    "Threat",
    "as_module",
    "load_generators",
    "perturb",
    "save_generators",
]
