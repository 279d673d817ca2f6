"""From quantised training samples to tables."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from compress.entropy.contexts import FEATURES, PHASES, Ints
from compress.entropy.places import GROUPS, KINDS
from compress.entropy.rans import TOTAL
from compress.entropy.symbols import ESCAPE, FLOOR, SYMBOLS
from compress.entropy.tables import BINS, TABLES, UNIT, Tables
from compress.entropy.traversal import FLAG_CONTEXTS, Spot

Floats = NDArray[np.float64]
_MOST = 4000  # places taken of a phase of a frame
_LARGEST_WEIGHT = 2**15 - 1


class Gatherer:
    """A coder that takes notes."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.flag_counts = np.zeros((KINDS * FLAG_CONTEXTS, 2))
        self.seen: dict[tuple[int, int], list[tuple[Floats, Ints]]] = defaultdict(list)

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Count who has anything."""
        has = np.asarray(block.any((1, 2, 3)))
        np.add.at(self.flag_counts, (contexts, has.astype(int)), 1)
        return has

    def symbols(self, spot: Spot, part: Ints) -> Ints:
        """Keep features and symbols of some places, spread evenly."""
        some = np.linspace(0, part.size - 1, min(part.size, _MOST)).astype(int)
        none = np.zeros((1, 1, 1), np.int16)
        columns = [
            np.broadcast_to(none if f is None else f, spot.shape).ravel()[some]
            for f in spot.features
        ]
        self.seen[spot.kind, spot.phase].append((np.stack(columns, 1), part.ravel()[some]))
        return part


def fit_tables(gathered: Gatherer) -> Tables:
    """Return tables that suit what was gathered."""
    data = {
        key: (np.concatenate([f for f, _ in parts]), np.concatenate([s for _, s in parts]))
        for key, parts in gathered.seen.items()
    }
    weights = np.zeros((KINDS, len(PHASES), FEATURES), np.int32)
    for phase in range(len(PHASES)):
        own = {kind: value for (kind, p), value in data.items() if p == phase}
        if not own:
            continue
        pooled = _expectation(*(np.concatenate(list(v)) for v in zip(*own.values(), strict=True)))
        weights[:, phase] = _whole(pooled)
        for kind, (features, symbols) in own.items():
            weights[kind, phase] = _whole(_expectation(features, symbols, prior=pooled))
    counts = np.zeros((TABLES, SYMBOLS))
    blank = Tables(weights, np.zeros((TABLES, SYMBOLS), np.int32), np.ones(1, np.int32))
    for (kind, phase), (features, symbols) in data.items():
        columns = [column.astype(np.int32).reshape(-1, 1, 1) for column in features.T]
        spot = Spot(kind, phase, columns, (len(symbols), 1, 1))
        np.add.at(counts, (blank.choose(spot), symbols), 1)
    smooth = np.stack([_frequencies(row) for row in _shared(counts)])
    share = (gathered.flag_counts[:, 0] + 0.5) / (gathered.flag_counts.sum(1) + 1)
    flags = np.clip(np.round(share * TOTAL), 1, TOTAL - 1).astype(np.int32)
    return Tables(weights, smooth, flags)


def _expectation(features: Floats, symbols: Ints, prior: Floats | None = None) -> Floats:
    """Return weights by which features let expect a magnitude, (FEATURES,).

    Least squares, each place weighted by one over the variance that its expectation implies.
    """
    f = features.astype(np.float64)
    m = FLOOR[np.minimum(symbols, ESCAPE - 1)].astype(np.float64)
    start = np.zeros(FEATURES) if prior is None else prior
    scale = np.maximum((f**2).mean(0), 1e-3)
    weights = start
    for round_ in range(6):
        expected = f @ weights if round_ or prior is not None else np.full(len(f), m.mean())
        sure = 1 / np.maximum(expected, 0.02) ** 1.5
        sure = sure / sure.mean()
        gram = (f * sure[:, None]).T @ f / len(f)
        pull = np.diag(scale) * (50 / (50 + len(f)) if prior is not None else 1e-4)
        weights = np.linalg.solve(gram + pull, (f * sure[:, None]).T @ m / len(f) + pull @ start)
    return weights


def _whole(weights: Floats) -> Ints:
    return np.clip(np.round(weights * UNIT), -_LARGEST_WEIGHT, _LARGEST_WEIGHT).astype(np.int32)


def _shared(counts: Floats) -> Floats:
    """Let each bin take a little from those beside it."""
    out = counts.copy()
    grouped, by_group = out.reshape(GROUPS, BINS, -1), counts.reshape(GROUPS, BINS, -1)
    grouped[:, 1:] += 0.02 * by_group[:, :-1]
    grouped[:, :-1] += 0.02 * by_group[:, 1:]
    return out


def _frequencies(counts: Floats) -> Ints:
    """Return frequencies (SYMBOLS,) that add up to TOTAL, none of them 0 up to the largest seen."""
    counts = counts.copy()
    if not counts.sum():
        counts[:ESCAPE] = 1 / (1 + FLOOR)
    used = counts > 0
    used[: max(int(np.flatnonzero(used)[-1]) + 2, 3)] = True
    used[ESCAPE] = True
    counts[used] += 0.1
    free = TOTAL - int(used.sum())
    whole = np.floor(counts / counts.sum() * free).astype(np.int32) + used
    whole[np.argmax(whole)] += TOTAL - whole.sum()
    return np.asarray(whole, np.int32)
