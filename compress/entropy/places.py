"""The order in which bands are coded, and which of them tell about which."""

from dataclasses import dataclass

from compress.wavelet.bands import Band

LEVELS, TIMES, CHANNELS = 4, 3, 3  # how many of each have statistics of their own
_SPACE = 1 + 3 * LEVELS
KINDS = CHANNELS * _SPACE * TIMES
GROUPS = 1 + LEVELS  # of kinds that share tables: the low-pass bands, and those of a level


@dataclass(frozen=True)
class Place:
    """A band of a channel.

    Attributes:
        band: the band.
        channel: the channel.
        parent: the band of the same orientation one level coarser, if there is one.
        siblings: bands of the same level that come before.
        slower: the like band one level coarser in time, if there is one.
        kind: which statistics it shares, in [0, KINDS).
    """

    band: Band
    channel: int
    parent: Band | None
    siblings: tuple[Band, ...]
    slower: Band | None
    kind: int


def places(bands: list[Band], channels: int) -> list[Place]:
    """Return the bands of all channels in the order in which they are coded."""
    known: dict[tuple[int, int, tuple[bool, bool, bool]], Band] = {}
    out = []
    for band in bands:
        level, time, high = band.level, band.time_level, band.high
        same = [known.get((level, time, (high[0], *o))) for o in ((False, True), (True, False))]
        is_low = not any(high[1:])
        parent = None if is_low else known.get((level + 1, time, high))
        siblings = tuple(b for b in same if b is not None and not is_low)
        # The slowest high-pass piece has as many frames as the low-pass one, the next twice.
        slower = known.get((level, time + 1, high)) if high[0] else None
        known[level, time, high] = band
        out += [Place(band, c, parent, siblings, slower, _kind(band, c)) for c in range(channels)]
    return out


def group_of(kind: int) -> int:
    """Return which tables a kind shares: 0 in low-pass bands, else its level."""
    space = kind // TIMES % _SPACE
    return (space + 2) // 3


def _kind(band: Band, channel: int) -> int:
    orientation = 2 * band.high[1] + band.high[2]  # 0 is low-pass in both
    space = 3 * (min(band.level, LEVELS) - 1) + orientation if orientation else 0
    time = min(band.time_level, TIMES - 1) if band.high[0] else 0
    return (min(channel, CHANNELS - 1) * _SPACE + space) * TIMES + time
