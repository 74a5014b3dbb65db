"""From an ONNX model to a Network.

A model whose inputs leave the batch open is walked for two batch sizes. What comes out the same holds for any batch;
a shape that differs is written so that it follows the batch, and where that cannot be, the error says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    """What `from_onnx` does. Each weight is read once, into the array that the network keeps."""
    known = {name: np.array(value) for name, value in constants.items()}
    with files.read(source) as model:
        origin = model_source(model, shapes, known)
    return _network(_translated(origin))


@dataclass(frozen=True)
class _Model:
    """A graph and the values of its parameters; codes: of those that are codes, as Translation.coded."""

    graph: Graph
    values: Mapping[str, NDArray[Any]]
    codes: Mapping[str, tuple[NDArray[Any], NDArray[np.float32]]]


def _translated(origin: Source) -> _Model:
    if any("N" in spec.shape for spec in origin.inputs):
        walks = [_walk(origin, batch) for batch in BATCHES]
        nodes = _for_any_batch(*walks)
    else:
        walks = [_walk(origin, 1)]
        nodes = tuple(walks[0].nodes)
    return _model(origin, nodes, walks)


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


def _model(source: Source, nodes: tuple[Node, ...], walks: Sequence[Translation]) -> _Model:
    """The graph, and of what is known what the nodes read."""
    values = walks[0].values
    outputs = tuple(value.name for value in source.graph.output)
    read = {name for node in nodes for name in node.inputs}
    inputs = tuple(spec for spec in source.inputs if spec.dtype == "float32" or spec.name in read)
    fed = {spec.name for spec in inputs}
    used = dict.fromkeys(name for name in (*(n for node in nodes for n in node.inputs), *outputs) if name in values)
    for name in used:
        if name in fed:
            raise GraphError(f"input {name!r} is a constant too")
        if not values[name].size:
            raise GraphError(
                f"the constant {name!r} has shape {values[name].shape}: a tensor of no elements cannot be run"
            )
        for walk in walks[1:]:
            if walk.values[name] is not values[name] and not np.array_equal(walk.values[name], values[name]):
                raise GraphError(
                    f"the constant {name!r} depends on the batch; fix the batch of every input: shapes={{…}}"
                )
    graph = Graph(nodes, inputs, outputs, tuple(used))
    return _Model(graph, {name: values[name] for name in used}, walks[0].coded)


def _network(model: _Model) -> Network:
    """The simplified graph and its weights."""
    stored = {
        name: coded(name, value, model.codes.get(name))
        for name, value in model.values.items()
        if _is_stored(model, name)
    }
    free = {name: weight.values for name, weight in stored.items() if isinstance(weight, Dense)}
    free |= _private({name: value for name, value in model.values.items() if name not in stored})
    extents = {name: value.shape for name, value in model.values.items()}
    with np.errstate(all="ignore"):  # what is not finite in the end is an error then
        graph, changed = simplify(model.graph, free, extents, in_place=True)
    return Network(graph, {name: _kept(name, stored, changed) for name in graph.parameters})


def _is_stored(model: _Model, name: str) -> bool:
    """Whether a weight is kept as the codes, halves or bfloat16 that the model has."""
    return name in model.codes or model.values[name].dtype.name in ("float16", "bfloat16")


def _private(values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Each value as a float32 array that shares its memory with no other: itself, where that is so already."""
    found: dict[str, NDArray[np.float32]] = {}
    taken: set[int] = set()
    for name, value in values.items():
        alone = value.dtype == np.float32 and value.flags.c_contiguous and value.base is None and id(value) not in taken
        taken.add(id(value))
        with np.errstate(over="ignore"):
            found[name] = value if alone and value.flags.writeable else np.array(value, np.float32)
    return found


def _kept(name: str, stored: Mapping[str, CodedWeight], changed: Values) -> CodedWeight:
    """The weight as it was stored, or as a rewrite of the graph left it."""
    weight = stored.get(name)
    if weight is not None and (not isinstance(weight, Dense) or changed[name] is weight.values):
        return weight
    try:
        return Dense(changed[name], owned=True)
    except WeightError as error:
        raise WeightError(f"weight {name!r}: {error}") from None


def coded(name: str, value: NDArray[Any], codes: tuple[NDArray[Any], NDArray[np.float32]] | None = None) -> CodedWeight:
    """A weight as it is stored: codes where it had them, else halves or bfloat16."""
    try:
        return Codebook(*codes) if codes is not None else Dense(value.astype(np.float32), value.dtype.name, owned=True)
    except WeightError as error:
        raise WeightError(f"weight {name!r}: {error}") from None
