"""The one walk over the bands that encoding, decoding and fitting share."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from compress.entropy.contexts import CAP, PHASES, Feature, Ints, Rows, Small, moving, steady
from compress.entropy.places import Place
from compress.entropy.symbols import SEEN

_SEEN = np.minimum(SEEN, CAP).astype(np.int16)
FLAG_CONTEXTS = 4


@dataclass(frozen=True)
class Spot:
    """What is coded at once: a phase of a frame of a band of a channel.

    Attributes:
        kind: which statistics it shares.
        phase: which of PHASES.
        features: what is known of each place, broadcast to its shape (A, h', w').
        shape: that shape.
    """

    kind: int
    phase: int
    features: list[Feature]
    shape: tuple[int, int, int]


class Coder(Protocol):
    """Gives or takes what is coded."""

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Return which samples have anything in a band; contexts (B,), symbols (B, t, h, w)."""

    def symbols(self, spot: Spot, part: Ints) -> Ints:
        """Return the symbols of a phase, (A, h', w'); `part` has them where they are known."""


def traverse(coder: Coder, symbols: Ints, places: list[Place], *, fineness: int) -> None:
    """Walk over all coefficients in the order of the code.

    Args:
        coder: asked for everything, in turn.
        symbols: of all samples, (B, C, T, H, W); what the coder returns is written there.
        places: bands and channels, in their order.
        fineness: of the quantiser, a feature.
    """
    seen = np.zeros(symbols.shape, np.int16)
    full: dict[tuple[object, int], NDArray[np.bool_]] = {}
    nothing = np.zeros(len(symbols), np.bool_)
    for place in places:
        t, h, w = place.band.where
        block = symbols[:, place.channel, t, h, w]  # a view, (B, t, h, w)
        above = full.get((place.parent or place.slower, place.channel), nothing)
        beside = full.get((place.band, place.channel - 1), nothing)
        for sibling in place.siblings:
            beside = beside | full[sibling, place.channel]
        contexts = place.kind * FLAG_CONTEXTS + 2 * above.astype(np.int32) + beside
        full[place.band, place.channel] = has = coder.flags(contexts.astype(np.int32), block)
        if has.all():
            _band(coder, place, block, seen, slice(None), fineness)
        elif has.any():
            _band(coder, place, block, seen, np.flatnonzero(has), fineness)


def _at(feature: Feature, y: int, x: int) -> Feature:
    """Return a feature (A, h, w) at the places of a phase; one of size 1 is the same everywhere."""
    if feature is None or feature.shape[1:] == (1, 1):
        return feature
    return feature[:, y::2, x::2]


def _band(coder: Coder, place: Place, block: Ints, seen: Small, rows: Rows, fineness: int) -> None:
    """Walk over a band of the samples that have anything in it."""
    frames, h, w = place.band.shape
    where_t, where_h, where_w = place.band.where
    for frame in range(frames):
        fixed = steady(seen, rows, place, frame, fineness)
        inside = np.zeros((len(block[rows]), h + 2, w + 2), np.int16)
        for phase, (y, x) in enumerate(PHASES):
            part = block[rows, frame, y::2, x::2]  # (A, h', w')
            if not part.size:
                continue
            features = [_at(f, y, x) for f in fixed] + moving(inside, (y, x))
            spot = Spot(place.kind, phase, features, part.shape)
            part = coder.symbols(spot, part)
            block[rows, frame, y::2, x::2] = part
            inside[:, 1 + y : 1 + h : 2, 1 + x : 1 + w : 2] = _SEEN[part]
        seen[rows, place.channel, where_t.start + frame, where_h, where_w] = inside[:, 1:-1, 1:-1]
