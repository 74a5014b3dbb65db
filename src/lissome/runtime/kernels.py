"""Which kernel runs a layer, why, and its weights packed for it.

Names follow ``<op>_<dtype>_<algorithm>_<isa>`` (docs/kernels.md). A sparse kernel runs on the compact form (positions
and values, or codes and their table) and is chosen where few enough weights are left; the dense ones decode while
packing.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import UnsupportedShape
from lissome.graph.conv_shape import GemmShape
from lissome.runtime.native import native
from lissome.weights import Codebook, CodedWeight, Sparse

# Share of weights left below which the sparse kernel wins: measured by bench/sparse_break_even.py on AMD Zen 4, one
# thread, AVX-512. The layers measured there meet at 8 to 38 % with one to three rows of x (the low end while the dense
# weight stays in the second-level cache), 4 to 12 % with 4 rows, 23 to 37 % with 16 rows, 34 to 45 % with 64 rows, and
# 45 to 100 % for convolutions.
ROW_BELOW: Final = 0.12
# The same where a dense weight of so many bytes comes from memory in every run, at 27 GB/s: 6.7 weights a nanosecond,
# where the sparse kernel does 2.5 of what is left.
HUGE: Final = 1 << 25
ROW_BELOW_HUGE: Final = 0.3
BATCH_BELOW: Final = 0.15
LARGE_BATCH_BELOW: Final = 0.3
# Rows of x from which a transposed batch beats a gather for each row (between 2 and 6 there), and from which the
# transposition hardly counts.
BATCH_FROM: Final = 4
LARGE_BATCH_FROM: Final = 32
#: extensions of instruction sets, that integer and binary kernels are also compiled for
EXTENSIONS: Final = ("avx512_vnni", "avx512_vpopcntdq")


# Where values are looked up in registers (slots.h): bytes of a dense weight that stays in a cache, the instruction set,
# the most values, and the shares of weights left below which that wins.
CACHED: Final = 1 << 22
CODED_ISA: Final = "avx512"
CODED_VALUES: Final = 63
CODED_BELOW: Final = 0.2
CODED_BELOW_LARGE: Final = 1.1


#: bits of a code in the kernels that look all of a weight's values up in registers (gemm/codes.h)
CODE_BITS: Final = (4, 5)
# The share of weights left from which those beat the sparse kernels, and the instruction set on which codes of 5 bits,
# and of weights that stay in a cache, pay (bench/shared.py).
CODES_FROM: Final = 0.28
CODES_ISAS: Final = ("avx512", "avx2")


@dataclass(frozen=True)
class Choice:
    """A kernel's full name and the reason for it."""

    kernel: str
    why: str
    sparse: bool


@dataclass(frozen=True)
class Compact:
    """A weight as a matrix of rows, one an output, without its zeros. Exactly one of values and codes is set."""

    rows: int
    columns: int
    positions: NDArray[np.int64]
    values: NDArray[np.float32] | None
    codes: NDArray[np.uint8] | None
    table: NDArray[np.float32] | None


@functools.cache
def _rows() -> dict[str, tuple[str, str, int, int, int, bool]]:
    """The native table by name; planning asks it several times a layer and algorithm, and it never changes."""
    return {row[0]: row for row in native.kernels()}


def instruction_sets() -> tuple[str, ...]:
    """The instruction sets of this build that this processor runs, widest first."""
    return tuple(dict.fromkeys(row[1] for row in _rows().values() if row[1] not in EXTENSIONS))


def integer_isa(isa: str) -> str:
    """The instruction set whose integer kernels go with `isa`: itself, or what extends it where this machine can."""
    return extended(isa, "add_i8")


def extended(isa: str, stem: str) -> str:
    """What extends `isa` for the kernel called so, where this machine has that; else `isa` itself."""
    return next((e for e in EXTENSIONS if e.startswith(f"{isa}_") and f"{stem}_{e}" in _rows()), isa)


def resolve_isa(isa: str | None) -> str:
    """`isa` if this machine has it, the widest when None; UnsupportedShape else."""
    known = instruction_sets()
    if isa is None:
        return known[0]
    if isa not in known:
        raise UnsupportedShape(f"instruction set {isa!r} is not available; this build and processor have {known}")
    return isa


def density(weight: CodedWeight) -> float:
    """Share of weights that are not zero; for a sparse weight, that are stored."""
    count = math.prod(weight.shape)
    stored = weight.nnz if isinstance(weight, Sparse) else int(np.count_nonzero(weight.to_dense()))
    return stored / count


def choose_gemm(shape: GemmShape, left: float, isa: str, values: int = 0, codes: int = 0) -> Choice:
    """The kernel of a linear layer of which the share `left` of the weights is not zero.

    values: how many different ones those are, if they are shared, else 0; codes: how many with the zeros.
    """
    bits = _code_bits(shape, isa, codes)
    if bits and left >= CODES_FROM:
        why = f"{codes} values in codes of {bits} bits, fastest from {CODES_FROM:.0%} of weights left; batch {shape.m}"
        return Choice(f"gemm_f32_codes{bits}_{isa}", why, sparse=False)
    if shape.m < BATCH_FROM and isa == CODED_ISA and 0 < values <= CODED_VALUES:
        large = shape.n * shape.k * 4 > CACHED
        sparse, below = "gemm_f32_coded_row", CODED_BELOW_LARGE if large else CODED_BELOW
    elif shape.m < BATCH_FROM:
        sparse, below = "gemm_f32_sparse_row", ROW_BELOW_HUGE if shape.n * shape.k * 4 > HUGE else ROW_BELOW
    else:
        sparse, below = "gemm_f32_sparse_batch", BATCH_BELOW if shape.m < LARGE_BATCH_FROM else LARGE_BATCH_BELOW
    return _choose(f"{sparse}_{isa}", f"gemm_f32_panels_{isa}", left, below, f"batch {shape.m}")


def _code_bits(shape: GemmShape, isa: str, codes: int) -> int:
    """Bits of the codes by which a dense layer of so many values is best run; 0 where it is best run dense."""
    bits = next((b for b in CODE_BITS if 0 < codes <= 1 << b), 0)
    pays = isa == CODED_ISA or (bits == CODE_BITS[0] and shape.n * shape.k * 4 > CACHED)
    return bits if shape.m < BATCH_FROM and isa in CODES_ISAS and pays else 0


def _choose(sparse: str, dense: str, left: float, below: float, what: str) -> Choice:
    if left < below:
        return Choice(sparse, f"{left:.1%} of weights left, sparse wins below {below:.0%}; {what}", sparse=True)
    return Choice(dense, f"{left:.1%} of weights left, dense wins from {below:.0%}; {what}", sparse=False)


def panel_width(kernel: str) -> int:
    """Outputs in one panel of a dense matrix-product kernel."""
    return _rows()[kernel][2]


def lanes(isa: str) -> int:
    """float32 in a vector of this instruction set."""
    return panel_width(f"gemm_f32_panels_{isa}") // 2


def blocks(kernel: str) -> tuple[int, int]:
    """Channels in a block of a kernel's input and of its output; 1 for plain tensors."""
    return _rows()[kernel][3:5]


def adds_residual(kernel: str) -> bool:
    """Whether a convolution kernel adds a second tensor to what it makes."""
    return _rows()[kernel][5]


def matrix(weight: CodedWeight, *, transposed: bool) -> NDArray[np.float32]:
    """The dense weight, flat, as rows of one output each; `transposed` when it already is."""
    dense = weight.to_dense()
    return np.ascontiguousarray(dense if transposed else dense.T).reshape(-1)


def compact(weight: CodedWeight, *, transposed: bool = True) -> Compact:
    """The weight without its zeros, rows of one output each; codes stay codes where a byte holds them."""
    rows = weight.shape[0] if transposed else weight.shape[1]
    columns = math.prod(weight.shape) // rows
    kept = weight if isinstance(weight, Sparse) else None
    stored: CodedWeight = kept.values if kept else weight
    if kept:
        positions = kept.positions
        select: slice | NDArray[np.intp] = slice(None)
    else:
        select = np.flatnonzero(stored.to_dense())
        positions = np.asarray(select, dtype=np.int64)
    if not transposed:
        turned = positions % rows * columns + positions // rows
        order = np.argsort(turned, kind="stable")
        positions = turned[order]
        select = order if kept else np.asarray(select)[order]
    positions = np.ascontiguousarray(positions)
    if isinstance(stored, Codebook) and stored.codes.dtype == np.uint8:
        codes = np.ascontiguousarray(stored.codes.reshape(-1)[select], dtype=np.uint8)
        return Compact(rows, columns, positions, None, codes, stored.codebook)
    values = np.ascontiguousarray(stored.to_dense().reshape(-1)[select])
    return Compact(rows, columns, positions, values, None, None)


def shared_values(weight: CodedWeight) -> int:
    """How many values a shared weight's codes choose from; 0 when it is not shared."""
    stored = weight.values if isinstance(weight, Sparse) else weight
    return len(stored.codebook) if isinstance(stored, Codebook) and stored.codes.dtype == np.uint8 else 0


def code_values(weight: CodedWeight) -> int:
    """How many values the weight has if it is shared, the zeros that a sparse one leaves out included; else 0."""
    shared = shared_values(weight)
    return shared + isinstance(weight, Sparse) if shared else 0


def all_codes(weight: CodedWeight, *, transposed: bool) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The codes of a shared weight, flat, rows of one output each, and the values that they choose from. Of a sparse
    one, what is not stored has a code of its own. Raises UnsupportedShape where it is not shared.
    """
    stored = weight.values if isinstance(weight, Sparse) else weight
    if not isinstance(stored, Codebook) or not 0 < code_values(weight) <= 256:
        raise UnsupportedShape(f"codes are of shared weights, not {weight.describe()}")
    codes, table = stored.codes, stored.codebook
    if isinstance(weight, Sparse):
        spread = np.full(math.prod(weight.shape), len(table), np.uint8)
        spread[weight.positions] = stored.codes
        codes, table = spread, np.append(table, np.float32(0))
    rows = codes.reshape(weight.shape[0], -1)
    flat = np.ascontiguousarray(rows if transposed else rows.T, dtype=np.uint8).reshape(-1)
    return flat, np.ascontiguousarray(table, dtype=np.float32)


def pack_gemm(weight: CodedWeight, shape: GemmShape, choice: Choice, *, transposed: bool) -> native.Packed:
    """The weight of a linear layer, packed for the chosen kernel."""
    if "coded" in choice.kernel:
        c = compact(weight, transposed=transposed)
        if c.codes is None or c.table is None:
            raise UnsupportedShape(f"{choice.kernel} needs shared weights, not {weight.describe()}")
        return native.pack_slots(c.rows, c.columns, c.positions, c.codes, c.table)
    if "_codes" in choice.kernel:
        codes, table = all_codes(weight, transposed=transposed)
        lanes, bits = panel_width(choice.kernel), next(b for b in CODE_BITS if f"_codes{b}_" in choice.kernel)
        return native.pack_codes(shape.n, shape.k, codes, table, lanes, bits)
    if choice.sparse:
        c = compact(weight, transposed=transposed)
        return native.pack_sell(c.rows, c.columns, c.positions, c.values, c.codes, c.table)
    return native.pack_panels(matrix(weight, transposed=transposed), shape.n, shape.k, panel_width(choice.kernel))


def pack_affine(scale: NDArray[np.float64], shift: NDArray[np.float64]) -> native.Packed:
    """Scale and shift a channel, each of shape (channels,); rounded to float32 here."""
    return native.pack_rows(np.concatenate([scale, shift]).astype(np.float32), 2, scale.size)


def to_vector(weight: CodedWeight) -> NDArray[np.float32]:
    """A bias as a flat float32 array."""
    return np.ascontiguousarray(weight.to_dense().reshape(-1))
