"""The explanation methods by the names that the command line has for them."""

from explain.black_box.blur_mask import MeaningfulPerturbation
from explain.black_box.occlusion import Occlusion
from explain.black_box.rise import RISE
from explain.gradient.deconvolution import Deconvolution
from explain.gradient.grad_cam import GradCAM
from explain.gradient.guided_backprop import GuidedBackprop
from explain.gradient.integrated_gradients import IntegratedGradients
from explain.gradient.saliency import Saliency
from explain.gradient.smooth_grad import SmoothGrad
from explain.method import ExplanationMethod
from explain.perturbation.difference_map import DifferenceMap

METHODS: dict[str, type[ExplanationMethod]] = {
    "saliency": Saliency,
    "guided-backprop": GuidedBackprop,
    "deconvolution": Deconvolution,
    "grad-cam": GradCAM,
    "integrated-gradients": IntegratedGradients,
    "smooth-grad": SmoothGrad,
    "occlusion": Occlusion,
    "rise": RISE,
    "meaningful-perturbation": MeaningfulPerturbation,
    "difference-map": DifferenceMap,
}
