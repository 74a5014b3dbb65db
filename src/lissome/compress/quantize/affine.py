"""Uniform affine quantization of a whole network: int8 weights, uint8 activations, x ≈ scale · (code − zero).

Where codes are is said as ONNX says it, by QuantizeLinear and DequantizeLinear nodes: a layer's weight is codes behind
a DequantizeLinear with one scale a filter, and every tensor between layers goes through codes of one scale. Tensors
that a maximum, a reshaping or a concatenation joins share theirs, so that codes pass through those as they are.

Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference"
(CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.compress.quantize import ranges
from lissome.compress.quantize.post_training import PostTraining
from lissome.compress.quantize.ranges import Observed
from lissome.errors import RecipeError
from lissome.graph.ir import Attribute, Graph, Node
from lissome.graph.names import Names
from lissome.network import Network
from lissome.weights import Codebook, CodedWeight, Dense

LAYERS: Final = ("Conv", "Gemm")
#: operators that compute on codes, and those through which codes pass unchanged
ARITHMETIC: Final = ("Add", "AveragePool", "GlobalAveragePool")
PASSING: Final = ("Concat", "Flatten", "MaxPool", "Reshape", "Squeeze", "Unsqueeze")
#: what a layer's kernel does before it rounds
ACTIVATIONS: Final = ("Clip", "Relu")
ACTIVATION_LEVELS: Final = 255


def points(net: Network) -> dict[str, str]:
    """The tensors that become codes, and for each the one whose scale it shares (itself, mostly).

    They are those that quantized operators read. Raises RecipeError when no layer has a weight of its own.
    """
    graph, weights = net.graph, net.weights
    if not any(_is_layer(node, weights) for node in graph.nodes):
        raise RecipeError("no Conv or Gemm with a weight: there is nothing to quantize")
    found: dict[str, None] = {}
    for node in graph.nodes:
        if _is_layer(node, weights) or _is_arithmetic(node, weights):
            found.update(dict.fromkeys(name for name in node.inputs if name and name not in weights))
    passing = [node for node in graph.nodes if node.op in PASSING and not any(name in weights for name in node.inputs)]
    for node in reversed(passing):  # what goes on as codes must have come as codes
        if node.outputs[0] in found:
            found.update(dict.fromkeys(node.inputs))
    shared: dict[str, str] = {name: name for name in found}

    def root(name: str) -> str:
        while shared[name] != name:
            name = shared[name]
        return name

    for node in passing:
        if node.outputs[0] in found:
            for name in node.inputs:
                shared[root(name)] = root(node.outputs[0])
    return {name: root(name) for name in found}


def _is_layer(node: Node, weights: Mapping[str, CodedWeight]) -> bool:
    if node.op not in LAYERS or len(node.inputs) < 2 or node.inputs[0] in weights:
        return False
    return all(name in weights for name in node.inputs[1:] if name) and not node.attributes.get("transA", 0)


def _is_arithmetic(node: Node, weights: Mapping[str, CodedWeight]) -> bool:
    return node.op in ARITHMETIC and not any(name in weights for name in node.inputs)


def observing(net: Network) -> Network:
    """The network with every tensor that becomes codes as an output."""
    return replace(net, graph=replace(net.graph, outputs=tuple(points(net))))


def quantized(net: Network, seen: Mapping[str, Observed], options: PostTraining) -> Network:
    """The network on codes. seen: what calibration found, for each of `points`."""
    shared = points(net)
    grids: dict[str, tuple[float, int]] = {}
    for group in dict.fromkeys(shared.values()):
        members = [seen[name] for name, root in shared.items() if root == group]
        ends = [ranges.choose(member, options.activations, ACTIVATION_LEVELS) for member in members]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        grids[group] = ranges.affine((low, high), ACTIVATION_LEVELS)
    return _Writer(net, {name: grids[root] for name, root in shared.items()}, options).network()


class _Writer:
    """The network under construction. grids: scale and zero point of each tensor that becomes codes."""

    def __init__(self, net: Network, grids: Mapping[str, tuple[float, int]], options: PostTraining) -> None:
        self.net, self.grids, self.options = net, grids, options
        made = (name for node in net.graph.nodes for name in node.outputs)
        self.names = Names((*made, *net.graph.parameters, *(spec.name for spec in net.graph.inputs)))
        self.weights: dict[str, CodedWeight] = dict(net.weights)
        self.nodes: list[Node] = []
        self.numbers: dict[str, str] = {}  # tensor → the numbers that its codes stand for

    def network(self) -> Network:
        """Every node, with codes between them."""
        for spec in self.net.graph.inputs:
            self._through_codes(spec.name)
        for node in self.net.graph.nodes:
            self._node(node)
            for name in node.outputs:
                self._through_codes(name)
        used = {name for node in self.nodes for name in node.inputs} | set(self.net.graph.outputs)
        weights = {name: weight for name, weight in self.weights.items() if name in used}
        graph = Graph(tuple(self.nodes), self.net.graph.inputs, self.net.graph.outputs, tuple(weights))
        return replace(self.net, graph=graph, weights=weights)

    def _node(self, node: Node) -> None:
        layer = _is_layer(node, self.net.weights)
        inputs = [self.numbers.get(name, name) for name in node.inputs]
        if layer:
            inputs[1:] = self._weight(node)
        self.nodes.append(replace(node, inputs=tuple(inputs)))

    def _through_codes(self, name: str) -> None:
        if name not in self.grids:
            return
        scale, zero = self.grids[name]
        given = self._parameter(f"{name}.scale", Dense(np.array(scale, np.float32)))
        attributes: dict[str, Attribute] = {"dtype": "uint8", "zero_point": zero}
        codes, numbers = self.names.fresh(f"{name}.codes"), self.names.fresh(f"{name}.numbers")
        self.nodes.append(Node("QuantizeLinear", codes, (name, given), (codes,), attributes))
        self.nodes.append(Node("DequantizeLinear", numbers, (codes, given), (numbers,), attributes))
        self.numbers[name] = numbers

    def _weight(self, node: Node) -> list[str]:
        """The layer's weight as codes, and its bias in whole units of its sums; returns the numbers that they are."""
        name = node.inputs[1]
        axis = 0 if node.op == "Conv" or node.attributes.get("transB", 0) else 1
        dense = np.moveaxis(self.net.weights[name].to_dense(), axis, 0)
        rows, levels = dense.reshape(dense.shape[0], -1), self.options.levels
        scales = ranges.symmetric(rows, levels, self.options.weights)
        bias, x_scale = "", np.float32(self.grids[node.inputs[0]][0])
        if len(node.inputs) > 2 and node.inputs[2]:
            given = np.broadcast_to(self.net.weights[node.inputs[2]].to_dense().reshape(-1), scales.shape)
            scales = _wide_enough(scales, given, float(x_scale))
            unit = scales * x_scale
            bias = self._parameter(
                f"{name}.bias", Dense(np.rint(given / unit.astype(np.float64)).astype(np.float32) * unit)
            )
        codes = np.clip(np.rint(rows / scales[:, None]), -levels, levels)
        codes = np.moveaxis(codes.reshape(dense.shape), 0, axis)
        book = np.arange(-levels, levels + 1, dtype=np.float32)
        stored = self._parameter(f"{name}.codes", Codebook((codes + levels).astype(np.uint8), book))
        scale = self._parameter(f"{name}.scale", Dense(scales))
        numbers = self.names.fresh(f"{name}.numbers")
        self.nodes.append(
            Node("DequantizeLinear", numbers, (stored, scale), (numbers,), {"axis": axis, "dtype": "int8"})
        )
        return [numbers, bias] if bias else [numbers]

    def _parameter(self, stem: str, weight: CodedWeight) -> str:
        name = self.names.fresh(stem)
        self.weights[name] = weight
        return name


def _wide_enough(scales: NDArray[np.float32], bias: NDArray[np.float32], x_scale: float) -> NDArray[np.float32]:
    """Scales at which each bias, in units of the sums, is below 2^30: the scale of almost zeros is too small."""
    least = np.broadcast_to(np.abs(bias.reshape(-1)).astype(np.float64) / (x_scale * 2**30), scales.shape)
    return np.maximum(scales, least.astype(np.float32))


def observe(seen: dict[str, Observed], tensors: Mapping[str, NDArray[np.float32]], *, ends: bool) -> None:
    """Take in one batch of the tensors of `observing`: their ends the first time, how they are spread the second.

    Raises RecipeError naming a tensor that is not finite.
    """
    for name, x in tensors.items():
        if not np.isfinite(x).all():
            raise RecipeError(f"tensor {name!r} has NaN or infinity on a calibration sample: check the samples")
        one = seen.setdefault(name, Observed())
        one.see_ends(x) if ends else one.see(x)


def batches(samples: NDArray[np.float32], size: int) -> Sequence[NDArray[np.float32]]:
    """Samples in batches. Raises RecipeError when there are none."""
    if not samples.size:
        raise RecipeError("there are no calibration samples; some tens of typical inputs are enough")
    return [samples[i : i + size] for i in range(0, len(samples), size)]
