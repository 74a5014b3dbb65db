"""The walk over an ONNX graph for one batch size: what is known is computed, the rest becomes nodes.

Whatever has no counterpart is collected, so that one error names all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, ValueInfoProto

from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Attribute, Extent, Node, TensorSpec
from lissome.graph.names import Names
from lissome.interchange.onnx import files, fold
from lissome.interchange.onnx.call import Call, Unsupported
from lissome.interchange.onnx.operators import CONVERTERS
from lissome.interchange.onnx.quantization import computes_on_codes, keep_codes

MAX_FOLDED: Final = 2**30  # elements of all tensors that folding makes
MAX_DEPTH: Final = 16  # of branches inside branches


@dataclass(frozen=True)
class Source:
    """A model with its initialisers and constants as arrays, ready to be walked for any batch size.

    inputs: those that are fed at run time. values: float32, float16, integer, … arrays by tensor name.
    """

    graph: GraphProto
    opset: int
    folder: Path | None
    inputs: tuple[TensorSpec, ...]
    values: Mapping[str, NDArray[Any]]


class Translation:
    """One walk. Afterwards: nodes, the shapes of all tensors, and the values of those that are known.

    coded: weights that were int8 or uint8 codes with one scale, as (codes, the value of each code).
    """

    def __init__(self, source: Source, batch: int) -> None:
        self.source, self.opset = source, source.opset
        self.values: dict[str, NDArray[Any]] = dict(source.values)
        self.shapes: dict[str, Shape] = {name: value.shape for name, value in source.values.items()}
        self.nodes: list[Node] = []
        self.coded: dict[str, tuple[NDArray[Any], NDArray[np.float32]]] = {}
        self.integers: dict[str, str] = {}  # run-time tensors that are no reals, and their type
        self.of_codes: dict[str, str] = {}  # run-time tensors of codes, and their type
        self.on_codes = computes_on_codes(source.graph)
        self.lost: set[str] = set()  # tensors that something unsupported would have made
        self.complaints: dict[str, list[str]] = {}
        self.folded = 0
        self.names = Names()  # of nodes
        self.tensors = Names(_all_names(source.graph) | set(source.values))
        self.read = _read_names(source.graph)
        for spec in source.inputs:
            self.shapes[spec.name] = tuple(batch if extent == "N" else int(extent) for extent in spec.shape)
            if spec.dtype != "float32":
                self.integers[spec.name] = spec.dtype

    def run(self) -> None:
        """Walk the whole graph. Raises UnsupportedShape listing all that has no counterpart."""
        self._walk(self.source.graph, 0)
        outputs = [value.name for value in self.source.graph.output]
        for name in outputs:
            if name in self.values and self.values[name].dtype.kind not in "biu":
                continue
            if name in self.values or name in self.integers or name in self.of_codes:
                self.complaints.setdefault("integer results", []).append(f"output {name!r}")
            elif name not in self.shapes and name not in self.lost:
                raise GraphError(f"output {name!r} is made by no node")
        if self.complaints:
            listed = "; ".join(f"{what} ({', '.join(where)})" for what, where in sorted(self.complaints.items()))
            raise UnsupportedShape(f"operators that have no counterpart in a graph: {listed}")

    def _walk(self, graph: GraphProto, depth: int) -> None:
        known = set(self.shapes) | self.lost
        for node in files.in_order(graph.node, known):
            self._node(node, depth)

    def _node(self, node: NodeProto, depth: int) -> None:
        where = files.label(node)
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        try:
            self._translate(node, op, depth)
        except Unsupported as reason:
            because = f": {reason}" if str(reason) else ""
            self.complaints.setdefault(op, []).append(f"node {where!r}{because}")
            self.lost.update(filter(None, node.output))
        except (GraphError, UnsupportedShape) as error:
            text = str(error)
            raise type(error)(text if text.startswith("node ") else f"node {where!r} ({op}): {text}") from None

    def _translate(self, node: NodeProto, op: str, depth: int) -> None:
        known = op in CONVERTERS or op in fold.FOLDS or op in ("If", "Shape", "Size")
        if not known:
            raise Unsupported
        if any(name in self.lost for name in node.input):
            self.lost.update(filter(None, node.output))  # judged on their own; what feeds them has been complained of
            return
        attributes = files.attributes(node, self.source.folder)
        if op in ("Shape", "Size"):
            self._measure(node, attributes)
        elif op == "If":
            self._branch(node, attributes, depth)
        elif op in fold.FOLDS and all(not name or name in self.values for name in node.input):
            if op != "DequantizeLinear" or not keep_codes(self, node, attributes):
                self._fold(node, op, attributes)
        elif op not in CONVERTERS:
            raise Unsupported("at run time; only on constants")
        else:
            strange = {name: self.integers[name] for name in node.input if name in self.integers}
            if op != "DequantizeLinear":
                strange |= {name: self.of_codes[name] for name in node.input if name in self.of_codes}
            if strange:
                kinds = ", ".join(f"{name!r} is {kind}" for name, kind in strange.items())
                raise Unsupported(f"{kinds}; at run time every tensor is float32: give its value in constants={{…}}")
            CONVERTERS[op](Call(self, node, op, attributes))

    def _measure(self, node: NodeProto, attributes: Mapping[str, Any]) -> None:
        shape = np.array(self.shapes[node.input[0]], dtype=np.int64)
        if node.op_type == "Size":
            self.know(node.output[0], np.asarray(shape.prod(dtype=np.int64)))
            return
        start, end = attributes.get("start", 0), attributes.get("end", len(shape))
        self.know(node.output[0], shape[slice(*slice(start, end).indices(len(shape))[:2])])

    def _branch(self, node: NodeProto, attributes: Mapping[str, Any], depth: int) -> None:
        """An If whose condition is known: the nodes of the branch that is taken."""
        condition = self.values.get(node.input[0]) if node.input else None
        if condition is None or condition.size != 1:
            raise Unsupported("its condition is computed at run time")
        branch = attributes.get("then_branch" if bool(condition.reshape(-1)[0]) else "else_branch")
        if not isinstance(branch, GraphProto) or len(branch.output) != len(node.output) or depth >= MAX_DEPTH:
            raise GraphError("it has no such branch, one of other outputs, or too many inside each other")
        for tensor in branch.initializer:
            if tensor.name in self.shapes:
                raise GraphError(f"tensor {tensor.name!r} is defined twice, the second time in a branch")
            self.know(tensor.name, files.array(tensor, self.source.folder))
        self._walk(branch, depth + 1)
        for inner, outer in zip(branch.output, node.output, strict=True):
            if inner.name in self.values:
                self.know(outer, self.values[inner.name])
            elif inner.name in self.lost or inner.name not in self.shapes:
                self.lost.add(outer)
            else:
                self.emit("Identity", f"{files.label(node)}.{outer}", (inner.name,), (outer,), {})

    def _fold(self, node: NodeProto, op: str, attributes: Mapping[str, Any]) -> None:
        inputs = [self.values[name] if name else None for name in node.input]
        made = fold.fold(op, attributes, inputs, len(node.output))
        for name, value in zip(node.output, made, strict=False):
            if op in ("ConstantOfShape", "Expand") or value.base is None:
                self.folded += value.size
            if self.folded > MAX_FOLDED:
                raise UnsupportedShape(f"its constants come to more than the {MAX_FOLDED:,} elements allowed")
            if name:
                self.know(name, value)
        codes = inputs[0] if op == "DequantizeLinear" else None
        if codes is not None and codes.dtype in (np.int8, np.uint8) and inputs[1] is not None and inputs[1].size == 1:
            every, places = np.unique(codes, return_inverse=True)
            table = fold.dequantize({}, every, *[value.reshape(-1) for value in inputs[1:] if value is not None])
            self.coded[node.output[0]] = (places.reshape(codes.shape), table)

    def know(self, name: str, value: NDArray[Any]) -> None:
        """Let the tensor `name` have this value."""
        self.values[name], self.shapes[name] = value, value.shape
        self.tensors.taken.add(name)

    def emit(
        self,
        op: str,
        name: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        attributes: Mapping[str, Attribute],
    ) -> None:
        """Append a node, checked by its operator's rule. Trailing inputs that are left out are dropped."""
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        for given in inputs:
            if given in self.values and self.values[given].dtype.kind in "biu":
                raise Unsupported(f"it computes with {given!r}, which are {self.values[given].dtype}, at run time")
        for made in outputs:
            if made in self.shapes:
                raise GraphError(f"tensor {made!r} is defined twice")
        node = Node(op, self.names.fresh(name), inputs, outputs, attributes)
        self.shapes.update(shapes.output_shapes(node, self.shapes))
        self.nodes.append(node)

    def fresh(self, stem: str) -> str:
        """A name for a tensor that the model does not have."""
        return self.tensors.fresh(stem)


def spec(value: ValueInfoProto, given: tuple[Extent, ...] | None) -> TensorSpec:
    """The input that `value` declares, with the shape `given` instead of its own, if any.

    An open first extent is the batch. Raises UnsupportedShape for another open extent, or no tensor.
    """
    if value.type.WhichOneof("value") != "tensor_type":
        raise UnsupportedShape(f"input {value.name!r} is no tensor")
    tensor = value.type.tensor_type
    kind = tensor.elem_type
    dtype = "float32" if kind in files.REALS else str(fold.dtype_of(kind))
    if dtype not in ("float32", "int8", "uint8", "int32", "int64", "bool"):
        raise UnsupportedShape(f"input {value.name!r} is {dtype}, which no graph takes")
    if given is None:
        if not tensor.HasField("shape"):
            raise UnsupportedShape(f"input {value.name!r} has no shape; say it: shapes={{{value.name!r}: ('N', …)}}")
        given = tuple(_declared(i, extent) for i, extent in enumerate(tensor.shape.dim))
    if any(isinstance(extent, str) and (extent != "N" or i) for i, extent in enumerate(given)):
        shown = ", ".join(map(str, given))
        raise UnsupportedShape(
            f"input {value.name!r} has shape ({shown}): only the first extent may stay open; fix the others: "
            f"shapes={{{value.name!r}: (…)}}"
        )
    if any(isinstance(extent, int) and extent == 0 for extent in given):
        raise GraphError(f"input {value.name!r} has shape {given}: a tensor of no elements cannot be run")
    return TensorSpec(value.name, given, dtype)


def _declared(position: int, extent: Any) -> Extent:
    if extent.HasField("dim_value"):
        return "N" if position == 0 and extent.dim_value < 0 else int(extent.dim_value)
    return "N" if position == 0 else extent.dim_param or "?"


def _all_names(graph: GraphProto) -> set[str]:
    names = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    return names | {name for node in graph.node for name in (*node.input, *node.output)}


def _read_names(graph: GraphProto) -> Counter[str]:
    """How often each tensor is read, as the graph's output too."""
    reads = Counter(name for node in graph.node for name in node.input)
    reads.update(value.name for value in graph.output)
    return reads


def model_source(
    model: files.Model,
    shapes_given: Mapping[str, tuple[Extent, ...]],
    constants: Mapping[str, NDArray[Any]],
) -> Source:
    """Inputs and initialisers of a model. Raises GraphError for names that the model does not have or has twice."""
    graph = model.proto.graph
    if graph.sparse_initializer:
        raise UnsupportedShape(f"{len(graph.sparse_initializer)} initialisers are sparse tensors, which are not read")
    values: dict[str, NDArray[Any]] = {}
    for name, value in model.initialisers():
        if name in values:
            raise GraphError(f"initialiser {name!r} is given twice")
        values[name] = value
    declared = [value.name for value in graph.input]
    if len(set(declared)) != len(declared):
        raise GraphError(f"an input is declared twice: {declared}")
    for what, given in (("shapes", set(shapes_given)), ("constants", set(constants))):
        if given - set(declared):
            raise GraphError(f"{what} names {sorted(given - set(declared))}; the model's inputs are {declared}")
    values |= {name: np.asarray(value) for name, value in constants.items()}
    fed = [value for value in graph.input if value.name not in values]
    specs = tuple(spec(value, shapes_given.get(value.name)) for value in fed)
    return Source(graph, files.opset(model.proto), model.folder, specs, values)
