"""Adversarial transformation networks: one network trained to perturb any sample."""

from dataclasses import dataclass

from torch import nn

from attacks.attack import Progress
from attacks.common.frozen import frozen
from attacks.common.options import check_kinds
from attacks.transformer.atn_attack import Transformer
from attacks.transformer.atn_fit import TransformerFit
from attacks.transformer.atn_network import Form, TransformerShape
from attacks.universal.fitting import (
    Keep,
    Loader,
    Samples,
    Snapshot,
    check_target,
    fitted_in_passes,
)


@dataclass(frozen=True)
class AdversarialTransformer:
    """Options of a fit that gives a network for perturbing samples, a `Transformer`.

    It minimises, over all samples, beta * ||g(x) - x||^2 + ||f(g(x)) - r||^2: f are the model's
    softmax scores, and r those of x with the target raised to `alpha` times the highest.

    Args:
        form: "residual" learns what to add to the sample (P-ATN), "autoencoder" the perturbed
            sample itself (AAE).
        beta: weight of the change, a sum over all values.
        alpha: how far the target is to lead, above 1; the paper's 1.5 keeps closer to the sample
            and fails more often.
        passes: times through the samples.
        lr: Adam's learning rate, falling to zero along a half cosine.
        width: channels of the network.
        target: the class to reach, as published; None for a network that is told the class of
            each sample, in training a random one but the model's own answer.

    Source: Baluja & Fischer 2018, section 2: the joint loss and its reranking function.
    """

    form: Form = "residual"
    beta: float = 0.02
    alpha: float = 5.0
    passes: int = 20
    lr: float = 1e-3
    width: int = 32
    target: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        check_target(self.target)
        TransformerShape(1, 2, form=self.form, width=self.width)
        if self.beta < 0 or self.lr <= 0 or self.alpha <= 1:
            raise ValueError(
                f"beta={self.beta}, lr={self.lr}, alpha={self.alpha}; give beta >= 0, lr > 0, "
                "alpha > 1"
            )
        if self.passes < 1:
            raise ValueError(f"passes is {self.passes}; give a number >= 1")

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        state: Snapshot | None = None,
        keep: Keep | None = None,
    ) -> Transformer:
        """Train a network to perturb the samples; see `Fittable.fit`.

        Returns:
            The network; its `history` holds, for each pass, the mean "loss" and the share of
            samples that "reached" the class they were sent to.
        """
        with frozen(model):
            samples = Samples.of(loader, model)
            fit = TransformerFit(self, model, samples, seed=seed)
            history = fitted_in_passes(
                fit, passes=self.passes, progress=progress, state=state, keep=keep
            )
        weights = {name: weight.detach() for name, weight in fit.weights.items()}
        return Transformer(weights, fit.shape, self.target, tuple(history))
