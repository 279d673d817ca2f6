"""R: a network that makes of what was decoded something nearer to the sample."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from compress.errors import FormatError
from compress.file_format import KINDS, NO_MODEL, Head, Kind
from compress.limits import MAX_CHANNELS, STEP_RANGE
from compress.network.network_layers import layers
from compress.quantise.signals import MIDDLE

Form = Literal["unet", "paper"]
Tensors = dict[str, Tensor]
_BEYOND = 1.25  # the gate's ends serve steps that are finer or coarser by so much


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What R is.

    Attributes:
        channels: C, those of the samples.
        dims: 2 for images, 3 for videos.
        kind: of the files that it restores.
        form: "unet" is told the step and adds to what was decoded; "paper" makes the sample of it.
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
        """Say what it is for.

        >>> str(NetworkConfig(channels=3))
        "3-channel images of kind 'x'"
        """
        what = "videos" if self.dims == 3 else "images"
        return f"{self.channels}-channel {what} of kind {self.kind!r}"

    def __post_init__(self) -> None:
        """Refuse what is no network at once."""
        if self.form not in get_args(Form):
            raise ValueError(f"form is {self.form!r}; allowed: {', '.join(get_args(Form))}")
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; allowed: {', '.join(KINDS)}")
        for name, value, least, most in (
            ("channels", self.channels, 1, MAX_CHANNELS),
            ("dims", self.dims, 2, 3),
            ("width", self.width, 1, 512),
            ("depth", self.depth, 1, 5),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; allowed: {least} to {most}")


@dataclass(frozen=True)
class Gate:
    """How much of R is used at each step: it is measured, and none where nothing was.

    Attributes:
        steps: where it was measured, rising.
        shares: how much of R is used there, in [0, 1]; between them the logarithm of the step
            tells.
    """

    steps: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no gate."""
        low, high = STEP_RANGE
        rising = list(self.steps) == sorted(set(self.steps))
        within = all(low <= s <= high for s in self.steps) and all(0 <= a <= 1 for a in self.shares)
        if len(self.steps) != len(self.shares) or not (rising and within):
            raise ValueError(
                f"steps={self.steps}, shares={self.shares}; give rising steps from {low:g} to "
                f"{high:g}, and a share from 0 to 1 for each"
            )

    def share(self, step: float) -> float:
        """Return how much of R is used at a step.

        >>> Gate((0.1, 0.4), (0.0, 1.0)).share(0.2)
        0.5
        """
        if not self.steps or not self.steps[0] / _BEYOND <= step <= self.steps[-1] * _BEYOND:
            return 0.0
        if step <= self.steps[0]:
            return self.shares[0]
        for i, end in enumerate(self.steps[1:]):
            if step <= end:
                start = self.steps[i]
                part = math.log(step / start) / math.log(end / start)
                return self.shares[i] + part * (self.shares[i + 1] - self.shares[i])
        return self.shares[-1]


class Network(nn.Module):
    """R, and its gate.

    A new "unet" returns what it is given. Weights are kept in 16 bits: `settle` rounds them.

    Source: Rey-de-Castro & Rabitz 2018, section 5.4.

    Attributes:
        config: what it is.
        gate: how much of it `restore` uses; nothing until one is measured.
    """

    def __init__(self, config: NetworkConfig, gate: Gate | None = None) -> None:
        """Begin with weights that depend on the config alone."""
        super().__init__()
        self.config, self.gate = config, gate or Gate()
        self.layers = layers(
            config.form, config.channels, dims=config.dims, width=config.width, depth=config.depth
        )

    def forward(self, decoded: Tensor, step: Tensor) -> Tensor:
        """Return R's own answer, like what was decoded (B, C, ...), not held to [0, 1].

        Args:
            decoded: samples, or of kind "delta" differences.
            step: of the quantiser, (B,).
        """
        output: Tensor = self.layers(self._signal(decoded, step), torch.log2(step))
        before = self.base(decoded) if self.config.form == "unet" else MIDDLE
        return before + output.float()

    def base(self, decoded: Tensor) -> Tensor:
        """Return what there is without R, like what was decoded; differences, around grey."""
        return decoded + MIDDLE if self.config.kind == "delta" else decoded

    def _signal(self, decoded: Tensor, step: Tensor) -> Tensor:
        """Return what the layers see, like what was decoded: values of the order of one."""
        signal = decoded - MIDDLE
        if self.config.kind == "delta":  # of which some are no larger than 8/255
            signal = decoded / step.view(-1, *[1] * (decoded.ndim - 1))
        layout = torch.channels_last if decoded.ndim == 4 else torch.channels_last_3d
        return signal.contiguous(memory_format=layout)

    @torch.no_grad()
    def restore(self, decoded: Tensor, step: float, *, batch: int = 64) -> Tensor:
        """Return samples in [0, 1], like what was decoded: as much of R as its gate says.

        Args:
            decoded: samples (B, C, H, W) or (B, C, T, H, W), or of kind "delta" differences.
            step: of the quantiser they were coded with.
            batch: samples at once.

        Raises:
            ValueError: when R was made for something else.
        """
        self._check(decoded)
        plain, share = self.base(decoded).clamp(0, 1), self.gate.share(step)
        if share == 0:
            return plain
        device = next(self.parameters()).device
        parts = []
        for some, base in zip(torch.split(decoded, batch), torch.split(plain, batch), strict=True):
            steps = torch.full((len(some),), step, device=device)
            answer = self(some.to(device), steps).clamp(0, 1).to(base)
            parts.append(base + share * (answer - base))
        return torch.cat(parts).contiguous()

    def check_file(self, head: Head) -> None:
        """Refuse a file that is not for this network.

        Raises:
            FormatError: when it names another, or holds another kind of samples.
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

    def _check(self, decoded: Tensor) -> None:
        right = decoded.ndim == 2 + self.config.dims and decoded.shape[1] == self.config.channels
        if not right or not decoded.is_floating_point() or not decoded.numel():
            raise ValueError(
                f"decoded is {decoded.dtype} of shape {tuple(decoded.shape)}; the network is for "
                f"{self.config}"
            )

    @torch.no_grad()
    def settle(self) -> None:
        """Round the weights to the 16 bits that are kept of them."""
        for parameter in self.parameters():
            parameter.copy_(parameter.half())

    def parts(self) -> tuple[Tensors, dict[str, Any]]:
        """Return what it is made of: weights in float16, and the rest ready for JSON."""
        tensors = {
            name: t.detach().cpu().half().contiguous() for name, t in self.state_dict().items()
        }
        return tensors, {"config": asdict(self.config), "gate": asdict(self.gate)}

    @classmethod
    def of(cls, tensors: Tensors, rest: dict[str, Any]) -> "Network":
        """Make it of its parts again.

        Raises:
            ValueError: when they are not those of a network.
        """
        try:
            gate = {name: tuple(map(float, values)) for name, values in rest["gate"].items()}
            network = cls(NetworkConfig(**rest["config"]), Gate(**gate))
            network.load_state_dict({name: t.float() for name, t in tensors.items()})
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(f"these are no parts of a network: {error}") from error
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"{name} holds NaN or infinity")
        return network

    @property
    def digest(self) -> bytes:
        """Eight bytes that tell this network from others: weights, config and gate."""
        tensors, rest = self.parts()
        result = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
        for name in sorted(tensors):
            result.update(name.encode() + tensors[name].numpy().tobytes())
        return result.digest()[:8]
