"""The same network with random orthonormal weights: is it the training, or the architecture?"""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.init import orthogonal_
from torch.nn.modules.batchnorm import _NormBase

from attacks.common.randomness import generator_for

GAIN = math.sqrt(2)  # makes up for what a ReLU takes away


def with_orthonormal_weights(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """Return a copy of a model with random orthonormal weights.

    Each matrix, and each kernel as a matrix (outputs, inputs x places), of a grouped convolution
    one for each group, has orthonormal rows, or columns where there are fewer of them, times the
    square root of 2. Biases become 0 and gains 1, and norms forget their statistics.

    Args:
        model: the classifier; left as it was.
        seed: of the weights.

    Source: Saxe, McClelland & Ganguli 2014, section 3; Sabour et al. 2016.
    """
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        for prefix, module in fresh.named_modules():
            groups = getattr(module, "groups", 1)
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim > 1:
                    key = f"{prefix}.{name}"
                    parameter.copy_(_orthonormal(parameter, groups, key=key, seed=seed))
                elif "bias" in name:
                    parameter.zero_()
                elif isinstance(module, (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)):
                    parameter.fill_(1)
            if isinstance(module, _NormBase):
                module.reset_running_stats()
    return fresh


def _orthonormal(like: Tensor, groups: int, *, key: str, seed: int) -> Tensor:
    """Return random orthonormal weights (outputs, ...), drawn on the CPU in float32."""
    drawn = torch.empty(like.shape)
    for number, part in enumerate(drawn.chunk(groups)):
        orthogonal_(part, GAIN, generator=generator_for(seed, key, number))
    return drawn
