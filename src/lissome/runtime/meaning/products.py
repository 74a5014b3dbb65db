"""Matrix products and the LSTM."""

from __future__ import annotations

from typing import Final

import numpy as np

from lissome.graph import attributes
from lissome.graph.ir import Node
from lissome.graph.rules.layers import DIRECTIONS
from lissome.runtime.meaning import Array, Table
from lissome.runtime.meaning.elementwise import sigmoid


def _gemm(node: Node, x: Array, w: Array, bias: Array | None) -> Array:
    """Alpha · x · w + beta · bias, each matrix transposed first where transA and transB say so."""
    a = x.T if attributes.flag(node, "transA") else x
    b = w.T if attributes.flag(node, "transB") else w
    y = attributes.real(node, "alpha", 1.0) * (a @ b)
    return y if bias is None else y + attributes.real(node, "beta", 1.0) * bias


def _lstm(node: Node, x: Array, w: Array, r: Array, *rest: Array | None) -> tuple[Array, ...]:
    """Gates in ONNX's order i, o, f, c; peepholes in the order i, o, f; see `_direction`."""
    bias, _, hidden_0, cell_0, peepholes = rest
    direction = attributes.word(node, "direction", DIRECTIONS)
    (directions, _, hidden), batch = r.shape, x.shape[1]
    outs, hs, cs = [], [], []
    for d in range(directions):
        backward = direction == "reverse" or d == 1
        h = np.zeros((batch, hidden)) if hidden_0 is None else hidden_0[d]
        c = np.zeros((batch, hidden)) if cell_0 is None else cell_0[d]
        b = np.zeros(4 * hidden) if bias is None else bias[d, : 4 * hidden] + bias[d, 4 * hidden :]
        p = np.zeros(3 * hidden) if peepholes is None else peepholes[d]
        out, h, c = _direction(x[::-1] if backward else x, (w[d], r[d], b, p), h, c)
        outs.append(out[::-1] if backward else out)
        hs.append(h)
        cs.append(c)
    return (np.stack(outs, 1), np.stack(hs), np.stack(cs))[: len(node.outputs)]


def _direction(x: Array, weights: tuple[Array, Array, Array, Array], h: Array, c: Array) -> tuple[Array, Array, Array]:
    """i, f = σ(Wx + Rh + Pc + b); c' = f ⊙ c + i ⊙ tanh(Wx + Rh + b); o = σ(Wx + Rh + Pc' + b); h' = o ⊙ tanh(c')."""
    w, r, b, p = weights
    pi, po, pf = np.split(p, 3)
    out = []
    for step in x:
        i, o, f, new = np.split(step @ w.T + h @ r.T + b, 4, axis=1)
        c = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * np.tanh(new)
        h = sigmoid(o + po * c) * np.tanh(c)
        out.append(h)
    return np.stack(out), h, c


OPERATORS: Final[Table] = {"Gemm": _gemm, "LSTM": _lstm, "MatMul": lambda _node, a, b: np.asarray(a @ b)}
