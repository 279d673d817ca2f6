"""The package imagecorruptions (1.1.2, of 2020) under today's libraries, with our random numbers.

It is a port of the code of Hendrycks and Dietterich 2019 with the parameters of ImageNet-C. Names
that it takes from libraries and that are gone since are replaced; its functions are as they came.
"""

import importlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from attacks.common.randomness import generator_for

Array = np.ndarray[Any, Any]
Given = dict[str, list[Array]]


def load() -> ModuleType:
    """Import imagecorruptions.

    Raises:
        ImportError: when it is not installed, or scikit-image or OpenCV, which it needs.
    """
    files = ModuleType("pkg_resources")
    vars(files)["resource_filename"] = _resource
    sys.modules.setdefault(files.__name__, files)
    reference = importlib.import_module("imagecorruptions.corruptions")
    filters = importlib.import_module("skimage.filters")

    def gaussian(x: Array, sigma: Any, multichannel: bool = False, **options: Any) -> Array:
        axis = -1 if multichannel else None
        blurred: Array = filters.gaussian(x, sigma, channel_axis=axis, **options)
        return blurred

    reference.gaussian = gaussian  # type: ignore[attr-defined]
    return reference


def _resource(module: str, name: str) -> str:
    return str(Path(str(sys.modules[module].__file__)).parent / name)


def corrupt(
    reference: ModuleType, name: str, image: Array, severity: int, given: Given | None = None
) -> Array:
    """Corrupt bytes (H, W, 3) or (H, W) as the package does before it cuts off what is no byte.

    Args:
        reference: the package.
        name: of the corruption.
        image: the bytes.
        severity: 1 to 5.
        given: the random numbers that it is to take, by function; None for its own.

    Returns:
        (H, W, 3) or (H, W) from 0 to 255.
    """
    own = reference.np, reference.sk
    if given is not None:
        random = _GivenNumbers(given)
        reference.np = SimpleNamespace(**vars(np) | {"random": random, "float_": float})  # type: ignore[attr-defined]
        noise = _with_rng(reference.sk.util.random_noise, _GivenGenerator(given))
        util = SimpleNamespace(random_noise=noise)
        reference.sk = SimpleNamespace(util=util, color=reference.sk.color)  # type: ignore[attr-defined]
    else:
        reference.np = SimpleNamespace(**vars(np) | {"float_": float})  # type: ignore[attr-defined]
    try:
        out = getattr(reference, name)(Image.fromarray(image), severity)
    finally:
        reference.np, reference.sk = own  # type: ignore[attr-defined]
    return np.asarray(out, dtype=np.float64)


def _with_rng(function: Callable[..., Array], rng: np.random.Generator) -> Callable[..., Array]:
    def noisy(x: Array, **options: Any) -> Array:
        return function(x, rng=rng, **options)

    return noisy


class _GivenNumbers:
    """Stands in for `numpy.random`, and hands out numbers in turn: of u uniform in [0, 1)."""

    def __init__(self, given: Given) -> None:
        self.left: dict[str, Iterator[Array]] = {name: iter(rows) for name, rows in given.items()}

    def normal(self, loc: float = 0, scale: float = 1, size: Any = None) -> Array:
        return loc + scale * self._next("normal", size)

    def uniform(self, low: float, high: float, size: Any = None) -> Array:
        return low + (high - low) * self._next("uniform", size)

    def poisson(self, lam: Array) -> Array:
        return self._next("poisson", lam.shape)

    def randint(self, low: int, high: int, size: Any = None) -> Array:
        return self._next("randint", size)

    def _next(self, name: str, size: Any) -> Array:
        value = next(self.left[name])
        return value.item() if size is None else value.reshape(size)  # type: ignore[return-value]


class _GivenGenerator(np.random.Generator):
    """A generator whose uniform numbers are given."""

    def __init__(self, given: Given) -> None:
        super().__init__(np.random.PCG64())
        self.left = iter(given.get("random", ()))

    def random(self, size: Any = None, *rest: Any, **more: Any) -> Any:
        return next(self.left).reshape(size)


def our_numbers(name: str, x: torch.Tensor, severity: int, *, seed: int, sample_id: int) -> Given:
    """Return the random numbers that our corruption of an image x (C, H, W) draws, by function.

    Those of shot noise are photons, which follow from x and the severity.
    """
    g = generator_for(seed, "corruption", name, severity, sample_id)
    draw = DRAWS.get(name)
    found: Given = defaultdict(list)
    if draw is not None:
        for function, numbers in draw(g, x, severity):
            found[function].append((numbers if function == "randint" else numbers.double()).numpy())
    return found


Drawn = Iterator[tuple[str, torch.Tensor]]


def _gaussian(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    yield "normal", torch.randn(x.shape, generator=g).movedim(0, -1)  # (H, W, C)


def _shot(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    photons = (60, 25, 12, 5, 3)[severity - 1]
    yield "poisson", torch.poisson(x * photons, generator=g).movedim(0, -1)


def _impulse(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    u = torch.rand(x.shape, generator=g).movedim(0, -1)
    yield "random", ((u >= share / 2) & (u < 1 - share / 2)).float()  # 0: flipped
    yield "random", (u < 0.5).float()  # 0: to white


def _glass(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    reach, times = ((1, 2), (2, 1), (2, 3), (3, 2), (4, 2))[severity - 1]
    for _ in range(times):
        u = torch.rand(2, x.shape[1] - 2 * reach, x.shape[2] - 2 * reach, generator=g)
        steps = (u * 2 * reach).long() - reach
        for pair in steps.flatten(1).flip(1).T:
            yield "randint", pair


def _motion(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    yield "uniform", torch.rand(1, generator=g)


def _snow(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    yield "uniform", torch.rand(1, generator=g)
    yield "normal", torch.randn(x.shape[1:], generator=g)


def _fog(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    step = 1 << (max(x.shape) - 1).bit_length()
    cells = 1
    while step >= 2:
        for _ in range(3):
            yield "uniform", torch.rand(cells, cells, generator=g)
        step, cells = step // 2, cells * 2


def _elastic(g: torch.Generator, x: torch.Tensor, severity: int) -> Drawn:
    yield from (("uniform", u) for u in torch.rand(2, *x.shape[1:], generator=g))


DRAWS: dict[str, Callable[[torch.Generator, torch.Tensor, int], Drawn]] = {
    "gaussian_noise": _gaussian,
    "shot_noise": _shot,
    "impulse_noise": _impulse,
    "glass_blur": _glass,
    "motion_blur": _motion,
    "snow": _snow,
    "fog": _fog,
    "elastic_transform": _elastic,
}
