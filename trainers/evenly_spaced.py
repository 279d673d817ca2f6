"""Some of many samples."""


def evenly_spaced(samples: int, count: int) -> list[int]:
    """Choose `count` rows at even distances among the samples, all of them when there are fewer.

    >>> evenly_spaced(10, 3)
    [0, 3, 6]
    """
    count = min(samples, count)
    return [i * samples // count for i in range(count)]
