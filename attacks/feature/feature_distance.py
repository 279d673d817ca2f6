"""The distance between the representations of samples and of their guides."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.activations import SEPARATOR, Representation, find_layers, last_hidden
from attacks.common.batch_attack import Call
from attacks.common.best_by_loss import verify
from attacks.common.forward import TRIED
from attacks.common.goal import Goal, detached_logits, without_slope
from attacks.common.threat import column
from attacks.feature.box_descent import BoxMinimum

_TINY = 1e-30  # of a squared distance


@dataclass(frozen=True)
class FeatureDistance:
    """The squared Euclidean distance of representations, of several layers their relative sum.

    Attributes:
        phi: the representation.
        source: that of the sources, (B, ...) for each layer.
        guide: that of the guides.
        passes: of a random model, that a value and its gradient are the mean of.
    """

    phi: Representation
    source: list[Tensor]
    guide: list[Tensor]
    passes: int

    @classmethod
    def of(cls, call: Call, layer: str | None) -> "FeatureDistance":
        """Evaluate the representations of a call's samples and guides.

        Args:
            call: with guides.
            layer: LAYER or LAYER+LAYER; None takes the last hidden layer.

        Raises:
            ValueError: for layers that the model does not have, or that no pass goes through.
        """
        assert call.guide is not None  # checked in the call
        detached_logits(call.exact, call.x[:TRIED])  # is it a classifier?
        layer = last_hidden(call.model, call.x[:1]) if layer is None else layer
        phi = Representation(call.model, find_layers(call.model, layer), call.x)
        with torch.no_grad():
            return cls(phi, phi(call.x), phi(call.guide), call.eot)

    @property
    def layer(self) -> str:
        """The names of the layers."""
        return SEPARATOR.join(self.phi.layers)

    @property
    def start(self) -> Tensor:
        """The distances of the sources from their guides, squared, (B,)."""
        return self.between(self.source)

    def between(self, outputs: list[Tensor]) -> Tensor:
        """Return ||phi - phi(guide)||**2 of outputs (B, ...), one a layer; (B,).

        Each of several layers counts by its share of the distance between source and guide.
        """
        pairs = zip(outputs, self.guide, strict=True)
        squares = [_squares(out - guide) for out, guide in pairs]
        if len(squares) == 1:
            return squares[0]
        whole = [_squares(s - g) for s, g in zip(self.source, self.guide, strict=True)]
        return torch.stack(
            [part / all_.clamp_min(_TINY) for part, all_ in zip(squares, whole, strict=True)]
        ).sum(0)  # (L, B) -> (B,)

    def value(self, x: Tensor) -> Tensor:
        """Return the squared distance of samples x (B, ...) from their guides, (B,)."""
        with torch.no_grad():
            return self.between(self.phi(x))

    def of_sample(self, row: int) -> "FeatureDistance":
        """Return the distance of one sample from its guide."""
        source, guide = (
            [each[row : row + 1] for each in all_] for all_ in (self.source, self.guide)
        )
        return replace(self, source=source, guide=guide)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared distance of x (B, ...), (B,), and its gradient, like x.

        Of a random model they are the means over passes.
        """
        values, gradients = zip(*(self._single(x) for _ in range(self.passes)), strict=True)
        return torch.stack(values).mean(0), torch.stack(gradients).mean(0)

    def _single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        value = self.between(self.phi(x))
        if not value.requires_grad:
            raise ValueError(
                f"the output of layer {self.layer!r} carries no gradient: it is part of a "
                "checkpoint with use_reentrant=True, or something before it detaches or calls "
                "NumPy; name a layer outside of the checkpoint, or give bpda=identity"
            )
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient.contiguous()


def feature_result(call: Call, distance: FeatureDistance, found: BoxMinimum) -> AttackResult:
    """Build the result of an attack that made a distance small; its loss is the distance squared.

    Args:
        call: that the attack was given.
        distance: of its samples.
        found: the perturbed samples.
    """
    start, value = distance.start, found.value
    result = verify(
        call,
        found.x,
        Goal(call.y, call.target),
        queries=found.queries + 2,  # the representations of source and guide
        random=call.random,
        history=found.history,
        stuck=without_slope(found.gradient) & (start > 0),
        info={"layer": distance.layer, "distance_ratio": (value / start.clamp_min(_TINY)).sqrt()},
    )
    broken = result.loss.isnan()  # the logits are not finite
    x_adv = torch.where(column(broken, call.x), call.x, result.x_adv)
    return replace(result, x_adv=x_adv, loss=value.masked_fill(broken, torch.nan))


def _squares(difference: Tensor) -> Tensor:
    return difference.flatten(1).square().sum(1)
