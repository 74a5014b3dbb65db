"""Eyeriss's run-length code of feature maps (Chen et al., JSSC 2017, section IV): 64-bit words of three pairs.

A pair is a run of zeros, 5 bits, and the value after it, 16 bits; the last bit of a word marks the last word. A run of
more than 31 zeros takes pairs whose value is 0; the end of the data is filled with such pairs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError

RUN_BITS: Final = 5
LONGEST: Final = (1 << RUN_BITS) - 1
VALUE_BITS: Final = 16
PAIRS: Final = 3
WORDS_A_PAIR: Final = 64 / PAIRS / VALUE_BITS


def encode(values: NDArray[np.int16]) -> NDArray[np.uint64]:
    """The words of these values, in their order; int16 of any shape. Raises HardwareError for another type."""
    if values.dtype != np.int16:
        raise HardwareError(f"Eyeriss codes int16 values, found {values.dtype}")
    flat = values.reshape(-1)
    if not flat.size:
        return np.zeros(0, np.uint64)
    places = np.flatnonzero(flat)
    runs = np.diff(places, prepend=-1) - 1
    if not places.size or places[-1] != flat.size - 1:  # zeros at the end: the last one is coded
        last = places[-1] if places.size else -1
        runs, places = np.append(runs, flat.size - last - 2), np.append(places, flat.size - 1)
    extra = runs // (LONGEST + 1)
    ends = np.cumsum(extra + 1) - 1
    count = int(ends[-1]) + 1
    padded = -(-count // PAIRS) * PAIRS
    coded_runs, coded = np.full(padded, LONGEST, np.uint64), np.zeros(padded, np.uint64)
    coded_runs[ends] = runs % (LONGEST + 1)
    coded[ends] = flat[places].view(np.uint16)
    coded_runs[count:] = 0
    pairs = ((coded_runs << VALUE_BITS) | coded).reshape(-1, PAIRS)
    words = np.zeros(len(pairs), np.uint64)
    for index in range(PAIRS):
        words |= pairs[:, index] << np.uint64(1 + index * (RUN_BITS + VALUE_BITS))
    words[-1] |= np.uint64(1)
    return words


def decode(words: NDArray[np.uint64], count: int) -> NDArray[np.int16]:
    """`count` values from their words. Raises HardwareError when the words are cut off or hold another number."""
    if not count and not words.size:
        return np.zeros(0, np.int16)
    if words.dtype != np.uint64 or not words.size or not words[-1] & np.uint64(1) or (words[:-1] & np.uint64(1)).any():
        raise HardwareError("a run-length code is 64-bit words, of which the last and no other is marked as such")
    shifts = np.arange(PAIRS, dtype=np.uint64) * np.uint64(RUN_BITS + VALUE_BITS) + np.uint64(1)
    pairs = (words[:, None] >> shifts) & np.uint64((1 << RUN_BITS + VALUE_BITS) - 1)
    runs = (pairs >> np.uint64(VALUE_BITS)).astype(np.int64).reshape(-1)
    ends = np.cumsum(runs + 1) - 1
    if not 0 <= ends[-1] - count + 1 < PAIRS:
        raise HardwareError(f"the words hold {ends[-1] + 1} values with their filling; {count} were asked for")
    values = np.zeros(int(ends[-1]) + 1, np.int16)
    values[ends] = (pairs & np.uint64((1 << VALUE_BITS) - 1)).astype(np.uint16).reshape(-1).view(np.int16)
    return values[:count]


def coded_words(elements: int, density: float) -> float:
    """Words of 16 bits that so many values take when zeros lie at random, or as they are where that is shorter.

    A pair ends at a value, or after 32 zeros: of d values that are not zero, 1 / (1 − (1 − d)³²) pairs each.
    """
    if density <= 0:
        return elements / (LONGEST + 1) * WORDS_A_PAIR
    pairs = density / (1 - (1 - density) ** (LONGEST + 1))
    return min(1.0, pairs * WORDS_A_PAIR) * elements
