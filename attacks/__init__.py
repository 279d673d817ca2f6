"""Perturbed samples: the threat model, the losses and every attack.

Every attack is a frozen dataclass of options, called as `attack(model, x, y)`. Those in FITTED
have to be fitted first: `options.fit(model, loader)` returns the attack.
"""

from attacks.apgd import APGD
from attacks.atn import AdversarialTransformer
from attacks.atn_attack import Transformer
from attacks.attack import Attack
from attacks.autoattack import AutoAttack
from attacks.bim import BIM
from attacks.cw import CW
from attacks.deepfool import DeepFool
from attacks.errors import RefusedInput
from attacks.fab import FAB
from attacks.fgsm import FGSM
from attacks.fitted import FITTED, load_fitted
from attacks.flicker import Flicker
from attacks.flicker_universal import FlickerUniversal
from attacks.fmn import FMN
from attacks.fooling import FoolingImage
from attacks.generator import LearnedGenerator
from attacks.generator_network import (
    Architecture,
    as_module,
    load_generators,
    perturb,
    save_generators,
)
from attacks.lbfgs import LBFGS
from attacks.least_likely import LeastLikely
from attacks.mifgsm import MIFGSM
from attacks.most_likely import MostLikely
from attacks.perturbation import Perturbation
from attacks.pgd import PGD
from attacks.result import AttackResult
from attacks.shifts import ShiftFooling, fooling_over_shifts
from attacks.square import Square
from attacks.substitute import BlackBoxSubstitute
from attacks.substitute_attack import Substitute
from attacks.threat import Threat
from attacks.transfer import transfer_matrix
from attacks.universal import UniversalPerturbation

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "bim": BIM,
    "pgd": PGD,
    "mifgsm": MIFGSM,
    "least-likely": LeastLikely,
    "most-likely": MostLikely,
    "lbfgs": LBFGS,
    "cw": CW,
    "deepfool": DeepFool,
    "fmn": FMN,
    "apgd": APGD,
    "fab": FAB,
    "square": Square,
    "autoattack": AutoAttack,
    "generator": LearnedGenerator,
    "fooling": FoolingImage,
    "flicker": Flicker,
}

__all__ = [
    "APGD",
    "ATTACKS",
    "BIM",
    "CW",
    "FAB",
    "FGSM",
    "FITTED",
    "FMN",
    "LBFGS",
    "MIFGSM",
    "PGD",
    "AdversarialTransformer",
    "Architecture",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "BlackBoxSubstitute",
    "DeepFool",
    "Flicker",
    "FlickerUniversal",
    "FoolingImage",
    "LearnedGenerator",
    "LeastLikely",
    "MostLikely",
    "Perturbation",
    "RefusedInput",
    "ShiftFooling",
    "Square",
    "Substitute",
    "Threat",
    "Transformer",
    "UniversalPerturbation",
    "as_module",
    "fooling_over_shifts",
    "load_fitted",
    "load_generators",
    "perturb",
    "save_generators",
    "transfer_matrix",
]
