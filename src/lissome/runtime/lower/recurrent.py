"""LSTM: one matrix product with the input for all steps at once, then the recurrence, for each direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lissome.errors import UnsupportedShape
from lissome.graph import attributes
from lissome.graph.conv_shape import GemmShape
from lissome.graph.ir import Node
from lissome.graph.rules.layers import DIRECTIONS
from lissome.runtime import kernels
from lissome.runtime.native import native
from lissome.runtime.step import Step
from lissome.weights import Dense

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


@dataclass(frozen=True)
class _Layer:
    """What both directions share. units: hidden units in whole vectors."""

    node: Node
    steps: int
    batch: int
    features: int
    hidden: int
    units: int
    lanes: int


def lstm(planner: Planner, node: Node) -> None:
    """LSTM, forward, reverse or bidirectional, with states and peepholes where given."""
    x, w, r, b, _, hidden_0, cell_0, p = (*node.inputs, *[""] * 8)[:8]
    if any(name and name not in planner.net.weights for name in (w, r, b, p)) or x in planner.net.weights:
        raise UnsupportedShape(f"node {node.name!r} (LSTM): W, R, B and P must be weights, X must be computed")
    direction = attributes.word(node, "direction", DIRECTIONS)
    (directions, _, hidden), (steps, batch, features) = planner.shape(r), planner.shape(x)
    lanes = kernels.lanes(planner.isa)
    layer = _Layer(node, steps, batch, features, hidden, -(-hidden // lanes) * lanes, lanes)
    names = [name or "" for name in (*node.outputs, "", "")[:3]]
    y, state_h, state_c = (
        name or planner.tensor(node.name, shape)
        for name, shape in zip(
            names, ((steps, directions, batch, hidden), *[(directions, batch, hidden)] * 2), strict=True
        )
    )
    for d in range(directions):
        values = [None if not name else planner.net.weights[name].to_dense()[d] for name in (w, r, b, p)]
        gates = _gates(planner, layer, planner.in_layout(x, 1), values, d)
        starts = [_state(planner, layer, name, d) for name in (hidden_0, cell_0)]
        peepholes = planner.constant(_peepholes(layer, values[3]))
        ends = [_part(planner, state, d, batch * hidden) for state in (state_h, state_c)]
        kernel = f"lstm_f32_{planner.isa}"
        recurrent = values[1]
        packed = planner.packed(
            (r, node.name, d, planner.isa),
            lambda recurrent=recurrent: native.pack_panels(  # type: ignore[misc]
                _spread(layer, recurrent).reshape(-1), 4 * layer.units, hidden, 4 * lanes
            ),
        )
        backward = int(direction == "reverse" or d == 1)
        ints = (steps, batch, hidden, layer.units, directions, d, backward)
        inputs, outputs = (gates, *starts, peepholes), (y, *ends)
        why = f"{steps} steps {'backwards' if backward else 'forwards'}"
        work = steps * batch * 4 * layer.units * hidden
        step = Step((node.name,), node.op, kernel, why, inputs, outputs, ints)
        planner.add(step.of(packed, None, work))
    for state in (state_h, state_c):
        planner.maker[state] = len(planner.steps) - 1


def _gates(planner: Planner, layer: _Layer, x: str, values: list[NDArray[np.float32] | None], d: int) -> str:
    """The product of all steps' inputs with W, plus both biases, in the kernel's order of gates."""
    w, bias = values[0], values[2]
    weight = Dense(_spread(layer, w))
    rows = 4 * layer.hidden
    both = np.zeros(rows, np.float32) if bias is None else bias[:rows] + bias[rows:]
    shape = GemmShape(layer.steps * layer.batch, 4 * layer.units, layer.features)
    choice = kernels.choose_gemm(shape, kernels.density(weight), planner.isa)
    key = (layer.node.inputs[1], layer.node.name, d, choice.kernel)
    packed = planner.packed(key, lambda: kernels.pack_gemm(weight, shape, choice, transposed=True))
    made = planner.tensor(layer.node.name, (shape.m, shape.n))
    step = Step((layer.node.name,), layer.node.op, choice.kernel, "all steps' inputs", (x,), (made,), shape.values())
    planner.add(step.of(packed, _spread(layer, both[:, None]).reshape(-1), shape.macs))
    return made


def _spread(layer: _Layer, rows: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Rows of gates i, o, f, c (4 · hidden, n) in the kernel's order: those of a vector of units side by side."""
    given = np.zeros((4 * layer.hidden, 1), np.float32) if rows is None else rows
    gates = np.zeros((4, layer.units, given.shape[1]), np.float32)
    gates[:, : layer.hidden] = given.reshape(4, layer.hidden, -1)
    vectors = gates.reshape(4, layer.units // layer.lanes, layer.lanes, -1).transpose(1, 0, 2, 3)
    return np.ascontiguousarray(vectors.reshape(4 * layer.units, -1))


def _peepholes(layer: _Layer, given: NDArray[np.float32] | None) -> NDArray[np.float32]:
    values = np.zeros((3, layer.units), np.float32)
    if given is not None:
        values[:, : layer.hidden] = given.reshape(3, layer.hidden)
    return values.reshape(-1)


def _state(planner: Planner, layer: _Layer, name: str, d: int) -> str:
    """The state that a direction begins with: a part of the tensor `name`, or zeros."""
    if not name:
        return planner.constant(np.zeros(layer.batch * layer.hidden, np.float32))
    return _part(planner, planner.in_layout(name, 1), d, layer.batch * layer.hidden)


def _part(planner: Planner, whole: str, d: int, elements: int) -> str:
    part = planner.fresh(whole, elements)
    planner.view(part, whole, d * elements)
    return part
