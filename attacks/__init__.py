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
from attacks.frame_weights import frame_weights
from attacks.generator import LearnedGenerator
from attacks.generator_network import (
    Architecture,
    as_module,
    load_generators,
    perturb,
    save_generators,
)
from attacks.keyframe import Keyframe
from attacks.keyframe_square import KeyframeSquare
from attacks.lbfgs import LBFGS
from attacks.least_likely import LeastLikely
from attacks.mifgsm import MIFGSM
from attacks.most_likely import MostLikely
from attacks.perturbation import Perturbation
from attacks.pgd import PGD
from attacks.result import AttackResult
from attacks.shifts import ShiftFooling, fooling_over_shifts
from attacks.sparsity import sparsity
from attacks.square import Square
from attacks.substitute import BlackBoxSubstitute
from attacks.substitute_attack import Substitute
from attacks.sup import SparseUniversalPerturbation
from attacks.threat import Threat
from attacks.transfer import fooled_counts, transfer_matrix
from attacks.universal import UniversalPerturbation
from attacks.wavelet_sparse import WaveletSparse

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
    "wavelet-sparse": WaveletSparse,
    "fooling": FoolingImage,
    "flicker": Flicker,
    "keyframe": Keyframe,
    "keyframe-square": KeyframeSquare,
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
    "Keyframe",
    "KeyframeSquare",
    "LearnedGenerator",
    "LeastLikely",
    "MostLikely",
    "Perturbation",
    "RefusedInput",
    "ShiftFooling",
    "SparseUniversalPerturbation",
    "Square",
    "Substitute",
    "Threat",
    "Transformer",
    "UniversalPerturbation",
    "WaveletSparse",
    "as_module",
    "fooled_counts",
    "fooling_over_shifts",
    "frame_weights",
    "load_fitted",
    "load_generators",
    "perturb",
    "save_generators",
    "sparsity",
    "transfer_matrix",
]
