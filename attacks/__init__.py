"""Perturbed samples: the threat model, the losses and every attack.

Every attack is a frozen dataclass of options, called as `attack(model, x, y)`. Those in FITTED
have to be fitted first: `options.fit(model, loader)` returns the attack.
"""

from pathlib import Path

from attacks.attack import Attack, AttackResult
from attacks.autoattack.autoattack import AutoAttack
from attacks.black_box.square import Square
from attacks.common.threat import Threat
from attacks.errors import RefusedInput
from attacks.feature.feature import FeatureAdversary
from attacks.feature.feature_fgsm import FeatureFGSM
from attacks.feature.feature_linear import FeatureLinear
from attacks.feature.label_fgsm import LabelFGSM
from attacks.feature.label_lbfgs import LabelLBFGS
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
from attacks.gradient.apgd_t import APGDT
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
from attacks.registry import ATTACKS
from attacks.sparse.wavelet_sparse import WaveletSparse
from attacks.substitute.substitute import BlackBoxSubstitute
from attacks.substitute.substitute_attack import Substitute
from attacks.transformer.atn import ATN
from attacks.transformer.fitted_atn import FittedATN
from attacks.universal.fitting import Fittable
from attacks.universal.perturbation import Perturbation
from attacks.universal.saved_attack import SavedAttack, kind_of
from attacks.universal.transfer import fooled_counts, transfer_matrix
from attacks.universal.universal import UniversalPerturbation
from attacks.video.flicker import Flicker
from attacks.video.flicker_universal import FlickerUniversal
from attacks.video.frame_weights import frame_weights
from attacks.video.keyframe import Keyframe
from attacks.video.keyframe_square import KeyframeSquare
from attacks.video.shifts import ShiftFooling, fooling_over_shifts
from attacks.video.sparse_universal import SparseUniversalPerturbation
from attacks.video.sparsity import sparsity

__all__ = [
    "APGD",
    "APGDT",
    "ATN",
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
    "Architecture",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "BlackBoxSubstitute",
    "DeepFool",
    "FeatureAdversary",
    "FeatureFGSM",
    "FeatureLinear",
    "FittedATN",
    "Flicker",
    "FlickerUniversal",
    "FoolingImage",
    "Keyframe",
    "KeyframeSquare",
    "LabelFGSM",
    "LabelLBFGS",
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

FITTED: dict[str, type[Fittable]] = {
    "universal": UniversalPerturbation,
    "sup": SparseUniversalPerturbation,
    "atn": ATN,
    "substitute": BlackBoxSubstitute,
    "flicker-universal": FlickerUniversal,
}
SAVED: dict[str, type[SavedAttack]] = {
    attack.kind: attack for attack in (Perturbation, FittedATN, Substitute)
}


def load_fitted(path: str | Path) -> SavedAttack:
    """Read a fitted attack of any kind, as its `save` wrote it.

    Raises:
        RefusedInput: when the file is missing, damaged, or holds something else.
    """
    kind = kind_of(path)
    if kind not in SAVED:
        raise RefusedInput(f"{path} holds a fitted {kind!r}; known are {', '.join(SAVED)}")
    return SAVED[kind].load(path)
