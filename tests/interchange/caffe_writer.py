"""A second, independent hand at Caffe's files: writes Deep Compression's streams from a network's coded weights."""

import struct

import numpy as np

from lissome.weights import Sparse


def halves(numbers):
    """4-bit numbers two to a byte, the first in the low half, 0 in a last half left over."""
    padded = [*numbers, 0] if len(numbers) % 2 else list(numbers)
    return bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))


def entries(weight: Sparse):
    """Codes and gaps of a weight as decode.py's counterpart wrote them: fillers of gap 15 and code 0 over long runs."""
    codes, gaps, last = [], [], -1
    for position, code in zip(weight.positions.tolist(), weight.values.codes.tolist(), strict=True):
        gap = position - last - 1
        while gap > 15:
            codes.append(0)
            gaps.append(15)
            gap -= 16
        codes.append(code)
        gaps.append(gap)
        last = position
    return codes, gaps


def streams(net):
    """The bytes of a .net file for the layers of `net`, in the order of its weights."""
    names = [name.removesuffix(".weight") for name in net.weights if name.endswith(".weight")]
    counts, body = [], []
    for name in names:
        weight = net.weights[f"{name}.weight"]
        codes, gaps = entries(weight)
        counts.append(len(codes))
        body.append(weight.values.codebook.astype("<f4").tobytes())
        if f"{name}.bias" in net.weights:
            body.append(net.weights[f"{name}.bias"].to_dense().astype("<f4").tobytes())
        body.append(bytes(codes) if weight.values.codebook.size == 256 else halves(codes))
        body.append(halves(gaps))
    return struct.pack(f"<{len(counts)}I", *counts) + b"".join(body)


def random_weight(rng: np.random.Generator, shape, bits: int, density: float) -> Sparse:
    """A weight with `bits`-bit codes, none of them 0, whose codebook's first entry is 0."""
    from lissome.weights import Codebook

    size = int(np.prod(shape))
    positions = np.flatnonzero(rng.random(size) < density)
    codebook = np.concatenate([[0], rng.standard_normal(2**bits - 1)]).astype(np.float32)
    return Sparse(shape, positions, Codebook(rng.integers(1, 2**bits, positions.size), codebook))
