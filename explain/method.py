"""The call of an explanation method, written once: check and copy, freeze the model, draw maps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from attacks.attack import Progress
from attacks.common.batch_attack import check_labels, check_samples
from attacks.common.forward import wrap_forward
from attacks.common.frozen import check_module, frozen
from attacks.common.goal import Classifier, detached_logits
from attacks.common.options import Options
from attacks.common.randomness import derive_seed, generator_for, ids_of


@dataclass(frozen=True)
class ExplanationCall:
    """The arguments of one call, in the form a method works with.

    Attributes:
        model: the classifier, frozen: constant parameters, eval mode.
        x: a copy of the samples, (B, C, ...) in [0, 1].
        y: the classes to explain, int64 (B,).
        seed: of what is drawn once for all samples.
        sample_ids: numbers that with the seed key what is drawn for each sample, or None.
        progress: called with (steps done, steps in all).
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    seed: int
    sample_ids: Sequence[int] | Tensor | None
    progress: Progress

    @cached_property
    def forward(self) -> Classifier:
        """The forward pass that `wrap_forward` chose, for methods of many passes."""
        return wrap_forward(self.model, self.x)[0]

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """A generator for each sample, whatever its batch."""
        return [generator_for(self.seed, i) for i in ids_of(self.x, self.sample_ids)]


class ExplanationMethod(Options, ABC):
    """A frozen dataclass of options that says where in a sample the evidence for a class lies."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None = None,
        *,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Return a map of each sample, higher where more speaks for class y.

        A sample's map does not depend on its batch. Where the logits are not finite it is 0.

        Args:
            model: the classifier; returns logits (B, K). Left exactly as it was.
            x: images (B, C, H, W) or videos (B, C, T, H, W), float32 in [0, 1].
            y: classes to explain, int64 (B,); None takes the model's predictions.
            seed: with a sample's id, fixes that sample's random numbers.
            sample_ids: B integers; None hashes each sample's content.
            progress: called with (steps done, steps in all).

        Returns:
            Maps (B, H, W), of videos (B, T, H, W); at least 0, and not scaled.

        Raises:
            ValueError: for a batch, a class or an option that the method cannot work with.
        """
        check_module(model)
        check_samples(x)
        check_labels("y", y, x)
        with frozen(model, seed=derive_seed(seed, "explain") % 2**32):
            own = x.detach().clone().clamp_(0, 1)
            logits = detached_logits(model, own)
            y = logits.argmax(1) if y is None else y.detach().clone()
            if int(y.max()) >= logits.shape[1]:
                raise ValueError(f"y asks for class {int(y.max())} of {logits.shape[1]} classes")
            maps = self.explain(
                ExplanationCall(
                    model, own, y, seed, sample_ids, progress or (lambda done, steps: None)
                )
            )
        broken = ~torch.isfinite(logits).all(1)
        return (
            maps.detach().nan_to_num(0, 0, 0).clamp_min(0).index_fill(0, broken.nonzero()[:, 0], 0)
        )

    @abstractmethod
    def explain(self, call: ExplanationCall) -> Tensor:
        """Return the maps (B, H, W) or (B, T, H, W) of a call; negative values count as 0."""
