"""The call of an attack, written once: begin, and let the subclass perturb the batch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import Field
from typing import Any, ClassVar

from torch import Tensor, nn

from attacks.attack import AttackResult, Progress
from attacks.common.begin import Call, begin, check_clips


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
        with begin(
            model, x, y, target=target, seed=seed, sample_ids=sample_ids, progress=progress
        ) as call:
            if self.needs_videos:
                check_clips(x)
            return self.perturb(call)

    @abstractmethod
    def perturb(self, call: Call) -> AttackResult:
        """Attack the samples of a call and return the result."""
