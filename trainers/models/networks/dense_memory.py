"""Dense associative memory as a classifier: an energy of memories, of which the label is a part."""

from collections.abc import Sequence
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn


class DenseMemory(nn.Module):
    """Memories of images with their labels; the class is what completes an image to a memory.

    N pixels v_i in [-1, 1] and K classification neurons x_k, -1 or 1, have the energy

        E(v, x) = -sum_m F((sum_i visible[m, i] v_i + sum_k labels[k, m] x_k) / sqrt(N)),

    F(h) = max(h, 0)^n. With the image held, and all classification neurons off, logit k is the
    energy that turning neuron k on would save; the paper's tanh of it has the same order. With
    n = 2 memories act as features, with n of 20 and more as prototypes.

    Source: Krotov & Hopfield 2016, section 4, eq. (1), (8) and (9), with beta = N^(-n/2), trained
    by backpropagation on the cross-entropy in place of eq. (12).
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: Sequence[int] = (8, 8),
        memories: int = 512,
        n: int = 3,
    ) -> None:
        """Build it.

        Args:
            num_classes: K.
            in_channels: C.
            image_size: (H, W), the only one that it takes.
            memories: how many.
            n: degree of F, at least 2.
        """
        super().__init__()
        self.shape = (in_channels, *image_size)
        self.n = n
        self.visible = nn.Linear(prod(self.shape), memories, bias=False)
        self.labels = nn.Linear(memories, num_classes, bias=False)
        for weights in self.parameters():
            nn.init.normal_(weights, std=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, H, W).

        Raises:
            ValueError: for images of another shape.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this dense-memory takes images of shape {self.shape} and got "
                f"{tuple(x.shape[1:])}; give those, or fit another"
            )
        label = self.labels.weight  # (K, memories)
        off = self.visible(2 * x.flatten(1) - 1) - label.sum(0)  # (B, memories)
        on = off[:, None] + 2 * label  # (B, K, memories)
        return self._energy(off)[:, None] - self._energy(on)  # (B, K)

    def _energy(self, overlap: Tensor) -> Tensor:
        """Energy (...) of the overlaps (..., memories) of a state with each memory."""
        scale = self.visible.in_features**0.5
        return -(F.relu(overlap / scale) ** self.n).sum(-1)
