"""Scales and shifts of channels, batch norm above all, go into the layer before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph.ir import Graph, Node
from lissome.graph.names import Names
from lissome.graph.passes.rewrite import Values

_Vector: TypeAlias = NDArray[np.float64]
_LAYERS: Final = ("Conv", "ConvTranspose", "Gemm")


def fold_batch_norm(graph: Graph, values: Values, *, in_place: bool = False) -> tuple[Graph, Values]:
    """Fold BatchNormalization, and products, quotients, sums and differences with one constant a channel, into the
    Conv, ConvTranspose or Gemm before them.

    values: float32 arrays of those parameters that may change. A norm stays where its layer's weight or any of its own
    parameters is not among them (a pruned and shared weight, say, whose few values scaling would multiply), or where
    weight or result is also used elsewhere.

    Per channel, s = scale / sqrt(variance + epsilon), weight' = weight × s and bias' = (bias − mean) × s + offset,
    computed in float64 and rounded once. in_place: the arrays of weights are changed where they lie.
    """
    folding = _Folding(graph, values)
    for node in graph.nodes:
        folding.take(node)
    folding.scale(in_place=in_place)
    nodes = tuple(folding.nodes.values())
    used = dict.fromkeys(name for node in nodes for name in node.inputs if name)
    used.update(dict.fromkeys(graph.outputs))
    parameters = tuple(name for name in used if name in folding.values or name in graph.parameters)
    kept = {name: value for name, value in folding.values.items() if name in used}
    return Graph(nodes, graph.inputs, graph.outputs, parameters), kept


class _Folding:
    """The nodes so far by the tensor that each makes first, and the parameters that may change."""

    def __init__(self, graph: Graph, values: Values) -> None:
        self.graph, self.values = graph, dict(values)
        self.nodes: dict[str, Node] = {}
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        self.uses.update(graph.outputs)
        self.names = Names((*graph.parameters, *self.values, *self.uses))
        self.exact: dict[str, _Vector] = {}  # biases that were folded into, before rounding
        self.factors: dict[str, tuple[_Vector, int]] = {}  # of weights that are folded into, and along which axis

    def take(self, node: Node) -> None:
        layer = next((self.nodes[name] for name in node.inputs if name in self.nodes), None)
        if layer is None or not self._owns(layer):
            self.nodes[node.outputs[0]] = node
            return
        weight = self.values[layer.inputs[1]]
        axis = _channel_axis(layer)
        affine = self._affine(node, layer, weight.shape[axis], 2 if layer.op == "Gemm" else weight.ndim)
        if affine is None:
            self.nodes[node.outputs[0]] = node
            return
        factor, shift = affine
        weight_name, bias_name = layer.inputs[1], layer.inputs[2] if len(layer.inputs) > 2 else ""
        bias = self._value(bias_name) if bias_name else 0.0
        if not bias_name:
            bias_name = self.names.fresh(f"{weight_name.rpartition('.')[0] or weight_name}.bias")
            self.uses[bias_name] = 1
        before = self.factors[weight_name][0] if weight_name in self.factors else np.float64(1)
        self.factors[weight_name] = before * factor, axis
        self._keep(bias_name, bias * factor + shift)
        del self.nodes[layer.outputs[0]]
        inputs = (layer.inputs[0], weight_name, bias_name)
        self.nodes[node.outputs[0]] = replace(layer, inputs=inputs, outputs=node.outputs)

    def scale(self, *, in_place: bool) -> None:
        """Multiply the weights by their factors, in float64 and rounded once."""
        viewed = {id(value.base) for value in self.values.values() if value.base is not None}
        for name, (factor, axis) in self.factors.items():
            weight = self.values[name]
            spread = factor.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
            alone = weight.flags.writeable and weight.base is None and id(weight) not in viewed
            scaled = weight if in_place and alone else np.empty_like(weight)
            self.values[name] = np.multiply(weight, spread, out=scaled, dtype=np.float64, casting="same_kind")

    def _owns(self, layer: Node) -> bool:
        """Whether the node is a layer that feeds one node only, and owns its weights, all of them known."""
        if layer.op not in _LAYERS or len(layer.inputs) < 2 or self.uses[layer.outputs[0]] != 1:
            return False
        plain = {"alpha", "beta", "transA"}.isdisjoint(layer.attributes)
        ungrouped = layer.op != "ConvTranspose" or layer.attributes.get("group", 1) == 1
        rest = [name for name in layer.inputs[1:] if name]
        return plain and ungrouped and all(self.uses[name] == 1 and name in self.values for name in rest)

    def _affine(self, node: Node, layer: Node, channels: int, rank: int) -> tuple[_Vector, _Vector] | None:
        """What the node multiplies each channel with, and then adds; None when it is no such node."""
        made = layer.outputs[0]
        if not all(name == made or name in self.values for name in node.inputs):
            return None
        if node.op == "BatchNormalization" and node.inputs[0] == made:
            scale, offset, mean, variance = (self.values[name].astype(np.float64) for name in node.inputs[1:5])
            factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))  # type: ignore[arg-type]
            return factor, offset - mean * factor
        if node.op not in ("Add", "Div", "Mul", "Sub") or (node.op == "Div" and node.inputs[0] != made):
            return None
        constant = self._channelwise(next(name for name in node.inputs if name != made), channels, rank)
        if constant is None:
            return None
        ones, zeros = np.ones(channels), np.zeros(channels)
        match node.op:
            case "Mul":
                return constant, zeros
            case "Div":
                return (1 / constant, zeros) if np.all(constant) else None
            case "Add":
                return ones, constant
            case _:
                return (ones, -constant) if node.inputs[0] == made else (-ones, constant)

    def _channelwise(self, name: str, channels: int, rank: int) -> _Vector | None:
        """A constant as one number a channel, where broadcasting to a tensor of this rank comes to that."""
        value = self.values[name].astype(np.float64)
        if value.ndim > rank:
            return None
        shape = (1,) * (rank - value.ndim) + value.shape
        if any(extent != 1 for i, extent in enumerate(shape) if i != 1) or shape[1] not in (1, channels):
            return None
        return np.broadcast_to(value.reshape(-1), (channels,))

    def _value(self, name: str) -> _Vector:
        found = self.exact.get(name)
        return self.values[name].astype(np.float64) if found is None else found

    def _keep(self, name: str, value: _Vector) -> None:
        self.exact[name], self.values[name] = value, value.astype(np.float32)


def _channel_axis(layer: Node) -> int:
    """The axis of a layer's weight along which its outputs lie."""
    if layer.op == "Gemm":
        return 0 if layer.attributes.get("transB", 0) == 1 else 1
    return 1 if layer.op == "ConvTranspose" else 0
