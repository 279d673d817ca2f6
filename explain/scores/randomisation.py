"""The sanity check: a map that stays when the weights are drawn anew says nothing of the model."""

import copy
import math
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from attacks.common.frozen import frozen
from attacks.common.goal import detached_logits
from attacks.common.randomness import generator_for
from explain.method import ExplanationMethod
from explain.scores.agreement import rank_correlation


def randomisation_check(
    method: ExplanationMethod,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    seed: int = 0,
    sample_ids: Sequence[int] | Tensor | None = None,
) -> Tensor:
    """Return the rank correlation of a method's maps with those for random weights, (B,).

    Both sets of maps are of the same classes. NaN where one is constant.

    Args:
        method: the method.
        model: the classifier; left exactly as it was.
        x: images (B, C, H, W) or videos (B, C, T, H, W) in [0, 1].
        y: classes, int64 (B,).
        seed: of the random weights, and of the method.
        sample_ids: B integers; None hashes each sample's content.

    Source: Adebayo et al. 2018, section 3.1, with all layers drawn at once.
    """
    maps = method(model, x, y, seed=seed, sample_ids=sample_ids)
    other = reinitialised(model, x, seed=seed)
    return rank_correlation(maps, method(other, x, y, seed=seed, sample_ids=sample_ids))


def survives(correlation: Tensor, *, threshold: float = 0.5) -> bool:
    """Tell whether a method's maps survive random weights, and so are to be flagged.

    Args:
        correlation: of true and random weights for each sample, (B,); NaN does not count.
        threshold: that the median is above.

    >>> survives(torch.tensor([0.9, 0.8, 0.1])), survives(torch.tensor([0.1, torch.nan]))
    (True, False)
    """
    return bool(correlation.nanmedian() > threshold)


def reinitialised(model: nn.Module, x: Tensor, *, seed: int) -> nn.Module:
    """Return a copy of a model whose weights are drawn anew.

    Matrices and kernels are normal with variance 2 / fan-in (He et al. 2015, eq. 10), vectors are
    as new layers have them: gains 1, biases 0. Batch norms take the statistics of x, for the old
    ones belong to the old weights.

    Args:
        model: the classifier.
        x: samples (B, C, ...) in [0, 1].
        seed: of the weights.
    """
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in fresh.named_parameters():
            if parameter.ndim > 1:
                drawn = torch.randn(parameter.shape, generator=generator_for(seed, name))
                parameter.copy_(drawn * math.sqrt(2 / parameter[0].numel()))
            elif parameter.ndim == 1:
                parameter.fill_(0 if name.endswith("bias") else 1)
    statistics = _batch_norm_statistics(fresh, x)
    for norm, (mean, variance) in statistics.items():
        norm.get_buffer("running_mean").copy_(mean)
        norm.get_buffer("running_var").copy_(variance)
    return fresh


def _batch_norm_statistics(model: nn.Module, x: Tensor) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """Return the mean and variance (C,) of what batch norms are passed for samples x (B, ...).

    Those of a norm hold with the norms before already set to theirs.
    """
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def measure(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        rows = args[0].transpose(0, 1).flatten(1)  # (C, N)
        found[norm] = rows.mean(1), rows.var(1, correction=0)
        norm.get_buffer("running_mean").copy_(found[norm][0])
        norm.get_buffer("running_var").copy_(found[norm][1])

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, _BatchNorm) and module.track_running_stats:
                stack.callback(module.register_forward_pre_hook(measure).remove)
        stack.enter_context(frozen(model))  # which puts the buffers back afterwards
        detached_logits(model, x)
    return found
