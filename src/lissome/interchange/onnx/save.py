"""From a Network to an ONNX model that any runtime reads: operator set 20 (22 where it must be), the batch open.

Attributes that ONNX takes as inputs become initialisers. A weight whose values are scale × (code − zero point) for int8
codes is written as those codes behind a DequantizeLinear, which gives its float32 values exactly; any other is dense.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

import lissome
from lissome.errors import LimitError, UnsupportedShape
from lissome.files import write_atomic
from lissome.graph import attributes, shapes
from lissome.graph.ir import Node
from lissome.graph.names import Names
from lissome.graph.rules.layers import DIRECTIONS
from lissome.graph.rules.quantization import codes_of
from lissome.interchange.onnx.affine import affine
from lissome.network import Network

OPSET, CEILING_OPSET = 20, 22  # before 22, windows that ceil_mode adds may start in the padding behind the input
IR_VERSIONS: Final = {OPSET: 9, CEILING_OPSET: 10}
LARGEST: Final = 2**31 - 2**20  # bytes of weights that still leave a protobuf message room for the graph
EXTERNAL_FLOOR: Final = 1024  # bytes from which a weight goes to the file beside the model
ALIGNMENT: Final = 4096


def save(net: Network, path: str | os.PathLike[str], *, external: bool | None = None) -> int:
    """What `export_onnx` does."""
    made = _Writer(net)
    size = sum(len(tensor.raw_data) for tensor in made.initialisers)
    beside = size > LARGEST if external is None else external
    data = made.move_out(f"{Path(path).name}.data") if beside else b""
    encoded = made.model().SerializeToString(deterministic=True)
    if len(encoded) > 2**31 - 1:
        raise LimitError(f"a model of {len(encoded):,} bytes; ONNX allows less than 2 GiB besides external data")
    if data:
        write_atomic(f"{os.fspath(path)}.data", data)
    write_atomic(path, encoded)
    return len(encoded) + len(data)


class _Writer:
    """The parts of a model under construction."""

    def __init__(self, net: Network) -> None:
        self.net, self.graph = net, net.graph
        self.nodes: list[NodeProto] = []
        self.initialisers: list[TensorProto] = []
        made = {name for node in self.graph.nodes for name in node.outputs}
        self.names = Names((*made, *self.graph.parameters, *(spec.name for spec in self.graph.inputs)))
        extents = {name: weight.shape for name, weight in net.weights.items()}
        self.specs = [shapes.infer(self.graph, extents, batch) for batch in (2, 3)]
        self.opset = CEILING_OPSET if any(map(self._fewer_windows, self.graph.nodes)) else OPSET
        self.codes = {node.inputs[0]: codes_of(node)[0] for node in self.graph.nodes if node.op == "DequantizeLinear"}
        self.biases = _biases(net)
        for name, weight in net.weights.items():
            self._weight(name, weight.to_dense())
        for node in self.graph.nodes:
            WRITERS.get(node.op, _plain)(self, node)

    def model(self) -> ModelProto:
        """The whole model."""
        graph = helper.make_graph(
            self.nodes,
            "lissome",
            [
                helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, list(spec.shape))
                for spec in self.graph.inputs
            ],
            self._outputs(),
            self.initialisers,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSIONS[self.opset],
            producer_name="lissome",
            producer_version=lissome.__version__,
        )

    def _outputs(self) -> list[ValueInfoProto]:
        """Outputs with their shapes; an extent that follows the batch is "N" where it is the batch, else unsaid."""
        two, three = self.specs
        made = []
        for name in self.graph.outputs:
            pairs = zip(two[name].shape, three[name].shape, strict=True)
            shape = [a if a == b else "N" if (a, b) == (2, 3) else None for a, b in pairs]
            made.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return made

    def _fewer_windows(self, node: Node) -> bool:
        """Whether a pooling has fewer windows than operator sets before 22 would give it."""
        if node.op not in ("AveragePool", "MaxPool") or not node.attributes.get("ceil_mode", 0):
            return False
        shape = shapes.pool_shape(node, tuple(int(extent) for extent in self.specs[0][node.inputs[0]].shape))
        height = shape.h + shape.pad_top + shape.pad_bottom - shape.dilation_h * (shape.r - 1) - 1
        width = shape.w + shape.pad_left + shape.pad_right - shape.dilation_w * (shape.s - 1) - 1
        return (shape.p, shape.q) != (-(-height // shape.stride_h) + 1, -(-width // shape.stride_w) + 1)

    def _weight(self, name: str, value: NDArray[np.float32]) -> None:
        if name in self.codes:
            self.constant(name, value.astype(self.codes[name]))
            return
        if name in self.biases:
            whole = np.rint(value.astype(np.float64).reshape(-1) / self.biases[name].astype(np.float64))
            self._dequantized(name, whole.astype(np.int32), self.biases[name], np.zeros(whole.size, np.int32), axis=0)
            return
        found = affine(value) if self.net.weights[name].describe() not in ("float32", "float16", "bfloat16") else None
        if found is None:
            self.constant(name, value)
            return
        self._dequantized(name, *found)

    def _dequantized(self, name: str, *found: NDArray[Any], **attributes: Any) -> None:
        """The tensor `name` as codes with scale and zero."""
        parts = dict(zip(("codes", "scale", "zero"), found, strict=True))
        operands = [self.constant(self.names.fresh(f"{name}.{part}"), value) for part, value in parts.items()]
        self.nodes.append(helper.make_node("DequantizeLinear", operands, [name], f"{name}.dequantize", **attributes))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """An initialiser; returns its name."""
        self.initialisers.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def given(self, node: Node, name: str, value: NDArray[Any] | None) -> str:
        """An input that the graph has as an attribute; empty for none."""
        return "" if value is None else self.constant(self.names.fresh(f"{node.name}.{name}"), value)

    def add(self, node: Node, *inputs: str, op: str = "", outputs: tuple[str, ...] = (), **found: Any) -> None:
        """A node of the model."""
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        name = node.name if not outputs else outputs[0]
        self.nodes.append(helper.make_node(op or node.op, inputs, outputs or node.outputs, name, **found))

    def move_out(self, location: str) -> bytes:
        """Move the large initialisers' bytes to a file of this name; returns what it holds."""
        parts, size = list[bytes](), 0
        for tensor in self.initialisers:
            if len(tensor.raw_data) < EXTERNAL_FLOOR:
                continue
            gap = -size % ALIGNMENT
            parts += [bytes(gap), tensor.raw_data]
            entries = {"location": location, "offset": size + gap, "length": len(tensor.raw_data)}
            size += gap + len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
        return b"".join(parts)


def _plain(writer: _Writer, node: Node) -> None:
    writer.add(node, *node.inputs, **{name: _listed(value) for name, value in node.attributes.items()})


def _pool(writer: _Writer, node: Node) -> None:
    """Strides stand there even where they are 1: MNN's converter stops without them."""
    plain = {name: _listed(value) for name, value in node.attributes.items()}
    writer.add(node, *node.inputs, **{"strides": [1] * len(attributes.int_list(node, "kernel_shape"))} | plain)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _ints(node: Node, name: str) -> NDArray[np.int64] | None:
    """An attribute of ints as the array that ONNX wants."""
    return np.array(node.attributes[name], dtype=np.int64) if name in node.attributes else None


def _real(node: Node, name: str) -> NDArray[np.float32] | None:
    """An attribute of one number as the array that ONNX wants."""
    return np.array(node.attributes[name], dtype=np.float32) if name in node.attributes else None


def _moved(*names: str) -> Callable[[_Writer, Node], None]:
    """A writer of an operator whose attributes of these names are integer inputs behind the first."""

    def write(writer: _Writer, node: Node) -> None:
        rest = {name: _listed(value) for name, value in node.attributes.items() if name not in names}
        operands = (writer.given(node, name, _ints(node, name)) for name in names)
        writer.add(node, node.inputs[0], *operands, **rest)

    return write


def _clip(writer: _Writer, node: Node) -> None:
    writer.add(node, node.inputs[0], *(writer.given(node, name, _real(node, name)) for name in ("min", "max")))


def _pad(writer: _Writer, node: Node) -> None:
    mode = attributes.word(node, "mode", ("constant", "reflect", "edge", "wrap"))
    pads, value = writer.given(node, "pads", _ints(node, "pads")), writer.given(node, "value", _real(node, "value"))
    writer.add(node, node.inputs[0], pads, value, mode=mode)


def _gather(writer: _Writer, node: Node) -> None:
    flat = attributes.int_list(node, "indices")
    indices = np.array(flat, dtype=np.int64).reshape(attributes.int_list(node, "indices_shape", (len(flat),)))
    writer.add(node, node.inputs[0], writer.given(node, "indices", indices), axis=attributes.integer(node, "axis", 0))


def _resize(writer: _Writer, node: Node) -> None:
    moved = ("roi", "scales", "sizes")
    rest = {name: _listed(value) for name, value in node.attributes.items() if name not in moved}
    roi, scales = (
        np.array(node.attributes[name], dtype=np.float32) if name in node.attributes else None for name in moved[:2]
    )
    operands = zip(moved, (roi, scales, _ints(node, "sizes")), strict=True)
    writer.add(node, node.inputs[0], *(writer.given(node, name, value) for name, value in operands), **rest)


def _slice(writer: _Writer, node: Node) -> None:
    starts = _ints(node, "starts")
    count = 0 if starts is None else len(starts)
    axes = _ints(node, "axes") if "axes" in node.attributes else np.arange(count, dtype=np.int64)
    operands = {"starts": starts, "ends": _ints(node, "ends"), "axes": axes, "steps": _ints(node, "steps")}
    writer.add(node, node.inputs[0], *(writer.given(node, name, value) for name, value in operands.items()))


def _split(writer: _Writer, node: Node) -> None:
    axis, parts = attributes.integer(node, "axis", 0), writer.given(node, "split", _ints(node, "split"))
    if parts:
        writer.add(node, node.inputs[0], parts, axis=axis)
    else:
        writer.add(node, node.inputs[0], axis=axis, num_outputs=len(node.outputs))


def _binarize(writer: _Writer, node: Node) -> None:
    """In parts, sign(sign(x) + 1/2): ONNX has no sign that is never 0."""
    sign, moved = (writer.names.fresh(f"{node.name}.{part}") for part in ("sign", "moved"))
    writer.add(node, node.inputs[0], op="Sign", outputs=(sign,))
    writer.add(node, sign, writer.given(node, "half", np.array(0.5, np.float32)), op="Add", outputs=(moved,))
    writer.add(node, moved, op="Sign")


def _swish(writer: _Writer, node: Node) -> None:
    """In parts: Swish is an operator only since set 24."""
    x, alpha = node.inputs[0], _real(node, "alpha")
    if alpha is not None and alpha != 1:
        scaled = writer.names.fresh(f"{node.name}.scaled")
        writer.add(node, x, writer.given(node, "alpha", alpha), op="Mul", outputs=(scaled,))
    else:
        scaled = x
    gate = writer.names.fresh(f"{node.name}.gate")
    writer.add(node, scaled, op="Sigmoid", outputs=(gate,))
    writer.add(node, x, gate, op="Mul")


def _lstm(writer: _Writer, node: Node) -> None:
    """With the hidden size, which ONNX wants to be told."""
    recurrent = writer.net.weights.get(node.inputs[2])
    hidden = attributes.integer(node, "hidden_size", recurrent.shape[-1] if recurrent is not None else 0)
    if hidden < 1:
        raise UnsupportedShape(f"node {node.name!r} (LSTM): its hidden_size must be said where R is computed")
    direction = attributes.word(node, "direction", DIRECTIONS)
    writer.add(node, *node.inputs, hidden_size=hidden, direction=direction)


def _linear(writer: _Writer, node: Node) -> None:
    """QuantizeLinear and DequantizeLinear: a zero point for each scale, of the codes' type."""
    dtype, zero = codes_of(node)
    shape = writer.net.weights[node.inputs[1]].shape
    point = writer.given(node, "zero_point", np.full(shape, zero, dtype))
    along: dict[str, Any] = {"axis": attributes.integer(node, "axis", 1)} if shape not in ((), (1,)) else {}
    writer.add(node, *node.inputs, point, **along)


def _biases(net: Network) -> dict[str, NDArray[np.float32]]:
    """Biases of layers on codes, and the scale of each one's sums, of which it is a whole multiple: other runtimes take
    them as int32.
    """
    made = {node.outputs[0]: node for node in net.graph.nodes if node.op == "DequantizeLinear"}
    found: dict[str, NDArray[np.float32]] = {}
    for node in net.graph.nodes:
        sources = [made.get(name) for name in node.inputs[:2]]
        if node.op not in ("Conv", "Gemm") or len(node.inputs) < 3 or node.inputs[2] not in net.weights:
            continue
        scales = [net.weights[source.inputs[1]].to_dense() for source in sources if source is not None]
        bias = net.weights[node.inputs[2]].to_dense()
        if len(scales) == 2 and scales[0].size == 1 and scales[1].size in (1, bias.size) and bias.ndim == 1:
            found[node.inputs[2]] = np.broadcast_to(scales[0].reshape(()) * scales[1].reshape(-1), bias.shape)
    readers = [name for node in net.graph.nodes for name in node.inputs]
    return {name: scale for name, scale in found.items() if readers.count(name) == 1 and np.all(scale > 0)}


def _space_to_depth(writer: _Writer, node: Node) -> None:
    if attributes.word(node, "mode", ("DCR", "CRD")) != "DCR":
        raise UnsupportedShape(f"node {node.name!r} (SpaceToDepth): operator set {writer.opset} has no mode CRD")
    writer.add(node, *node.inputs, blocksize=attributes.integer(node, "blocksize", 0))


WRITERS: Final[Mapping[str, Callable[[_Writer, Node], None]]] = {
    **{f"Reduce{kind}": _moved("axes") for kind in ("Max", "Mean", "Min", "Prod", "Sum")},
    "AveragePool": _pool,
    "Binarize": _binarize,
    "Clip": _clip,
    "DequantizeLinear": _linear,
    "Expand": _moved("shape"),
    "Gather": _gather,
    "LSTM": _lstm,
    "MaxPool": _pool,
    "Pad": _pad,
    "QuantizeLinear": _linear,
    "Reshape": _moved("shape"),
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _moved("axes"),
    "Swish": _swish,
    "Tile": _moved("repeats"),
    "Unsqueeze": _moved("axes"),
}
