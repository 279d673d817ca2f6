"""The blur of a camera that moves towards what it sees."""

import math

from torch import Tensor
from torch.nn.functional import interpolate

from augment.corruptions.corruption import Generators, corruption


@corruption(
    cifar10_c=((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
    imagenet_c=((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
)
def zoom_blur(x: Tensor, level: tuple[int, float], generators: Generators) -> Tensor:
    """Average the image with so many enlargements of it, by 1, 1 + step, 1 + 2 step, ..."""
    count, step = level[0], (1 + level[1]) - 1  # the differences of numpy.arange(1, ..., step)
    height, width = x.shape[-2:]
    frames = x.flatten(0, 1)  # (B * T, C, H, W)
    total = frames.clone()
    for i in range(count):
        total += enlarge_middle(frames, 1 + i * step)[..., :height, :width]
    return (total / (count + 1)).reshape(x.shape)


def enlarge_middle(x: Tensor, factor: float) -> Tensor:
    """Enlarge the middle of images (N, C, H, W) to their whole size or a little more."""
    seen = [math.ceil(size / factor) for size in x.shape[-2:]]
    top, left = ((size - part) // 2 for size, part in zip(x.shape[-2:], seen, strict=True))
    middle = x[..., top : top + seen[0], left : left + seen[1]]
    size = [round(part * factor) for part in seen]
    return interpolate(middle, size, mode="bilinear", align_corners=True)
