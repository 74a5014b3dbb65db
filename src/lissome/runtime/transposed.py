"""ConvTranspose as ordinary convolutions: one for each phase of its stride, whose outputs are then interleaved.

With stride s, output h = s · u + f reads x[p] through tap r where p = u + (f + pad − r · dilation) / s is whole. For a
fixed phase f those taps are evenly spaced, and the sum over them is a convolution of x with stride 1: no multiplication
with an inserted zero, and every convolution kernel of the engine serves. The phases' outputs lie side by side as
channels, which costs nothing (a Concat is a view), and one strided copy interleaves them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lissome.graph import shapes
from lissome.graph.conv_shape import ConvShape, Shape
from lissome.graph.ir import Attribute, Graph, Node
from lissome.runtime.held import Held
from lissome.weights import CodedWeight, Dense


@dataclass(frozen=True)
class _Axis:
    """One axis of one phase: taps in the order of the input elements that they read, and where those lie.

    The phase reads x[begin : end], with `before` and `after` zeros around it; nothing is read where taps is empty.
    """

    taps: tuple[int, ...]
    dilation: int
    begin: int
    end: int
    before: int
    after: int


@dataclass(frozen=True)
class _Layer:
    """A ConvTranspose. shape: the convolution that it turns round; weight: (outputs, inputs / groups, r, s), not
    turned; x: the input's shape; each: what every phase makes of each axis; value: the bias, zeros where it has none.
    """

    node: Node
    shape: ConvShape
    weight: NDArray[np.float32]
    x: Shape
    each: Shape
    value: NDArray[np.float32]

    @property
    def strides(self) -> Shape:
        """Of each axis."""
        return (self.shape.stride_h, self.shape.stride_w)[4 - len(self.x) :]

    @property
    def out(self) -> Shape:
        """Extents of the output's axes."""
        return (self.shape.h, self.shape.w)[4 - len(self.x) :]


def expanded(net: Held, batch: int) -> Held:
    """The network with its transposed convolutions expanded, for inputs of `batch` elements.

    One whose weight or bias is computed stays. Raises as graph.shapes.infer does.
    """
    if not any(node.op == "ConvTranspose" for node in net.graph.nodes):
        return net
    specs = shapes.infer(net.graph, {name: weight.shape for name, weight in net.weights.items()}, batch)
    known = {name: tuple(int(extent) for extent in spec.shape) for name, spec in specs.items()}
    nodes: list[Node] = []
    weights = dict(net.weights)
    for node in net.graph.nodes:
        if node.op == "ConvTranspose" and all(name in net.weights for name in node.inputs[1:] if name):
            made, added = phases(net, node, known)
            nodes += made
            weights |= added
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.inputs} | set(net.graph.outputs)
    weights = {name: weight for name, weight in weights.items() if name in used}
    return Held(Graph(tuple(nodes), net.graph.inputs, net.graph.outputs, tuple(weights)), weights)


def phases(net: Held, node: Node, known: Mapping[str, Shape]) -> tuple[list[Node], dict[str, CodedWeight]]:
    """Nodes that make the output of a ConvTranspose, and their weights."""
    layer = _layer(net, node, known[node.inputs[0]])
    nodes: list[Node] = []
    added: dict[str, CodedWeight] = {}
    parts = []
    for number, phase in enumerate(itertools.product(*map(range, layer.strides))):
        name = f"{node.name}.phase{number}"
        y = node.outputs[0] if math.prod(layer.strides) == 1 else _new(name, known)
        nodes += _phase(layer, _axes(layer, phase), name, y, added)
        parts.append(y)
    if len(parts) > 1:
        nodes += _interleave(layer, parts, known)
    return nodes, added


def _layer(net: Held, node: Node, x: Shape) -> _Layer:
    given = net.weights[node.inputs[1]].to_dense()
    s = shapes.conv_transpose_shape(node, x, given.shape)
    groups = given.reshape(s.groups, s.k // s.groups, s.c // s.groups, s.r, s.s)
    weight = groups.transpose(0, 2, 1, 3, 4).reshape(s.c, s.k // s.groups, s.r, s.s)
    strides, out = (s.stride_h, s.stride_w)[4 - len(x) :], (s.h, s.w)[4 - len(x) :]
    each = tuple(-(-extent // stride) for extent, stride in zip(out, strides, strict=True))
    bias = node.inputs[2] if len(node.inputs) > 2 else ""
    value = net.weights[bias].to_dense() if bias else np.zeros(s.c, np.float32)
    return _Layer(node, s, weight, x, each, value)


def _new(name: str, known: Mapping[str, Shape]) -> str:
    while name in known:
        name += "_"
    return name


def _axes(layer: _Layer, phase: tuple[int, ...]) -> list[_Axis]:
    s, rank = layer.shape, len(layer.x)
    vertical = (s.stride_h, s.dilation_h, s.pad_top, s.r)
    horizontal = (s.stride_w, s.dilation_w, s.pad_left, s.s)
    along = zip((vertical, horizontal)[4 - rank :], layer.x[2:], phase, layer.each, strict=True)
    axes = [_axis(*window, extent=extent, phase=f, count=count) for window, extent, f, count in along]
    return axes if rank == 4 else [_Axis((0,), 1, 0, 1, 0, 0), *axes]


def _axis(stride: int, dilation: int, pad: int, window: int, *, extent: int, phase: int, count: int) -> _Axis:
    """What `count` outputs of a phase read of an axis of `extent` elements."""
    taps = tuple(r for r in reversed(range(window)) if (phase + pad - r * dilation) % stride == 0)
    if not taps:
        return _Axis((), 1, 0, 0, 0, 0)
    first, last = ((phase + pad - r * dilation) // stride for r in (taps[0], taps[-1]))
    begin, end = max(0, first), min(extent, count + last)
    return _Axis(
        taps if begin < end else (),
        dilation // math.gcd(stride, dilation),
        begin,
        end,
        max(0, -first),
        max(0, count + last - extent),
    )


def _phase(layer: _Layer, axes: list[_Axis], name: str, y: str, added: dict[str, CodedWeight]) -> list[Node]:
    """The nodes of one phase: a convolution of what it reads of x, or the bias alone where no tap falls inside."""
    node, rank = layer.node, len(layer.x)
    if not all(axis.taps for axis in axes):
        added[f"{name}.value"] = Dense(layer.value.reshape(1, -1, *(1,) * (rank - 2)))
        shape = (layer.x[0], layer.shape.c, *layer.each)
        return [Node("Expand", name, (f"{name}.value",), (y,), {"shape": shape})]
    taps = layer.weight[:, :, axes[0].taps][:, :, :, axes[1].taps]
    added[f"{name}.weight"] = Dense(np.ascontiguousarray(taps if rank == 4 else taps[:, :, 0], dtype=np.float32))
    axes = axes[4 - rank :]
    nodes, source = [], node.inputs[0]
    if any(axis.begin > 0 or axis.end < extent for axis, extent in zip(axes, layer.x[2:], strict=True)):
        begins, ends = tuple(axis.begin for axis in axes), tuple(axis.end for axis in axes)
        cut = {"starts": begins, "ends": ends, "axes": tuple(range(2, rank))}
        nodes.append(Node("Slice", f"{name}.read", (source,), (f"{name}.read",), cut))
        source = f"{name}.read"
    how: dict[str, Attribute] = {
        "pads": (*(axis.before for axis in axes), *(axis.after for axis in axes)),
        "dilations": tuple(axis.dilation for axis in axes),
        "group": layer.shape.groups,
    }
    return [*nodes, Node("Conv", name, (source, f"{name}.weight", *node.inputs[2:3]), (y,), how)]


def _interleave(layer: _Layer, parts: list[str], known: Mapping[str, Shape]) -> list[Node]:
    """Phases (n, phases · channels, u…) to (n, channels, outputs…): what lies beyond the output is cut off."""
    node, shape, axes = layer.node, layer.shape, len(layer.strides)
    names = [_new(f"{node.name}.{step}", known) for step in ("phases", "apart", "turned", "whole")]
    perm = (0, 1 + axes, *(axis for i in range(axes) for axis in (2 + axes + i, 1 + i)))
    apart = (shape.n, *layer.strides, shape.c, *layer.each)
    whole = tuple(stride * count for stride, count in zip(layer.strides, layer.each, strict=True))
    last = node.outputs[0] if whole == layer.out else names[3]
    nodes = [
        Node("Concat", names[0], tuple(parts), (names[0],), {"axis": 1}),
        Node("Reshape", names[1], (names[0],), (names[1],), {"shape": apart}),
        Node("Transpose", names[2], (names[1],), (names[2],), {"perm": perm}),
        Node("Reshape", names[3], (names[2],), (last,), {"shape": (shape.n, shape.c, *whole)}),
    ]
    if whole != layer.out:
        cut = {"starts": (0,) * axes, "ends": layer.out, "axes": tuple(range(2, 2 + axes))}
        nodes.append(Node("Slice", f"{node.name}.cut", (last,), node.outputs, cut))
    return nodes
