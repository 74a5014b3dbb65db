"""The LSTM: torch's layers and directions as a chain of ONNX's, whose gates stand in another order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.graph.aten.call import Call, Converter, Derived, Onnx, Operand, Output, Tensor, Unsupported
from lissome.graph.ir import Attribute

_Array = NDArray[np.float32]


def lstm(call: Call) -> tuple[Operand, ...]:
    """Results: all states of the last layer, then the last states and the last cells of every layer."""
    x, batch_first, two = call.activation("input"), bool(call["batch_first"]), 2 if call["bidirectional"] else 1
    if any(not isinstance(state, Tensor) or state.name for state in call["hx"]):
        raise Unsupported("its initial state is not zero")
    each = (4 if call["has_biases"] else 2) * two
    if len(call["params"]) != each * call["num_layers"] or call["params"][1].shape[1] * 4 != call["params"][1].shape[0]:
        raise Unsupported("a projection (proj_size) has no counterpart")
    hidden = int(call["params"][1].shape[1])
    steps = int(x.shape[1 if batch_first else 0])
    sequence: Operand = Onnx("Transpose", (x.name,), {"perm": (1, 0, 2)}) if batch_first else x.name
    layers = []
    for first in range(0, len(call["params"]), each):
        layer = _layer(sequence, call["params"][first : first + each], two)
        joined = Onnx("Transpose", (layer,), {"perm": (0, 2, 1, 3)})  # (steps, N, directions, hidden)
        sequence = Onnx("Reshape", (joined,), {"shape": (steps, -1, two * hidden)})
        layers.append(layer)
    if batch_first:
        sequence = Onnx("Transpose", (sequence,), {"perm": (1, 0, 2)})
    return (sequence, *(_over(layers, result) for result in (1, 2)))


def _layer(x: Operand, weights: list[Tensor], directions: int) -> Onnx:
    """weights: input weight, state weight and, if any, their two biases, one direction after the other."""
    each = len(weights) // directions
    names = [tuple(w.name for w in weights[d * each : (d + 1) * each]) for d in range(directions)]
    base = names[0][0].replace("weight_ih", "weights")
    operands: list[Operand] = [
        Derived(f"{base}.input", tuple(n[0] for n in names), _stacked),
        Derived(f"{base}.state", tuple(n[1] for n in names), _stacked),
    ]
    if each == 4:
        operands.append(Derived(f"{base}.bias", tuple(n[i] for n in names for i in (2, 3)), _biases))
    attributes: dict[str, Attribute] = {"hidden_size": int(weights[1].shape[1])}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    return Onnx("LSTM", (x, *operands), attributes, outputs=3)


def _over(layers: list[Onnx], result: int) -> Operand:
    """One of the results of every layer, one layer after the other."""
    parts = tuple(Output(layer, result) for layer in layers)
    return parts[0] if len(parts) == 1 else Onnx("Concat", parts, {"axis": 0})


def _stacked(*weights: _Array) -> _Array:
    return np.stack([_gates(weight) for weight in weights])


def _biases(*weights: _Array) -> _Array:
    return np.stack([np.concatenate([_gates(w) for w in weights[i : i + 2]]) for i in range(0, len(weights), 2)])


def _gates(weight: _Array) -> _Array:
    """Torch orders input, forget, cell, output; ONNX input, output, forget, cell."""
    i, f, c, o = np.split(weight, 4)
    return np.concatenate([i, o, f, c])


def _zeros(call: Call) -> Tensor:
    """Zeros as long as the batch: an initial state."""
    return Tensor("", call.shape)


OPERATORS: Final[Mapping[str, Converter]] = {"aten.lstm.input": lstm, "aten.zeros.default": _zeros}
