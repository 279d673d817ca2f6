"""The restoration network R: from decoded samples to samples nearer to the originals."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from compress.checks import MAX_CHANNELS, STEP_RANGE
from compress.errors import FormatError
from compress.file_format import KINDS, NO_MODEL, FileHeader, Kind
from compress.network.restoration_layers import PaperLayers, UnetLayers
from compress.quantise.signals import MIDDLE

Form = Literal["unet", "paper"]
Tensors = dict[str, Tensor]
_BEYOND = 1.25  # the first and last blend weights serve steps finer or coarser by this factor


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The architecture of a restoration network.

    Attributes:
        channels: C of the samples.
        dims: 2 for images, 3 for videos.
        kind: of the files that it restores.
        form: "unet" is conditioned on the step and adds a residual to the decoded sample; "paper"
            predicts the sample itself.
        width: channels of its layers at full resolution.
        depth: how often a "unet" halves the resolution, or "paper" doubles it.
    """

    channels: int
    dims: int = 2
    kind: Kind = "x"
    form: Form = "unet"
    width: int = 32
    depth: int = 2

    def __str__(self) -> str:
        """Describe the samples that the network restores.

        >>> str(NetworkConfig(channels=3))
        "3-channel images of kind 'x'"
        """
        what = "videos" if self.dims == 3 else "images"
        return f"{self.channels}-channel {what} of kind {self.kind!r}"

    def __post_init__(self) -> None:
        """Check every field against its range."""
        if self.form not in get_args(Form):
            raise ValueError(f"form is {self.form!r}; allowed: {', '.join(get_args(Form))}")
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; allowed: {', '.join(KINDS)}")
        ranges = {"channels": (1, MAX_CHANNELS), "dims": (2, 3), "width": (1, 512), "depth": (1, 5)}
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; allowed: {least} to {most}")


@dataclass(frozen=True)
class BlendWeight:
    """The weight of R's output in its blend with the decoded sample, by quantiser step.

    Attributes:
        steps: at which the weight was measured, rising; without any, R is not used.
        shares: the weights at these steps, in [0, 1]; interpolated in the logarithm of the step.
    """

    steps: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that steps rise, and that shares are in [0, 1]."""
        low, high = STEP_RANGE
        rising = list(self.steps) == sorted(set(self.steps))
        within = all(low <= s <= high for s in self.steps) and all(0 <= a <= 1 for a in self.shares)
        if len(self.steps) != len(self.shares) or not (rising and within):
            raise ValueError(
                f"steps={self.steps}, shares={self.shares}; give rising steps from {low:g} to "
                f"{high:g}, and a share from 0 to 1 for each"
            )

    def at(self, step: float) -> float:
        """Interpolate the blend weight at a step; 0 beyond the measured ones.

        >>> BlendWeight((0.1, 0.4), (0.0, 1.0)).at(0.2)
        0.5
        """
        if not self.steps or not self.steps[0] / _BEYOND <= step <= self.steps[-1] * _BEYOND:
            return 0.0
        return float(np.interp(math.log(step), np.log(self.steps), self.shares))


class RestorationNet(nn.Module):
    """A restoration network R and its blend weight.

    A new "unet" is the identity. Files keep weights in 16 bits: see `round_to_half`.

    Source: Rey-de-Castro & Rabitz 2018, section 5.4.

    Attributes:
        config: its architecture.
        blend_weight: of its output in `restore`; 0 until one is measured.
    """

    def __init__(self, config: NetworkConfig, blend_weight: BlendWeight | None = None) -> None:
        """Initialise weights that depend on the config alone."""
        super().__init__()
        self.config, self.blend_weight = config, blend_weight or BlendWeight()
        form = {"paper": PaperLayers, "unet": UnetLayers}[config.form]
        shape = {"dims": config.dims, "width": config.width, "depth": config.depth}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers: nn.Module = form(config.channels, **shape)

    def forward(self, decoded: Tensor, step: Tensor) -> Tensor:
        """Predict samples like the decoded ones (B, C, ...), neither blended nor clamped.

        Args:
            decoded: samples, or of kind "delta" differences.
            step: of the quantiser, (B,).
        """
        output: Tensor = self.layers(self._signal(decoded, step), torch.log2(step))
        before = self.base(decoded) if self.config.form == "unet" else MIDDLE
        return before + output.float()

    def base(self, decoded: Tensor) -> Tensor:
        """Return the decoded samples without R, (B, C, ...); differences are shown around grey."""
        return decoded + MIDDLE if self.config.kind == "delta" else decoded

    def _signal(self, decoded: Tensor, step: Tensor) -> Tensor:
        """Scale decoded samples (B, C, ...) to values of the order of one."""
        signal = decoded - MIDDLE
        if self.config.kind == "delta":  # of which some are no larger than 8/255
            signal = decoded / step.view(-1, *[1] * (decoded.ndim - 1))
        layout = torch.channels_last if decoded.ndim == 4 else torch.channels_last_3d
        return signal.contiguous(memory_format=layout)

    @torch.no_grad()
    def restore(self, decoded: Tensor, step: float, *, batch: int = 64) -> Tensor:
        """Blend decoded samples (B, C, ...) with R's prediction, in [0, 1].

        Args:
            decoded: samples (B, C, H, W) or (B, C, T, H, W), or of kind "delta" differences.
            step: of the quantiser they were coded with.
            batch: samples at once.

        Raises:
            ValueError: for samples of another form than the config's.
        """
        self._check_form(decoded)
        plain, weight = self.base(decoded).clamp(0, 1), self.blend_weight.at(step)
        if weight == 0:
            return plain
        device = next(self.parameters()).device
        parts = []
        for some, base in zip(torch.split(decoded, batch), torch.split(plain, batch), strict=True):
            steps = torch.full((len(some),), step, device=device)
            answer = self(some.to(device), steps).clamp(0, 1).to(base)
            parts.append(base + weight * (answer - base))
        return torch.cat(parts).contiguous()

    def check_file(self, head: FileHeader) -> None:
        """Check that a file may be restored by this network.

        Raises:
            FormatError: for a file that names another network, or holds another kind of samples.
        """
        c, *rest = head.shape
        if head.model not in (NO_MODEL, self.digest):
            raise FormatError(
                f"the file was coded for network {head.model.hex()}, this is "
                f"{self.digest.hex()}: decode it with the one it names, or without any"
            )
        if (head.kind, c, len(rest)) != (self.config.kind, self.config.channels, self.config.dims):
            raise FormatError(
                f"the file holds kind {head.kind!r} in shape {head.shape}; the network is for "
                f"{self.config}"
            )

    def _check_form(self, decoded: Tensor) -> None:
        right = decoded.ndim == 2 + self.config.dims and decoded.shape[1] == self.config.channels
        if not right or not decoded.is_floating_point() or not decoded.numel():
            raise ValueError(
                f"decoded is {decoded.dtype} of shape {tuple(decoded.shape)}; the network is for "
                f"{self.config}"
            )

    @torch.no_grad()
    def round_to_half(self) -> None:
        """Round the weights to float16, as files keep them."""
        for parameter in self.parameters():
            parameter.copy_(parameter.half())

    def export_state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return weights in float16, and config and blend weight ready for JSON."""
        tensors = {
            name: t.detach().cpu().half().contiguous() for name, t in self.state_dict().items()
        }
        return tensors, {"config": asdict(self.config), "gate": asdict(self.blend_weight)}

    @classmethod
    def from_state(cls, tensors: Tensors, rest: dict[str, Any]) -> "RestorationNet":
        """Build a network from the state of `export_state`.

        Raises:
            ValueError: for a state of no network.
        """
        try:
            gate = {name: tuple(map(float, values)) for name, values in rest["gate"].items()}
            network = cls(NetworkConfig(**rest["config"]), BlendWeight(**gate))
            network.load_state_dict({name: t.float() for name, t in tensors.items()})
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(f"these are no parts of a network: {error}") from error
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"{name} holds NaN or infinity")
        return network

    @property
    def digest(self) -> bytes:
        """Eight bytes that tell this network from others: weights, config and blend weight."""
        tensors, rest = self.export_state()
        result = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
        for name in sorted(tensors):
            result.update(name.encode() + tensors[name].numpy().tobytes())
        return result.digest()[:8]


def check_network(network: object, kind: Kind | None = None) -> None:
    """Check that an argument is a restoration network, for samples of a kind if one is given.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(network, RestorationNet):
        raise ValueError(
            f"network is {type(network).__name__}; give a RestorationNet, as `load_network` reads"
        )
    if kind not in (None, network.config.kind):
        raise ValueError(f"kind={kind!r}; the network is for {network.config.kind!r}")
