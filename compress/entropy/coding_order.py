"""The order in which subbands are coded, and the coded subbands that each is predicted from."""

from dataclasses import dataclass

from compress.wavelet.bands import Band

LEVELS, TIMES, CHANNELS = 4, 3, 3  # how many of each have statistics of their own
_SPACE = 1 + 3 * LEVELS
STATISTICS_CLASSES = CHANNELS * _SPACE * TIMES
TABLE_GROUPS = 1 + LEVELS  # of classes that share tables: the low-pass bands, and those of a level


@dataclass(frozen=True)
class SubbandChannel:
    """A subband of one channel.

    Attributes:
        band: the band.
        channel: the channel.
        parent: the band of the same orientation one level coarser, if there is one.
        siblings: bands of the same level that come before.
        slower: the like band one level coarser in time, if there is one.
        statistics_class: which statistics it shares, in [0, STATISTICS_CLASSES).
    """

    band: Band
    channel: int
    parent: Band | None
    siblings: tuple[Band, ...]
    slower: Band | None
    statistics_class: int


def coding_order(bands: list[Band], channels: int) -> list[SubbandChannel]:
    """List the subbands of all channels in the order in which they are coded."""
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
        out += [
            SubbandChannel(band, c, parent, siblings, slower, _statistics_class(band, c))
            for c in range(channels)
        ]
    return out


def table_group(statistics_class: int) -> int:
    """Return which tables a statistics class shares: 0 for low-pass bands, else its level."""
    space = statistics_class // TIMES % _SPACE
    return (space + 2) // 3


def _statistics_class(band: Band, channel: int) -> int:
    orientation = 2 * band.high[1] + band.high[2]  # 0 is low-pass in both
    space = 3 * (min(band.level, LEVELS) - 1) + orientation if orientation else 0
    time = min(band.time_level, TIMES - 1) if band.high[0] else 0
    return (min(channel, CHANNELS - 1) * _SPACE + space) * TIMES + time
