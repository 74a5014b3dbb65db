"""How far a convolution's kernel may be from the exact result: the number of roundings and what they act on."""

from __future__ import annotations

import numpy as np

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import reference, winograd


def bound(kernel: str, x: np.ndarray, w: np.ndarray, shape: ConvShape) -> tuple[int, np.ndarray]:
    """(n, magnitude): an output without bias is off by at most gamma(n) times its magnitude; x and w without signs.

    n counts the roundings between an input and an output. A kernel that adds products up has one a product and acts on
    their magnitudes. Winograd's has one for each number that a transform adds up, one for the rounded filter and one
    for each channel's product, and acts on the transforms of magnitudes by the matrices' magnitudes: no step's result
    is larger.
    """
    stem = kernel.rpartition("_")[0]
    if "winograd" not in stem:
        return shape.depth, reference.conv(x, w, None, shape)
    m, r = int(stem[-3]), int(stem[-1])
    return shape.c + 1 + 4 * (m + r), _winograd(m, r, x, w, shape)


def _winograd(m: int, r: int, x: np.ndarray, w: np.ndarray, shape: ConvShape) -> np.ndarray:
    bt, g, at = (np.abs(matrix) for matrix in winograd.matrices(m, r))
    edge, rows, columns = m + r - 1, -(-shape.p // m), -(-shape.q // m)
    after = (rows * m + r - 1 - shape.h - shape.pad_top, columns * m + r - 1 - shape.w - shape.pad_left)
    pads = ((0, 0), (0, 0), (shape.pad_top, max(0, after[0])), (shape.pad_left, max(0, after[1])))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, pads), (edge, edge), axis=(2, 3))
    tiles = windows[:, :, : rows * m : m, : columns * m : m]
    u = np.einsum("ij,kcjl,ml->kcim", g, w, g, optimize=True)
    v = np.einsum("ij,ncpqjl,ml->ncpqim", bt, tiles, bt, optimize=True)
    products = np.einsum("kcim,ncpqim->nkpqim", u, v, optimize=True)
    y = np.einsum("xi,nkpqim,ym->nkpxqy", at, products, at, optimize=True)
    return np.ascontiguousarray(y.reshape(shape.n, shape.k, rows * m, columns * m)[:, :, : shape.p, : shape.q])
