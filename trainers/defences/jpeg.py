"""JPEG compression."""

import io
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from attacks.common.options import between
from trainers.defences.defence import Defence, from_frames, to_frames

Levels = NDArray[np.uint8]
_CHANNELS = (1, 3)  # grey, RGB
_PLAIN = 0.2  # share of x in the surrogate, chosen on validation samples: docs/defences.md
_BLOCK = 16  # pixels, of colour at half the resolution


@dataclass(frozen=True)
class JPEG(Defence):
    """Compress each image to a JPEG file, and read it back.

    The files are made on the CPU, by Pillow.

    Args:
        quality: from 1 to 100, on libjpeg's scale; colour has half the resolution, as usual.

    Source: Dziugaite, Ghahramani & Roy 2016; Guo et al. 2018, section 3.
    """

    quality: Annotated[int, between(1, 100)] = 75

    masks_gradient: ClassVar[bool] = True

    def __call__(self, x: Tensor) -> Tensor:
        """Return decompressed samples, whose gradient is zero.

        Raises:
            ValueError: for samples that are neither grey nor RGB.
        """
        if x.shape[1] not in _CHANNELS:
            raise ValueError(f"jpeg stores 1 or 3 channels, and the samples have {x.shape[1]}")
        with torch.no_grad():
            levels = (to_frames(x).clamp(0, 1) * 255).nan_to_num().round().byte()
            images = levels.permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, C)
            read = np.stack([recompress(image, self.quality) for image in images])
            decoded = torch.from_numpy(read).permute(0, 3, 1, 2).to(x) / 255  # (B, C, H, W)
        return from_frames(decoded, x) + 0 * x  # a sample that is NaN stays NaN

    def surrogate(self, x: Tensor) -> Tensor:
        """Return the samples through a JPEG whose rounding is a polynomial, with a share of x.

        By the polynomial alone, coefficients near whole numbers, such as 0, would have no slope.

        Source: Shin & Song 2017, section 3; Reich et al. 2024.
        """
        from kornia.enhance import jpeg_codec_differentiable  # takes a second

        frames = to_frames(x)
        height, width = frames.shape[-2:]
        padding = (0, -width % _BLOCK, 0, -height % _BLOCK)
        rgb = F.pad(frames.clamp(0, 1), padding, mode="replicate").expand(-1, 3, -1, -1)
        soft = jpeg_codec_differentiable(rgb, rgb.new_tensor([self.quality]))
        if frames.shape[1] == 1:
            soft = soft.mean(1, keepdim=True)
        soft = from_frames(soft[..., :height, :width], x)
        return _PLAIN * x + (1 - _PLAIN) * soft


def recompress(levels: Levels, quality: int) -> Levels:
    """Return bytes (H, W, C) of one image as a JPEG file of a quality keeps them."""
    file = io.BytesIO()
    Image.fromarray(levels.squeeze(2) if levels.shape[2] == 1 else levels).save(
        file, "jpeg", quality=quality
    )
    return np.asarray(Image.open(file)).reshape(levels.shape)
