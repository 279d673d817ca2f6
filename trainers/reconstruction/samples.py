"""The samples that R is trained on: how they are coded, and which of them are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.common.randomness import generator_for
from compress import Codec, TaskQuantiser
from compress.file_format import Kind
from trainers.reconstruction.options import ReconstructionOptions

_MEASURED = 8  # of few groups, up to a quarter are held out, to be surer of the gate


@dataclass(frozen=True, kw_only=True)
class RestorationSamples:
    """Training samples of R, and how they are coded.

    Attributes:
        codec: codes them.
        x: (N, C, H, W) or (N, C, T, H, W) in [0, 1].
        groups: the number of each one's group, int64 (N,).
        kind: what is coded of them.
        x_adv: like x, for kind "delta".
        classifier: samples to logits, for kind "x-task".
        task: how that is coded.
    """

    codec: Codec
    x: Tensor
    groups: Tensor
    kind: Kind = "x"
    x_adv: Tensor | None = None
    classifier: nn.Module | None = None
    task: TaskQuantiser | None = None

    def decoded(self, step: float, rows: Tensor) -> Tensor:
        """Return what a file of some of them holds, (B, C, ...)."""
        x_adv = None if self.x_adv is None else self.x_adv[rows]
        model = self.classifier if self.kind == "x-task" else None
        file = self.codec.encode(
            self.x[rows], kind=self.kind, x_adv=x_adv, model=model, task=self.task, step=step
        )
        return self.codec.decode(file)


def number_groups(groups: Sequence[object] | Tensor | None, count: int) -> Tensor:
    """Return the number of each sample's group, in the order in which they come, (N,).

    Args:
        groups: what each sample is of, names or an integer tensor (N,); None puts each into a
            group of its own.
        count: N.

    Raises:
        ValueError: when there is not one for each sample.

    >>> number_groups(["a", "b", "a"], 3)
    tensor([0, 1, 0])
    """
    if groups is None:
        return torch.arange(count)
    if len(groups) != count:
        raise ValueError(f"there are {len(groups)} groups and {count} samples; give one for each")
    names = groups.tolist() if isinstance(groups, Tensor) else groups  # equal tensors hash apart
    numbers: dict[object, int] = {}
    return torch.tensor([numbers.setdefault(name, len(numbers)) for name in names])


def split_groups(
    groups: Tensor, options: ReconstructionOptions, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the rows to train on, and those to measure the gate on: no group is in both.

    Raises:
        ValueError: for fewer than four groups, unless they are memorised.
    """
    rows = torch.arange(len(groups))
    if options.memorise:
        return rows, rows
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < 4:
        what = "samples" if count == len(groups) else "groups"
        raise ValueError(
            f"there are {count} {what}; give at least 4, some of which are held out, or memorise"
        )
    order = torch.randperm(count, generator=generator_for(seed, "held out"))
    held_out = max(round(options.held_out * count), min(_MEASURED, count // 4), 2)
    out = torch.isin(groups, order[:held_out])
    return rows[~out], rows[out]
