"""What is lost in few pixels, or few bytes."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from augment.corruptions.corruption import Generators, corruption


@corruption(cifar10_c=(0.95, 0.9, 0.85, 0.75, 0.65), imagenet_c=(0.6, 0.5, 0.4, 0.3, 0.25))
def pixelate(x: Tensor, scale: float, generators: Generators) -> Tensor:
    """Shrink by averaging over boxes, and enlarge by repeating."""
    down, across = (_boxes(size, max(int(size * scale), 1)).to(x) for size in x.shape[-2:])
    return down @ x @ across.T


def _boxes(size: int, few: int) -> Tensor:
    """Return the matrix (size, size) that averages over boxes and repeats.

    It is that of Pillow's BOX and then NEAREST, whose rounding decides where edges of boxes are the
    middles of pixels.
    """
    centres = (torch.arange(few, dtype=torch.float64)[:, None] + 0.5) * (size / few)  # (few, 1)
    off = (torch.arange(size) - centres + 0.5) * (1 / (size / few))  # (few, size)
    low, high = (centres + side * 0.5 * (size / few) + 0.5 for side in (-1, 1))
    pixels = torch.arange(size)
    counted = (off > -0.5) & (off <= 0.5) & (pixels >= low.long()) & (pixels < high.long())
    steps = torch.full((size,), few / size, dtype=torch.float64)
    steps[0] /= 2
    shown = steps.cumsum(0).long()  # (size,) the box that a pixel shows
    return (counted / counted.sum(1, keepdim=True))[shown].float()


@corruption(cifar10_c=(80, 65, 58, 50, 40), imagenet_c=(25, 18, 15, 10, 7))
def jpeg_compression(x: Tensor, quality: int, generators: Generators) -> Tensor:
    """Encode as JPEG, frame by frame and on the CPU, and decode."""
    frames = (x.clamp(0, 1) * 255).round().byte().flatten(0, 1)  # (B * T, C, H, W)
    pictures = frames.movedim(1, -1).contiguous().cpu().numpy()
    decoded = np.stack([_through_jpeg(each, quality) for each in pictures])  # (B * T, H, W, C)
    out = torch.from_numpy(decoded).to(x.device).movedim(-1, 1)  # (B * T, C, H, W)
    return out.to(x.dtype).div(255).reshape(x.shape)


def _through_jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """Encode and decode bytes (H, W, C)."""
    file = io.BytesIO()
    Image.fromarray(frame.squeeze(2) if frame.shape[2] == 1 else frame).save(
        file, "JPEG", quality=quality
    )
    return np.asarray(Image.open(file)).reshape(frame.shape)
