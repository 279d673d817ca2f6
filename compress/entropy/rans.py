"""Range asymmetric numeral systems, interleaved: many lanes in step, one stream of words.

A state lies in [2^16, 2^32) and gives or takes 16 bits at a time. A batch of symbols is dealt
to the lanes from the first one on, row after row; each row is a few operations on arrays. All is
integer arithmetic: every machine gets the same.

Source: Duda 2013; interleaving: Giesen 2014.
"""

import numpy as np
from numpy.typing import NDArray

from compress.errors import FormatError

SCALE_BITS = 14  # the frequencies of a table add up to 2^14
TOTAL = 1 << SCALE_BITS
_LOW = np.uint32(1 << 16)
_SHIFT = np.uint32(16)
_BITS = np.uint32(SCALE_BITS)
_MASK = np.uint32(TOTAL - 1)

Ints = NDArray[np.int32]
States = NDArray[np.uint32]
Words = NDArray[np.uint16]


class Frequencies:
    """Tables of symbol frequencies, each adding up to TOTAL.

    Attributes:
        of: how often each symbol is, (tables, symbols).
    """

    def __init__(self, of: Ints) -> None:
        """Prepare both directions; a symbol of frequency 0 cannot be coded."""
        self.of = of
        below = np.cumsum(of, axis=1) - of
        self._symbols = of.shape[1]
        self._of = of.astype(np.uint32).ravel()
        self._below = below.astype(np.uint32).ravel()
        self._at: NDArray[np.uint8] | None = None

    def spans(self, table: Ints, symbol: Ints) -> tuple[States, States]:
        """Look up the frequency and the cumulative frequency of symbols (N,)."""
        index = table * self._symbols + symbol
        return self._of[index], self._below[index]

    def find(self, table: Ints, slot: States) -> tuple[NDArray[np.uint8], States, States]:
        """Look up the symbols (N,) at slots in [0, TOTAL), and their `spans`."""
        if self._at is None:
            row = np.arange(self._symbols, dtype=np.uint8)
            self._at = np.concatenate([np.repeat(row, of) for of in self.of])
        symbol = self._at[(table << SCALE_BITS) + slot.view(np.int32)]
        return symbol, *self.spans(table, symbol)


Batch = tuple[States, States]


def rans_encode(batches: list[Batch], lanes: int, start: Words) -> tuple[States, Words]:
    """Encode batches of symbols; `RansDecoder` returns them in the same order.

    Args:
        batches: frequencies and cumulative frequencies, each (N,), see `Frequencies.spans`.
        lanes: how many states are interleaved.
        start: 16 payload bits of each initial state, (lanes,); `RansDecoder.rest` returns them.

    Returns:
        Final states (lanes,) and words, with which decoding starts.
    """
    state = start.astype(np.uint32) + _LOW
    out: list[Words] = []
    for of, below in reversed(batches):
        most = (of << (np.uint32(32) - _BITS)) - np.uint32(
            1
        )  # largest state before renormalisation
        gap = np.uint32(TOTAL) - of
        for begin in reversed(range(0, len(of), lanes)):
            row = slice(begin, begin + lanes)
            f = of[row]
            x = state[: len(f)]  # a view
            full = np.flatnonzero(x > most[row])
            out.append(x[full].astype(np.uint16))
            x[full] >>= _SHIFT
            x += x // f * gap[row] + below[row]
    return state, np.concatenate([*reversed(out), np.empty(0, np.uint16)])


class RansDecoder:
    """Decodes symbols from a stream, in the order in which `rans_encode` was given them."""

    def __init__(self, state: States, words: Words, *, rows: int, batches: int) -> None:
        """Start from the states (lanes,) and words of `rans_encode`.

        Args:
            state: final states of the encoder.
            words: its words.
            rows: most full rows to decode, which bounds the time.
            batches: most batches to decode.

        Raises:
            FormatError: for a state out of range.
        """
        if (state < _LOW).any():
            raise FormatError("a state of the entropy coder is out of range")
        self._state, self._words, self._next = state.copy(), words, 0
        self._rows, self._batches = rows, batches

    def take(self, frequencies: Frequencies, tables: Ints) -> Ints:
        """Decode the next symbols (N,), each with a table of its own (N,).

        Raises:
            FormatError: for a stream that ends early, or asks for too many rows or batches.
        """
        out, lanes = np.empty(len(tables), np.int32), len(self._state)
        self._rows -= len(tables) // lanes
        self._batches -= 1
        if self._rows < 0 or self._batches < 0:
            raise FormatError(f"{lanes} lanes and {len(self._words)} words hold no such code")
        for begin in range(0, len(tables), lanes):
            table = tables[begin : begin + lanes]
            x = self._state[: len(table)]
            slot = x & _MASK
            symbol, f, c = frequencies.find(table, slot)
            x = f * (x >> _BITS) + slot - c
            low = np.flatnonzero(x < _LOW)
            words = self._words[self._next : self._next + len(low)]
            if len(words) < len(low):
                raise FormatError("the entropy code ends too early")
            x[low] = (x[low] << _SHIFT) | words
            self._next += len(low)
            self._state[: len(table)] = x
            out[begin : begin + lanes] = symbol
        return out

    def rest(self) -> Words:
        """Return the payload bits of the encoder's initial states, (lanes,).

        Raises:
            FormatError: for words left over, or states that are no initial states.
        """
        if self._next != len(self._words) or (self._state >= 2 * _LOW).any():
            raise FormatError("the entropy code goes on after its last symbol")
        return (self._state - _LOW).astype(np.uint16)
