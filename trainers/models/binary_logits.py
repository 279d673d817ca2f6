"""Two logits of one: classifiers with a single output, as trained with a sigmoid at the end."""

from torch import Tensor, nn
from torch.nn.functional import pad

from attacks.common.frozen import unwrapped


class BinaryLogits(nn.Module):
    """A classifier of two classes made of a network with one logit z, positive for class 1.

    The logits [0, z] have the softmax [1 - sigmoid(z), sigmoid(z)].

    >>> import torch
    >>> BinaryLogits(nn.Flatten(0))(torch.tensor([2.0, -3.0]))
    tensor([[ 0.,  2.],
            [ 0., -3.]])
    """

    def __init__(self, model: nn.Module) -> None:
        """Take a network that returns (B,) or (B, 1)."""
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 2) of samples (B, C, ...).

        Raises:
            ValueError: when the network returns anything but one logit a sample.
        """
        z = unwrapped(self.model, self.model(x))
        if not isinstance(z, Tensor) or z.shape not in ((len(x),), (len(x), 1)):
            seen = tuple(z.shape) if isinstance(z, Tensor) else f"a {type(z).__name__}"
            raise ValueError(
                f"{type(self.model).__name__} maps {len(x)} samples to {seen} where one logit "
                "each is expected; leave --binary (BinaryLogits) out"
            )
        return pad(z.reshape(-1, 1), (1, 0))  # (B, 2)
