"""The entropy coder: everything comes back, in as many bits as information theory asks for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.entropy.rans import TOTAL, Frequencies, RansDecoder, rans_encode
from compress.entropy.symbols import (
    ESCAPE,
    FLOOR,
    LARGEST,
    pack_raw_bits,
    to_symbols,
    unpack_raw_bits,
)
from compress.errors import FormatError


def random_tables(rng, tables, symbols):
    shares = rng.dirichlet(np.full(symbols, 0.3), tables)
    of = np.maximum((shares * (TOTAL - symbols)).astype(np.int32), 1)
    of[np.arange(tables), of.argmax(1)] += TOTAL - of.sum(1).astype(np.int32)
    return of


def coded(of, cuts, lanes, rng):
    """Draw symbols with the frequencies of tables, and code them in batches."""
    frequencies = Frequencies(of)
    tables = [rng.integers(0, len(of), n).astype(np.int32) for n in cuts]
    symbols = [
        np.array([rng.choice(of.shape[1], p=of[t] / TOTAL) for t in batch], np.int32)
        for batch in tables
    ]
    start = rng.integers(0, 2**16, lanes).astype(np.uint16)
    spans = [frequencies.spans(t, s) for t, s in zip(tables, symbols, strict=True)]
    return frequencies, tables, symbols, start, rans_encode(spans, lanes, start)


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 40), max_size=6),
    st.integers(1, 50),
    st.integers(1, 5),
)
def test_everything_comes_back(seed, cuts, lanes, tables):
    rng = np.random.default_rng(seed)
    of = random_tables(rng, tables, 7)
    frequencies, numbers, symbols, start, (state, words) = coded(of, cuts, lanes, rng)
    decoder = RansDecoder(state, words, rows=10_000, batches=99)
    for table, want in zip(numbers, symbols, strict=True):
        np.testing.assert_array_equal(decoder.take(frequencies, table), want)
    np.testing.assert_array_equal(decoder.rest(), start)


@pytest.mark.parametrize("lanes", [1, 16])
def test_the_size_is_the_information(lanes):
    rng = np.random.default_rng(0)
    of = random_tables(rng, 4, 20)
    _, numbers, symbols, _, (_, words) = coded(of, [20_000], lanes, rng)
    bits = -np.log2(of[numbers[0], symbols[0]] / TOTAL).sum()
    # 32 bits of state a lane, 16 of which the start gave it
    assert bits <= 16 * len(words) + 16 * lanes < 1.001 * bits + 16 * lanes


def test_a_certain_symbol_costs_nothing_and_a_rare_one_its_share():
    certain = Frequencies(np.array([[TOTAL - 1, 1]], np.int32))
    zeros = np.zeros(1000, np.int32)
    _, words = rans_encode([certain.spans(zeros, zeros)], 1, np.zeros(1, np.uint16))
    assert len(words) == 0
    rare = np.ones(8, np.int32)
    _, words = rans_encode([certain.spans(rare * 0, rare)], 1, np.zeros(1, np.uint16))
    assert len(words) == 14 * 8 // 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state, code: (state & 0xFFFF, code), "out of range"),
        (lambda state, code: (state, code[:-1]), "too early"),
        (lambda state, code: (state, np.append(code, np.uint16(1))), "goes on"),
    ],
)
def test_damage_is_noticed(change, words):
    rng = np.random.default_rng(0)
    frequencies, numbers, _, _, (state, code) = coded(random_tables(rng, 2, 9), [300], 3, rng)
    state, code = change(state, code)

    def decode():
        decoder = RansDecoder(state.astype(np.uint32), code, rows=1000, batches=1)
        decoder.take(frequencies, numbers[0])
        decoder.rest()

    with pytest.raises(FormatError, match=words):
        decode()


def test_time_is_bounded():
    rng = np.random.default_rng(0)
    frequencies, numbers, _, _, (state, code) = coded(random_tables(rng, 2, 9), [300], 3, rng)
    for rows, batches in ((99, 1), (100, 0)):
        with pytest.raises(FormatError, match="no such code"):
            RansDecoder(state, code, rows=rows, batches=batches).take(frequencies, numbers[0])


@given(st.lists(st.integers(-LARGEST, LARGEST).filter(bool), max_size=50), st.data())
def test_raw_bits_come_back(values, data):
    values = np.array(values, np.int32)
    symbols = to_symbols(np.abs(values))
    escaped = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    symbols = np.where(np.array(escaped, bool), ESCAPE, symbols).astype(np.int32)
    packed = pack_raw_bits(values, symbols)
    np.testing.assert_array_equal(unpack_raw_bits(packed, symbols), values)
    if len(values):
        with pytest.raises(FormatError, match="raw bits"):
            unpack_raw_bits(packed[:-1], symbols)


def test_buckets_hold_what_their_floors_say():
    magnitude = np.concatenate([np.arange(3000), [4095, 4096, 70_000, LARGEST]]).astype(np.int32)
    got = to_symbols(magnitude)
    ceiling = np.append(FLOOR[1:], LARGEST + 1)
    assert (FLOOR[got] <= magnitude).all()
    assert (magnitude < ceiling[got]).all()
    np.testing.assert_array_equal(got[:-4], to_symbols(magnitude[:-4]))
