"""Fitting of tables to quantised training samples."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from compress.entropy.coding_order import STATISTICS_CLASSES, TABLE_GROUPS
from compress.entropy.contexts import FEATURES, FLAG_CONTEXTS, PHASES, CodingUnit, traverse
from compress.entropy.rans import TOTAL
from compress.entropy.symbols import ESCAPE, FLOOR, SYMBOLS, Ints, to_symbols
from compress.entropy.tables import BINS, TABLES, UNIT, Tables
from compress.quantise.quantise import to_array
from compress.wavelet.transform import Coefficients

Floats = NDArray[np.float64]
_MAX_SAMPLES = 4000  # positions taken of a coding unit
_LARGEST_WEIGHT = 2**15 - 1


class StatisticsCollector:
    """A coder that collects flags, and features with their symbols."""

    def __init__(self) -> None:
        """Start without statistics."""
        self.flag_counts = np.zeros((STATISTICS_CLASSES * FLAG_CONTEXTS, 2))
        self.samples: dict[tuple[int, int], list[tuple[Floats, Ints]]] = defaultdict(list)

    def add(self, q: Coefficients, step: float) -> None:
        """Collect the statistics of coefficients (B, C, ...) quantised with a step."""
        traverse(self, to_symbols(np.abs(to_array(q))), q.bands, step)

    def flags(self, contexts: Ints, block: Ints) -> NDArray[np.bool_]:
        """Count the samples with a nonzero subband."""
        flags = np.asarray(block.any((1, 2, 3)))
        np.add.at(self.flag_counts, (contexts, flags.astype(int)), 1)
        return flags

    def symbols(self, unit: CodingUnit, part: Ints) -> Ints:
        """Keep features and symbols of evenly spread positions."""
        some = np.linspace(0, part.size - 1, min(part.size, _MAX_SAMPLES)).astype(int)
        none = np.zeros((1, 1, 1), np.int16)
        columns = [
            np.broadcast_to(none if f is None else f, unit.shape).ravel()[some]
            for f in unit.features
        ]
        sample = np.stack(columns, 1), part.ravel()[some]
        self.samples[unit.statistics_class, unit.phase].append(sample)
        return part


def fit_tables(statistics: StatisticsCollector) -> Tables:
    """Fit tables to collected statistics."""
    data = {
        key: (np.concatenate([f for f, _ in parts]), np.concatenate([s for _, s in parts]))
        for key, parts in statistics.samples.items()
    }
    weights = np.zeros((STATISTICS_CLASSES, len(PHASES), FEATURES), np.int32)
    for phase in range(len(PHASES)):
        own = {group: value for (group, p), value in data.items() if p == phase}
        if not own:
            continue
        pooled = _fit_weights(*(np.concatenate(list(v)) for v in zip(*own.values(), strict=True)))
        weights[:, phase] = _to_fixed_point(pooled)
        for group, (features, symbols) in own.items():
            weights[group, phase] = _to_fixed_point(_fit_weights(features, symbols, prior=pooled))
    counts = np.zeros((TABLES, SYMBOLS))
    blank = Tables(weights, np.zeros((TABLES, SYMBOLS), np.int32), np.ones(1, np.int32))
    for (group, phase), (features, symbols) in data.items():
        columns = [column.astype(np.int32).reshape(-1, 1, 1) for column in features.T]
        unit = CodingUnit(group, phase, columns, (len(symbols), 1, 1))
        np.add.at(counts, (blank.select_tables(unit), symbols), 1)
    smooth = np.stack([_normalise_counts(row) for row in _smooth_bins(counts)])
    share = (statistics.flag_counts[:, 0] + 0.5) / (statistics.flag_counts.sum(1) + 1)
    flags = np.clip(np.round(share * TOTAL), 1, TOTAL - 1).astype(np.int32)
    return Tables(weights, smooth, flags)


def _fit_weights(features: Floats, symbols: Ints, prior: Floats | None = None) -> Floats:
    """Fit weights (FEATURES,) that predict a magnitude from features (N, FEATURES).

    Ridge regression, each position weighted by one over the variance that its prediction implies.
    """
    f = features.astype(np.float64)
    m = FLOOR[np.minimum(symbols, ESCAPE - 1)].astype(np.float64)
    start = np.zeros(FEATURES) if prior is None else prior
    scale = np.maximum((f**2).mean(0), 1e-3)
    weights = start
    for round_ in range(6):
        predicted = f @ weights if round_ or prior is not None else np.full(len(f), m.mean())
        sure = 1 / np.maximum(predicted, 0.02) ** 1.5
        sure = sure / sure.mean()
        gram = (f * sure[:, None]).T @ f / len(f)
        ridge = np.diag(scale) * (50 / (50 + len(f)) if prior is not None else 1e-4)
        weights = np.linalg.solve(gram + ridge, (f * sure[:, None]).T @ m / len(f) + ridge @ start)
    return weights


def _to_fixed_point(weights: Floats) -> Ints:
    return np.clip(np.round(weights * UNIT), -_LARGEST_WEIGHT, _LARGEST_WEIGHT).astype(np.int32)


def _smooth_bins(counts: Floats) -> Floats:
    """Add to each bin 2 % of the counts of its neighbours."""
    out = counts.copy()
    grouped, by_group = out.reshape(TABLE_GROUPS, BINS, -1), counts.reshape(TABLE_GROUPS, BINS, -1)
    grouped[:, 1:] += 0.02 * by_group[:, :-1]
    grouped[:, :-1] += 0.02 * by_group[:, 1:]
    return out


def _normalise_counts(counts: Floats) -> Ints:
    """Scale counts to frequencies (SYMBOLS,) that sum to TOTAL, none 0 up to the largest seen."""
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
