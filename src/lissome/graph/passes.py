"""Rewrites of a graph that keep its meaning. Each is a function (graph, values) → (graph, values)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph.ir import Graph, Node

Values: TypeAlias = Mapping[str, NDArray[np.float32]]


def fold_batch_norm(graph: Graph, values: Values) -> tuple[Graph, Values]:
    """Fold BatchNormalization into the Conv or Gemm (transB=1) before it.

    values: float32 arrays of those parameters that may change. A batch norm stays where its layer's weight or any of
    its own parameters is not among them (a pruned and shared weight, say, whose few values scaling would multiply), or
    where weight or result is also used elsewhere.

    Per channel, s = scale / sqrt(variance + epsilon), weight' = weight × s and bias' = (bias − mean) × s + offset,
    computed in float64 and rounded once.
    """
    values = dict(values)
    maker = {output: node for node in graph.nodes for output in node.outputs}
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    replaced: dict[str, Node | None] = {}  # by node name; None: gone
    for norm in graph.nodes:
        layer = maker.get(norm.inputs[0]) if norm.op == "BatchNormalization" else None
        if layer is None or not _foldable(layer, norm, uses, values):
            continue
        scale, offset, mean, variance = (values[name].astype(np.float64) for name in norm.inputs[1:5])
        epsilon = norm.attributes.get("epsilon", 1e-5)
        factor = scale / np.sqrt(variance + float(epsilon))  # type: ignore[arg-type]
        weight_name, *rest = layer.inputs[1:]
        weight = values[weight_name]
        bias_name = rest[0] if rest else _beside(weight_name, "bias", graph.parameters)
        bias = values[bias_name].astype(np.float64) if rest else 0.0
        values[weight_name] = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
        values[bias_name] = ((bias - mean) * factor + offset).astype(np.float32)
        replaced[norm.name] = None
        replaced[layer.name] = replace(layer, inputs=(layer.inputs[0], weight_name, bias_name), outputs=norm.outputs)
    nodes = tuple(node for old in graph.nodes if (node := replaced.get(old.name, old)) is not None)
    used = dict.fromkeys(name for node in nodes for name in node.inputs)
    parameters = tuple(name for name in used if name in values or name in graph.parameters)
    return Graph(nodes, graph.inputs, graph.outputs, parameters), {n: v for n, v in values.items() if n in used}


def _foldable(layer: Node, norm: Node, uses: Counter[str], values: Values) -> bool:
    """Whether the layer feeds only this norm, owns its weights, and all values that would change are known."""
    if layer.op == "Gemm":
        plain = layer.attributes.get("transB") == 1 and {"alpha", "beta", "transA"}.isdisjoint(layer.attributes)
    else:
        plain = layer.op == "Conv"
    owned = all(uses[name] == 1 for name in layer.inputs[1:])
    known = all(name in values for name in (*layer.inputs[1:], *norm.inputs[1:5]))
    return plain and owned and known and uses[layer.outputs[0]] == 1


def _beside(weight: str, kind: str, taken: tuple[str, ...]) -> str:
    """Name for a new parameter of the layer that owns `weight`: "conv.bias" beside "conv.weight"."""
    name = f"{weight.rpartition('.')[0] or weight}.{kind}"
    while name in taken:
        name += "_"
    return name
