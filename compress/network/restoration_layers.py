"""The layers of R: a U-Net conditioned on the step, and the network of the paper."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_DECONV = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_CONDITIONING = 32  # features that encode a step


class PaperLayers(nn.Module):
    """Deconvolutions up, each twice as large, then convolutions and max-pooling down again.

    Source: Rey-de-Castro & Rabitz 2018, section 5.4.
    """

    def __init__(self, channels: int, *, dims: int, width: int, depth: int) -> None:
        """Stack `depth` layers up and as many down, of `width` channels."""
        super().__init__()
        ups = [_DECONV[dims](width if i else channels, width, 4, 2, 1) for i in range(depth)]
        downs = [_CONV[dims](width, width, 3, padding=1) for _ in range(depth)]
        self.up, self.down = nn.ModuleList(ups), nn.ModuleList(downs)
        self.pool = _POOL[dims](2)
        self.leave = _CONV[dims](width, channels, 3, padding=1)

    def forward(self, signal: Tensor, conditioning: Tensor) -> Tensor:
        """Map a signal (B, C, H, W) to its like; the step is not used."""
        hidden = signal
        for up in self.up:
            hidden = up(hidden).relu()  # (B, w, 2H, 2W)
        for down in self.down:
            hidden = self.pool(down(hidden).relu())  # (B, w, H/2, W/2)
        output: Tensor = self.leave(hidden)  # (B, C, H, W)
        return output


class UnetLayers(nn.Module):
    """A U-Net (Ronneberger et al. 2015) whose blocks scale and shift by the step.

    Its last layer begins at zero. Source: scaling and shifting: Perez et al. 2018 (FiLM).
    """

    def __init__(self, channels: int, *, dims: int, width: int, depth: int) -> None:
        """Stack `depth` levels; `width` channels at full resolution, twice as many below."""
        super().__init__()
        conv, self.depth = _CONV[dims], depth
        widths = [width] + [2 * width] * depth
        pairs = list(pairwise(widths))
        self.tell = nn.Linear(1, _CONDITIONING)
        self.enter = conv(channels, width, 3, padding=1)
        self.before = nn.ModuleList(_Block(w, dims) for w in widths)
        self.down = nn.ModuleList(conv(a, b, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(conv(b, a, 1) for a, b in pairs)
        self.after = nn.ModuleList(_Block(w, dims) for w in widths[:-1])
        self.leave = conv(width, channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        if self.leave.bias is not None:
            nn.init.zeros_(self.leave.bias)

    def forward(self, signal: Tensor, conditioning: Tensor) -> Tensor:
        """Map a signal (B, C, H, W) to its like; conditioning: log2 of each step, (B,)."""
        size = signal.shape[2:]
        step = F.silu(self.tell(conditioning[:, None]))  # (B, 32)
        hidden = self.enter(_pad_to_multiple(signal, 2**self.depth))  # (B, w, H', W')
        kept = []
        for before, down in zip(self.before, self.down, strict=False):
            kept.append(before(hidden, step))
            hidden = down(kept[-1])  # (B, 2w, H'/2, W'/2)
        hidden = self.before[-1](hidden, step)
        for level in reversed(range(self.depth)):
            hidden = F.interpolate(self.up[level](hidden), scale_factor=2)  # (B, w, H', W')
            hidden = self.after[level](hidden + kept[level], step)
        output: Tensor = self.leave(hidden)
        for dim, n in enumerate(size, start=2):
            output = output.narrow(dim, 0, n)
        return output  # (B, C, H, W)


class _Block(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        self.first = _CONV[dims](width, width, 3, padding=1)
        self.second = _CONV[dims](width, width, 3, padding=1)
        self.film = nn.Linear(_CONDITIONING, 2 * width)

    def forward(self, hidden: Tensor, step: Tensor) -> Tensor:
        film = self.film(step)  # (B, 2w)
        scale, shift = film.view(*film.shape, *[1] * (hidden.ndim - 2)).chunk(2, 1)
        output: Tensor = hidden + self.second(F.silu(self.first(hidden) * (1 + scale) + shift))
        return output


def _pad_to_multiple(signal: Tensor, multiple: int) -> Tensor:
    """Pad each side to a multiple by repeating its last values, (B, C, H', W')."""
    missing = [-n % multiple for n in signal.shape[2:]]
    if not any(missing):
        return signal
    sides = [side for n in reversed(missing) for side in (0, n)]
    return F.pad(signal, sides, mode="replicate")
