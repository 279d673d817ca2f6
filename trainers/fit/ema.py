"""An exponential moving average of a model's weights."""

import torch
from torch import Tensor, nn


class Ema:
    """The average, and how to update it; BatchNorm statistics are averaged alike."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start at the model's present weights."""
        self.decay = decay
        self._live = {name: t for name, t in model.state_dict().items()}
        self.average = {name: t.detach().clone() for name, t in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` (0-based).

        The decay rises as (1 + step) / (10 + step) at first, so that the random start is
        forgotten also in short runs.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, average in self.average.items():
            if average.is_floating_point():
                average.lerp_(self._live[name], 1 - decay)
            else:
                average.copy_(self._live[name])

    def restore(self, average: dict[str, Tensor]) -> None:
        """Continue from an average that was saved."""
        for name, tensor in self.average.items():
            tensor.copy_(average[name])
