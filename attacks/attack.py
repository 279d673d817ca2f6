"""The interface of every attack."""

from collections.abc import Callable, Sequence
from dataclasses import Field
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from attacks.result import AttackResult

Progress = Callable[[int, int], None]  # called with (steps done, steps in all)


class Attack(Protocol):
    """A frozen dataclass of options that turns samples into perturbed ones."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

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
        """Perturb x so that `model` no longer answers y, or answers target.

        Args:
            model: the classifier; returns logits (B, K). Left exactly as it was.
            x: images (B, C, H, W) or videos (B, C, T, H, W), float32 in [0, 1].
            y: labels, int64 (B,); None takes the model's own answers.
            target: wanted classes, int64 (B,), or one for all samples; None for an untargeted
                attack.
            seed: with a sample's id, fixes that sample's random numbers.
            sample_ids: B integers; by default derived from each sample's content.
            progress: called with (steps done, steps in all).

        Raises:
            ValueError: for a batch or an option the attack cannot work with.
        """
        ...
