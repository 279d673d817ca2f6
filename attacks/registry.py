"""The attacks by the names that the command line has for them."""

from attacks.attack import Attack
from attacks.autoattack.autoattack import AutoAttack
from attacks.black_box.square import Square
from attacks.feature.feature import FeatureAdversary
from attacks.feature.feature_fgsm import FeatureFGSM
from attacks.feature.feature_linear import FeatureLinear
from attacks.feature.label_fgsm import LabelFGSM
from attacks.feature.label_lbfgs import LabelLBFGS
from attacks.fooling.fooling import FoolingImage
from attacks.generator.generator import LearnedGenerator
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
from attacks.sparse.wavelet_sparse import WaveletSparse
from attacks.video.flicker import Flicker
from attacks.video.keyframe import Keyframe
from attacks.video.keyframe_square import KeyframeSquare

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
    "apgd-t": APGDT,
    "fab": FAB,
    "square": Square,
    "autoattack": AutoAttack,
    "generator": LearnedGenerator,
    "wavelet-sparse": WaveletSparse,
    "fooling": FoolingImage,
    "feature": FeatureAdversary,
    "feature-fgsm": FeatureFGSM,
    "feature-linear": FeatureLinear,
    "label-fgsm": LabelFGSM,
    "label-lbfgs": LabelLBFGS,
    "flicker": Flicker,
    "keyframe": Keyframe,
    "keyframe-square": KeyframeSquare,
}
