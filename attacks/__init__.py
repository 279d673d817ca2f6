"""Perturbed samples: the threat model, the losses and every attack.

Every attack is a frozen dataclass of options, called as `attack(model, x, y)`. Those in FITTED
have to be fitted first: `options.fit(model, loader)` returns the attack.
"""

from attacks.attack import Attack, AttackResult
from attacks.autoattack.autoattack import AutoAttack
from attacks.black_box.square import Square
from attacks.common.threat import Threat
from attacks.errors import RefusedInput
from attacks.fitted import FITTED, load_fitted
from attacks.fooling.fooling import FoolingImage
from attacks.generator.generator import LearnedGenerator
from attacks.generator.generator_network import (
    Architecture,
    as_module,
    load_generators,
    perturb,
    save_generators,
)
from attacks.gradient.apgd import APGD
from attacks.gradient.bim import BIM
from attacks.gradient.fgsm import FGSM
from attacks.gradient.least_likely import LeastLikely
from attacks.gradient.mifgsm import MIFGSM
from attacks.gradient.most_likely import MostLikely
from attacks.gradient.pgd import PGD
from attacks.minimum_norm.cw import CW
from attacks.minimum_norm.deepfool import DeepFool
from attacks.minimum_norm.fab import FAB
from attacks.minimum_norm.fmn import FMN
from attacks.minimum_norm.lbfgs import LBFGS
from attacks.sparse.wavelet_sparse import WaveletSparse
from attacks.substitute.substitute import BlackBoxSubstitute
from attacks.substitute.substitute_attack import Substitute
from attacks.transformer.atn import AdversarialTransformer
from attacks.transformer.atn_attack import Transformer
from attacks.universal.perturbation import Perturbation
from attacks.universal.transfer import fooled_counts, transfer_matrix
from attacks.universal.universal import UniversalPerturbation
from attacks.video.flicker import Flicker
from attacks.video.flicker_universal import FlickerUniversal
from attacks.video.frame_weights import frame_weights
from attacks.video.keyframe import Keyframe
from attacks.video.keyframe_square import KeyframeSquare
from attacks.video.shifts import ShiftFooling, fooling_over_shifts
from attacks.video.sparsity import sparsity
from attacks.video.sup import SparseUniversalPerturbation

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
