"""An image with the representation of a sample: what a layer has kept of the sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.activations import Representation, find_layers, last_hidden
from attacks.common.batch_attack import check_samples
from attacks.common.frozen import check_module, frozen
from attacks.common.optimizers import half_cosine
from attacks.common.options import (
    BelowOne,
    Count,
    Natural,
    NonNegative,
    Options,
    Positive,
    Text,
    at_least,
)
from attacks.common.randomness import derive_seed, generator_for, ids_of, normal, unit
from attacks.common.threat import column
from explain.crop import crop
from explain.inversion.priors import alpha_norm, total_variation

START = 0.01  # standard deviation of the noise around grey that the search begins with
_TINY = 1e-30  # keeps 0 from dividing by 0


@dataclass(frozen=True)
class InvertedSamples:
    """Images that a layer represents like given samples.

    Attributes:
        images: in [0, 1], like the samples, (B, ...).
        error: ||phi(image) - phi0||^2 / ||phi0||^2, (B,).
    """

    images: Tensor
    error: Tensor


@dataclass(frozen=True)
class Inversion(Options):
    """Search for an image, or a clip, whose representation is that of a sample.

    It minimises ||phi(x) - phi0||^2 / ||phi0||^2 + alpha_weight x alpha norm + tv_weight x total
    variation over x in [0, 1], by gradient descent with momentum. Each sample's gradient is scaled
    to a root mean square of 1, and steps shorten along a half cosine. (Adam, which scales each
    value's, left MobileNet's images as near, but grey and noisy.) The start is grey with noise.
    What the layer does not keep is up to the two priors, and comes out smooth and grey. So a
    feature adversary looks like its source at low layers, and more like its guide at the layer
    that it was made for.

    Args:
        layer: whose output, as `named_modules()` has it. None: the last but one that is called.
        steps: each a forward and a backward pass.
        step_size: of the first steps, in pixel units: the root mean square of a value's change,
            where the gradients agree.
        decay: what momentum keeps of the mean of gradients at each step.
        alpha: exponent of the norm that keeps values near grey.
        alpha_weight: of that norm.
        beta: exponent of the total variation, which keeps neighbours alike.
        tv_weight: of that. More makes smoother images, of layers that keep little.
        jitter: pixels by which each step moves the image at most, along each side; then the image
            does not rest on the grid of a strided layer. A few help at high layers, and blur what
            low ones keep.
        chunk: samples optimised at once, which bounds the memory.

    Source: Mahendran & Vedaldi 2015, eqs. (2) to (4); jitter: Mahendran & Vedaldi 2016.
    """

    layer: Text | None = None
    steps: Count = 400
    step_size: Positive = 0.05
    decay: BelowOne = 0.9
    alpha: Annotated[float, at_least(1)] = 6.0
    alpha_weight: NonNegative = 0.01
    beta: Annotated[float, at_least(1)] = 2.0
    tv_weight: NonNegative = 1e-3
    jitter: Natural = 0
    chunk: Count = 64

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        *,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> InvertedSamples:
        """Invert the representations of samples; one does not depend on its batch.

        Args:
            model: the classifier; left exactly as it was.
            x: whose representations are inverted, (B, C, H, W) or (B, C, T, H, W) in [0, 1].
            seed: with a sample's id, fixes that sample's random numbers.
            sample_ids: B integers; None hashes each sample's content.
            progress: called with (steps done, steps in all).

        Raises:
            ValueError: for a batch, or a layer, that cannot be inverted.
        """
        check_module(model)
        check_samples(x)
        generators = [generator_for(seed, "inversion", i) for i in ids_of(x, sample_ids)]
        own = x.detach().clone().clamp_(0, 1)
        parts, images, errors = range(0, len(x), self.chunk), [], []
        with frozen(model, seed=derive_seed(seed, "inversion") % 2**32):
            layer = last_hidden(model, own[:1]) if self.layer is None else self.layer
            phi = Representation(model, find_layers(model, layer), own)
            for number, start in enumerate(parts):
                rows = slice(start, start + self.chunk)
                target = [output.detach() for output in phi(own[rows])]
                image = normal(own[rows], generators[rows]).mul_(START).add_(0.5).clamp_(0, 1)
                direction = torch.zeros_like(image)
                for step in range(self.steps):
                    gradient = self._gradient(phi, target, image, generators[rows])
                    direction = torch.lerp(gradient, direction, self.decay)
                    length = self.step_size * half_cosine(step, self.steps)
                    image = (image - length * direction).clamp_(0, 1)
                    if progress:
                        progress(number * self.steps + step + 1, len(parts) * self.steps)
                images.append(image)
                with torch.no_grad():
                    errors.append(relative_error(phi(image), target))
        return InvertedSamples(torch.cat(images), torch.cat(errors))

    def _gradient(
        self,
        phi: Representation,
        target: Sequence[Tensor],
        image: Tensor,
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Return the gradient of the objective, of root mean square 1, like the images (B, ...)."""
        image = image.detach().requires_grad_()
        seen = _moved(image, generators, self.jitter) if self.jitter else image
        error = relative_error(phi(seen), target)
        if not error.requires_grad:
            raise ValueError(
                f"the output of layer {'+'.join(phi.layers)!r} carries no gradient; name another"
            )
        value = (
            error
            + self.alpha_weight * alpha_norm(image, alpha=self.alpha)
            + self.tv_weight * total_variation(image, beta=self.beta)
        )  # (B,)
        (gradient,) = torch.autograd.grad(value.sum(), image)
        gradient = gradient.nan_to_num(0, 0, 0)
        size = gradient.flatten(1).square().mean(1).sqrt().clamp_min(_TINY)  # (B,)
        return gradient / column(size, gradient)


def relative_error(outputs: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Return ||phi - phi0||^2 / ||phi0||^2 of outputs (B, ...), of several layers the mean, (B,).

    Source: Mahendran & Vedaldi 2015, eq. (4).
    """
    errors = [
        (output - wanted).flatten(1).square().sum(1)
        / wanted.flatten(1).square().sum(1).clamp_min(_TINY)
        for output, wanted in zip(outputs, target, strict=True)
    ]
    return torch.stack(errors).mean(0)  # (L, B) -> (B,)


def _moved(image: Tensor, generators: Sequence[torch.Generator], jitter: int) -> Tensor:
    """Return images (B, C, ..., H, W) moved along H and W, by up to `jitter` pixels each."""
    sides = image.shape[2:]
    starts = torch.zeros(len(image), len(sides), dtype=torch.int64, device=image.device)
    numbers = unit(image, generators, (2,))  # (B, 2)
    starts[:, -2:] = (numbers * (2 * jitter + 1)).floor().long() - jitter
    return crop(image, starts, sides)
