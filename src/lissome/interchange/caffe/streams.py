"""Song Han's file of Deep Compression: for each layer a codebook, a bias, codes, and gaps between what was not pruned.

The file has no header beyond the counts: which layers there are, and their shapes, the network description says. All
little-endian, without padding, layers in the description's order:

1. For every layer a uint32: n, the number of its entries, fillers included.
2. For every layer: the codebook, float32, 256 of them, or 16 for a layer whose name lacks "conv"; the bias, float32,
   one an output; n codes, 8 or 4 bits wide; n gaps, 4 bits wide. What is 4 bits wide lies two to a byte, the first in
   the low half; a last half left over means nothing.

Entry i lies at position Σ_{j ≤ i} (gap_j + 1) − 1 of the weight in row-major order. A gap of more than 15 is made of
fillers, entries of gap 15 and code 0, whose value in the codebook is zero: no code 0 is a weight. (github.com/songhan/
SqueezeNet-Deep-Compression, decode.py; the coding is that of Han et al., ICLR 2016, figure 2.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lissome.errors import FormatError, WeightError
from lissome.weights import Codebook, CodedWeight, Dense, Sparse


@dataclass(frozen=True)
class Layer:
    """A layer with weights. bias: name of its bias, "" when it has none; shape: of its weight, outputs first."""

    name: str
    weight: str
    bias: str
    shape: tuple[int, ...]

    @property
    def code_bits(self) -> int:
        """Width of a code: the file does not say it, the layer's name does."""
        return 8 if "conv" in self.name else 4


def read(data: bytes, layers: Sequence[Layer], where: str) -> dict[str, CodedWeight]:
    """The weights of `layers` by name: Sparse of Codebook, and Dense biases. `where` names the file in errors.

    Codes and codebooks stay as they are; fillers, which stand for nothing, go. Raises FormatError for a file that is
    longer or shorter than the layers ask for, or whose entries reach past the end of a weight, naming the layer.
    """
    if len(data) < 4 * len(layers):
        raise FormatError(f"{where}: {len(data):,} bytes are too few for the {len(layers)} layers that are described")
    counts = np.frombuffer(data, "<u4", len(layers)).astype(np.int64)
    sizes = [_sizes(layer, int(count)) for layer, count in zip(layers, counts, strict=True)]
    wanted = 4 * len(layers) + sum(map(sum, sizes))
    if len(data) != wanted:
        raise FormatError(
            f"{where}: {len(data):,} bytes where the network description and the counts of entries ask for {wanted:,}; "
            "the file is damaged, or belongs to another network"
        )
    weights: dict[str, CodedWeight] = {}
    at = 4 * len(layers)
    for layer, count, lengths in zip(layers, counts, sizes, strict=True):
        parts = []
        for length in lengths:
            parts.append(data[at : at + length])
            at += length
        try:
            weights |= _decode(layer, int(count), parts)
        except (FormatError, WeightError) as error:
            raise FormatError(f"{where}: layer {layer.name!r}: {error}") from None
    return weights


def _sizes(layer: Layer, count: int) -> tuple[int, int, int, int]:
    """Bytes of codebook, bias, codes and gaps."""
    outputs = layer.shape[0] if layer.bias else 0
    return 4 * 2**layer.code_bits, 4 * outputs, (count * layer.code_bits + 7) // 8, (count + 1) // 2


def _decode(layer: Layer, count: int, parts: Sequence[bytes]) -> dict[str, CodedWeight]:
    codebook, bias, codes, gaps = parts
    values = np.frombuffer(codebook, "<f4").astype(np.float32)
    if values[0] != 0:
        raise FormatError(f"code 0 stands for {values[0]}; pruned weights and fillers need it to be 0")
    entries = np.frombuffer(codes, np.uint8) if layer.code_bits == 8 else _halves(codes, count)
    positions = np.cumsum(_halves(gaps, count).astype(np.int64) + 1) - 1
    size = math.prod(layer.shape)
    if count and positions[-1] >= size:
        first = int(np.argmax(positions >= size))
        raise FormatError(f"entry {first} of {count} lies at {positions[first]}, past the weight's {size:,} places")
    kept = entries != 0
    weight = Sparse(layer.shape, positions[kept], Codebook(entries[kept], values))
    found: dict[str, CodedWeight] = {layer.weight: weight}
    if layer.bias:
        found[layer.bias] = Dense(np.frombuffer(bias, "<f4").astype(np.float32))
    return found


def _halves(packed: bytes, count: int) -> NDArray[np.uint8]:
    """The first `count` numbers of 4 bits, the low half of a byte before its high half."""
    pairs = np.frombuffer(packed, np.uint8)
    return np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:count]
