"""Wavelet denoising."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from attacks.common.options import Count
from compress.quantise.threshold import bayes_shrink, universal_shrink
from compress.wavelet.transform import dwt, idwt
from trainers.defences.defence import Defence


@dataclass(frozen=True)
class WaveletDenoising(Defence):
    """Move the wavelet coefficients of each sample towards 0 by thresholds that its noise sets.

    Args:
        threshold: "bayes", one for each band and channel, or "universal", sqrt(2 log n) standard
            deviations of the noise, of n values in a channel.
        levels: of the transform; fewer for samples that are too small.
        wavelet: of the transform, see `dwt`.

    Source: Donoho & Johnstone 1994 (universal), Chang, Yu & Vetterli 2000 (bayes); as a defence
    Prakash et al. 2018.
    """

    threshold: Literal["bayes", "universal"] = "bayes"
    levels: Count = 2
    wavelet: str = "cdf97"

    def __call__(self, x: Tensor) -> Tensor:
        """Return denoised samples; the gradient takes the thresholds for constant."""
        deepest = max(1, (min(x.shape[-2:]) - 1).bit_length())
        c = dwt(x, wavelet=self.wavelet, levels=min(self.levels, deepest))
        fixed = c.with_values(c.values.detach())
        shrunk = (bayes_shrink if self.threshold == "bayes" else universal_shrink)(fixed).values
        kept = shrunk != 0
        moved = (c.values + (shrunk - fixed.values)) * kept
        return idwt(c.with_values(moved)).clamp(0, 1)
