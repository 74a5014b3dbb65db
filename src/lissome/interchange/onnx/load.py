"""From an ONNX model to a Network.

A model whose inputs leave the batch open is walked for two batch sizes. What comes out the same holds for any batch;
a shape that differs is written so that it follows the batch, and where that cannot be, the error says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lissome.errors import GraphError, WeightError
from lissome.graph.ir import Extent, Graph, Node
from lissome.graph.passes import Values, simplify
from lissome.interchange.onnx import files
from lissome.interchange.onnx.translate import Source, Translation, model_source
from lissome.network import Network
from lissome.weights import Codebook, CodedWeight, Dense

BATCHES: Final = (2, 3)  # none is 1, which broadcasts


def load(
    source: str | os.PathLike[str] | bytes, shapes: Mapping[str, tuple[Extent, ...]], constants: Mapping[str, ArrayLike]
) -> Network:
    """What `from_onnx` does."""
    model, folder = files.read(source)
    known = {name: np.asarray(value) for name, value in constants.items()}
    origin = model_source(model, folder, shapes, known)
    if any("N" in spec.shape for spec in origin.inputs):
        walks = [_walk(origin, batch) for batch in BATCHES]
        nodes = _for_any_batch(*walks)
    else:
        walks = [_walk(origin, 1)]
        nodes = tuple(walks[0].nodes)
    return _network(origin, nodes, walks)


def _walk(source: Source, batch: int) -> Translation:
    walk = Translation(source, batch)
    walk.run()
    return walk


def _for_any_batch(first: Translation, second: Translation) -> tuple[Node, ...]:
    """The nodes of two walks of different batches as one list that holds for any batch."""
    found = []
    for a, b in zip(first.nodes, second.nodes, strict=False):
        if (a.op, a.name, a.inputs, a.outputs) != (b.op, b.name, b.inputs, b.outputs):
            raise _fixed(a, "what it is depends on the batch")
        found.append(a if a == b else _following(a, b, first.shapes, second.shapes))
    if len(first.nodes) != len(second.nodes):
        raise _fixed(found[-1], "the number of nodes behind it depends on the batch")
    return tuple(found)


def _following(a: Node, b: Node, first: Mapping[str, tuple[int, ...]], second: Mapping[str, tuple[int, ...]]) -> Node:
    """A Reshape to an extent that follows the batch: 0, which keeps the input's first, or else −1."""
    left, right = a.attributes.get("shape"), b.attributes.get("shape")
    if a.op != "Reshape" or not isinstance(left, tuple) or not isinstance(right, tuple) or len(left) != len(right):
        raise _fixed(a, f"its attributes are {dict(a.attributes)} for a batch of {BATCHES[0]}")
    shape = [int(extent) if extent == other else -1 for extent, other in zip(left, right, strict=True)]
    x, y = first[a.inputs[0]], second[a.inputs[0]]
    if left and x and left[0] == x[0] and right[0] == y[0] and left[0] != right[0]:
        shape[0] = 0
    if shape.count(-1) > 1:
        raise _fixed(a, f"its shape is {left} for a batch of {BATCHES[0]} and {right} for {BATCHES[1]}")
    return replace(a, attributes={**a.attributes, "shape": tuple(shape)})


def _fixed(node: Node, why: str) -> GraphError:
    return GraphError(
        f"node {node.name!r} ({node.op}) does not hold for any batch: {why}; fix the batch of every input, as in "
        "shapes={'x': (1, 3, 224, 224)}"
    )


def _network(source: Source, nodes: tuple[Node, ...], walks: Sequence[Translation]) -> Network:
    """The graph and its weights: of what is known, what the nodes read."""
    values = walks[0].values
    outputs = tuple(value.name for value in source.graph.output)
    read = {name for node in nodes for name in node.inputs}
    inputs = tuple(spec for spec in source.inputs if spec.dtype == "float32" or spec.name in read)
    fed = {spec.name for spec in inputs}
    used = dict.fromkeys(name for name in (*(n for node in nodes for n in node.inputs), *outputs) if name in values)
    for name in used:
        if name in fed:
            raise GraphError(f"input {name!r} is a constant too")
        for walk in walks[1:]:
            if walk.values[name] is not values[name] and not np.array_equal(walk.values[name], values[name]):
                raise GraphError(
                    f"the constant {name!r} depends on the batch; fix the batch of every input: shapes={{…}}"
                )
    weights = {name: coded(name, values[name], walks[0].coded.get(name)) for name in used}
    free = {name: weight.values for name, weight in weights.items() if isinstance(weight, Dense)}
    extents = {name: weight.shape for name, weight in weights.items()}
    graph, changed = simplify(Graph(nodes, inputs, outputs, tuple(used)), free, extents)
    return Network(graph, {name: _kept(name, weights, changed) for name in graph.parameters})


def _kept(name: str, weights: Mapping[str, CodedWeight], changed: Values) -> CodedWeight:
    """The weight as it was stored, or as a rewrite of the graph left it."""
    weight = weights.get(name)
    if weight is not None and (not isinstance(weight, Dense) or changed[name] is weight.values):
        return weight
    try:
        return Dense(changed[name])
    except WeightError as error:
        raise WeightError(f"weight {name!r}: {error}") from None


def coded(name: str, value: NDArray[Any], codes: tuple[NDArray[Any], NDArray[np.float32]] | None = None) -> CodedWeight:
    """A weight as it is stored: codes where it had them, halves and bfloat16 as what they are, all else float32."""
    if not value.size:
        raise GraphError(f"the constant {name!r} has shape {value.shape}: a tensor of no elements cannot be run")
    try:
        if codes is not None:
            return Codebook(*codes)
        with np.errstate(over="ignore"):
            real = value.astype(np.float32)
        return Dense(real, str(value.dtype) if value.dtype.name in ("float16", "bfloat16") else "float32")
    except WeightError as error:
        raise WeightError(f"weight {name!r}: {error}") from None
