"""SmoothGrad: the gradient's mean around a sample, in which its own noise averages out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.common.options import Count, NonNegative
from attacks.common.randomness import normal
from explain.class_scores import logit_gradient
from explain.method import ExplanationCall, ExplanationMethod


@dataclass(frozen=True)
class SmoothGrad(ExplanationMethod):
    """Saliency of the mean gradient over copies of a sample with Gaussian noise.

    Args:
        samples: copies of each sample; a pass each for the whole batch.
        noise: standard deviation as a share of the sample's range, from its lowest to its highest
            value. The copies are not clipped, which would shift their mean.

    Source: Smilkov, Thorat, Kim, Viégas & Wattenberg 2017, section 2.
    """

    samples: Count = 50
    noise: NonNegative = 0.15

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return max over channels of |mean gradient|, (B, H, W) or (B, T, H, W)."""
        low, high = call.x.flatten(1).aminmax(dim=1)  # (B,)
        sigma = (self.noise * (high - low)).view(-1, *[1] * (call.x.ndim - 1))  # (B, 1, ...)
        total = torch.zeros_like(call.x)
        for sample in range(self.samples):
            noisy = call.x + sigma * normal(call.x, call.generators)
            total += logit_gradient(call.forward, noisy, call.y)
            call.progress(sample + 1, self.samples)
        return (total / self.samples).abs().amax(1)
