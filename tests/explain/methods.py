"""One row for each explanation method: cheap options, for the tests that all go through."""

from attacks import CW, FGSM
from explain.black_box.blur_mask import MeaningfulPerturbation
from explain.black_box.occlusion import Occlusion
from explain.black_box.rise import RISE
from explain.gradient.deconvolution import Deconvolution
from explain.gradient.grad_cam import GradCAM
from explain.gradient.guided_backprop import GuidedBackprop
from explain.gradient.integrated_gradients import IntegratedGradients
from explain.gradient.saliency import Saliency
from explain.gradient.smooth_grad import SmoothGrad
from explain.perturbation.difference_map import DifferenceMap

# A new method adds a row here and is put through everything in test_method.py.
QUICK = {
    "saliency": Saliency(),
    "guided-backprop": GuidedBackprop(),
    "deconvolution": Deconvolution(),
    "grad-cam": GradCAM(),
    "integrated-gradients": IntegratedGradients(steps=4),
    "smooth-grad": SmoothGrad(samples=3),
    "occlusion": Occlusion(window=3, stride=0.25, chunk=7),
    "rise": RISE(masks=20, grid=3, chunk=7),
    "meaningful-perturbation": MeaningfulPerturbation(steps=5, grid=4),
    "difference-map": DifferenceMap(attack=FGSM(eps=0.1), chunk=2),
}

# With these a method finds a patch of 4 x 4 of 12 x 12 pixels.
THOROUGH = QUICK | {
    "occlusion": Occlusion(window=2, stride=1, fill=0.0),
    "rise": RISE(masks=1000, grid=4, chunk=200),
    "meaningful-perturbation": MeaningfulPerturbation(steps=40, grid=12, blur=0.3),
    "difference-map": DifferenceMap(attack=CW(steps=20, search_steps=2)),
}
