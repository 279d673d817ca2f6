"""The call of an attack on one batch: check and clone the inputs, freeze the model, perturb."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import Field, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Progress
from attacks.common.frozen import frozen
from attacks.common.inputs import check_call, check_clips, clone_inputs
from attacks.common.randomness import sample_generators


@dataclass(frozen=True)
class AttackBatch:
    """The checked arguments of one call of an attack; see `Attack.__call__`.

    Attributes:
        model: the classifier, frozen.
        x: clean samples, (B, ...) clamped to [0, 1]; a clone.
        y: labels, int64 (B,); the model's predictions where the caller gave none.
        target: classes to reach, int64 (B,); None for an untargeted attack.
        seed: of the samples' random numbers.
        sample_ids: B integers, or None to hash each sample's content.
        progress: called with (steps done, steps in all), or None.
        given: the samples as the caller gave them, (B, ...).
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor | None
    seed: int
    sample_ids: Sequence[int] | Tensor | None
    progress: Progress | None
    given: Tensor

    def generators(self) -> list[torch.Generator]:
        """Return one random generator for each sample, keyed by the seed and the sample's id."""
        return sample_generators(self.given, seed=self.seed, sample_ids=self.sample_ids)

    def report(self, done: int, total: int) -> None:
        """Tell the caller that `done` of `total` steps are taken."""
        if self.progress:
            self.progress(done, total)


class BatchAttack(ABC):
    """An attack whose subclass perturbs a checked batch under a frozen model.

    Attributes:
        needs_videos: refuse images.
        untargeted_error: message that refuses a call without a target; "" allows such a call.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    needs_videos: ClassVar[bool] = False
    untargeted_error: ClassVar[str] = ""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None,
        *,
        target: Tensor | int | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Perturb x so that `model` predicts another class than y, or predicts `target`.

        Args:
            model: the classifier; returns logits (B, K). Left exactly as it was.
            x: images (B, C, H, W) or videos (B, C, T, H, W), float32 in [0, 1].
            y: labels, int64 (B,); None takes the model's predictions.
            target: classes to reach, int64 (B,), or one for all samples; None for an untargeted
                attack.
            seed: with a sample's id, fixes that sample's random numbers.
            sample_ids: B integers; None hashes each sample's content.
            progress: called with (steps done, steps in all).

        Returns:
            The result; the attack's class documents its `info`.

        Raises:
            ValueError: for a batch or an option that the attack cannot work with.
        """
        if self.untargeted_error and target is None:
            raise ValueError(self.untargeted_error)
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        if self.needs_videos:
            check_clips(x)
        with frozen(model):
            inputs = clone_inputs(model, x, y, target)
            return self.perturb(AttackBatch(model, *inputs, seed, sample_ids, progress, x))

    @abstractmethod
    def perturb(self, batch: AttackBatch) -> AttackResult:
        """Attack the samples of a batch and return the result."""
