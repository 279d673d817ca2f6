"""Whitened coordinates of convolution weights, from the patches of a sample."""

import torch
import torch.nn.functional as F
from torch import Tensor

_POSITIONS = 65536  # approximate number of patches behind the moments of one sample


def patch_moments(x: Tensor, *, kernel: int) -> Tensor:
    """Return the second moments of each sample's patches, extended by the bias's constant 1.

    Args:
        x: (B, C, H, W) or (B, C, T, H, W).
        kernel: odd width of the zero-padded patches.

    Returns:
        (B, D + 1, D + 1) with D = C * kernel**dims, entries ordered as in a flattened kernel.
    """
    return torch.stack([_moments(row, kernel) for row in x])


def whitening_matrix(moments: Tensor, *, ridge: float = 1e-3) -> Tensor:
    """Return S = (M + ridge * mean eigenvalue)^(-1/2), scaled to a root mean square diagonal of 1.

    With convolution weights W = V S, a small change of V changes the output by about the same
    size in every direction. Neighbouring pixels of natural images are so alike that a smooth
    change of W moves the output hundreds of times further than a sharp one, which slows gradient
    descent down. M is the input factor of the Kronecker-factored curvature of Martens & Grosse
    2015; near the identity, P's output factor is the identity.

    Args:
        moments: (B, D, D) symmetric, positive semi-definite.
        ridge: added to each eigenvalue, as a share of their mean.

    Returns:
        S, (B, D, D).
    """
    values, vectors = torch.linalg.eigh(moments)
    values = values.clamp_min(0) + ridge * values.mean(-1, keepdim=True).clamp_min(1e-12)
    root: Tensor = (vectors * values.rsqrt()[:, None]) @ vectors.mT  # (B, D, D)
    scale = root.diagonal(dim1=1, dim2=2).square().mean(1).sqrt()
    return root / scale[:, None, None]


def _moments(row: Tensor, kernel: int) -> Tensor:
    """Return the second moments (D + 1, D + 1) of one sample's patches (C, ...)."""
    dims = row.ndim - 1
    padded = F.pad(row, (kernel // 2,) * (2 * dims))
    for dim in range(1, row.ndim):
        padded = padded.unfold(dim, kernel, 1)  # (C, ..., kernel) a dim more each time
    # All patches of a large clip would not fit in memory, and a subset has the same moments.
    every = max(1, round((row[0].numel() / _POSITIONS) ** (1 / dims)))
    thinned = padded[(slice(None), *[slice(None, None, every)] * dims)]
    order = (0, *range(1 + dims, 1 + 2 * dims), *range(1, 1 + dims))
    patches = thinned.permute(order).flatten(1 + dims).flatten(0, dims)  # (D, positions)
    patches = torch.cat([patches, torch.ones_like(patches[:1])])  # (D + 1, positions)
    return patches @ patches.mT / patches.shape[1]
