"""Coupled channels: which channels of a network can only go together (after Fang et al., "DepGraph", CVPR 2023).

Removing a filter removes a channel of its result, with it the bias and the batch norm's entries, the columns of
whatever reads it, and whatever residual sums, concatenations, depthwise or grouped convolutions tie to it. Where the
paper builds a graph of dependencies between layers, every channel of every tensor carries a label here, operators pass
labels on, and a union-find joins those that an operator ties. Elements that move (reshape, transpose, concat, split)
move their labels with them, so that channel shuffles need no rule of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph import attributes, shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Graph, Node
from lissome.graph.rules import movement, reduction

Labels: TypeAlias = NDArray[np.int64]

_FIXED: Final = 0  # the label of what has to stay
_KEEPS: Final = (
    *("Abs", "AveragePool", "Cast", "Clip", "Elu", "Erf", "Exp", "Gelu", "GlobalAveragePool", "GlobalMaxPool"),
    *("HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "MaxPool", "Mish", "Neg", "Reciprocal", "Relu"),
    *("Resize", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "Binarize"),
)
_JOINS: Final = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "PRelu", "BatchNormalization")
_MOVES: Final = ("Concat", "Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Cut:
    """Entries `indices` along `axis` of the parameter `name`; made: they make channels, as filters and biases do."""

    name: str
    axis: int
    indices: tuple[int, ...]
    made: bool


@dataclass(frozen=True)
class Channel:
    """What goes when one channel goes: entries of one or, where channels are tied, many parameters."""

    cuts: tuple[Cut, ...]

    @property
    def family(self) -> tuple[tuple[str, int], ...]:
        """The parameters and axes that it is cut from: equal for the channels of one layer, or of tied layers."""
        return tuple((cut.name, cut.axis) for cut in self.cuts)


def channels(graph: Graph, weights: Mapping[str, Shape]) -> tuple[Channel, ...]:
    """Every channel of `graph` that can go, each with all that must go with it, in the order of the graph.

    weights: the shape of each parameter. Channels of inputs and outputs stay, and so does what meets an operator whose
    result depends on how many channels there are (local response norm, layer norm, a mean over channels, softmax), or
    that fixes their number (channels padded to a count). A channel that several cuts share is in one entry only.
    Raises what `shapes.infer` raises.
    """
    labelling = _Labelling(graph, weights)
    return labelling.channels()


class _Labelling:
    """One walk over a graph. Labels of a tensor: an array that broadcasts to its shape, an integer an element."""

    def __init__(self, graph: Graph, weights: Mapping[str, Shape]) -> None:
        specs = shapes.infer(graph, weights, 1)
        self.graph, self.weights = graph, weights
        self.extents = {name: tuple(int(extent) for extent in spec.shape) for name, spec in specs.items()}
        self.parent: list[int] = [_FIXED]
        self.labels: dict[str, Labels] = {}
        self.cuts: dict[tuple[str, int], tuple[Labels, bool]] = {}  # of an axis of a parameter: labels, made
        for spec in graph.inputs:
            self.labels[spec.name] = np.full((1,) * len(self.extents[spec.name]), _FIXED)
        for node in graph.nodes:
            self._visit(node)
        for name in graph.outputs:
            if name in self.labels:
                self._fix(self.labels[name])

    def channels(self) -> tuple[Channel, ...]:
        found: dict[int, list[Cut]] = defaultdict(list)
        fixed = {self._root(_FIXED)}
        for (name, axis), (labels, made) in self.cuts.items():
            places: dict[int, list[int]] = defaultdict(list)
            for index, label in enumerate(labels.tolist()):
                places[self._root(label)].append(index)
            for root, indices in places.items():
                found[root].append(Cut(name, axis, tuple(indices), made))
        return tuple(Channel(tuple(cuts)) for root, cuts in found.items() if root not in fixed)

    def _cut(self, name: str, axis: int, labels: Labels, *, made: bool) -> None:
        """Entries of a parameter go with these labels; of one that two layers share, with the labels of both."""
        if (name, axis) in self.cuts:
            before, made_before = self.cuts[name, axis]
            self._join(before, labels)
            made |= made_before
        self.cuts[name, axis] = (labels, made)

    def _visit(self, node: Node) -> None:
        rule = _RULES.get(node.op)
        read = [name for name in shapes.operands(node) if name]
        constant = [name for name in read if name in self.weights]
        if rule is None or any(name not in self.labels for name in read if name not in constant):
            self._give_up(node)
            return
        rule(self, node)
        for name in node.outputs:
            self.labels[name] = self._one_axis(self.labels[name])

    def _give_up(self, node: Node) -> None:
        """An operator that nothing is known of: its inputs, parameters and results stay as they are."""
        for name in node.inputs:
            if name in self.labels:
                self._fix(self.labels[name])
            elif name in self.weights:
                for axis, extent in enumerate(self.weights[name]):
                    self._cut(name, axis, np.full(extent, _FIXED), made=False)
        for name in node.outputs:
            self.labels[name] = np.full((1,) * len(self.extents[name]), _FIXED)

    def convolution(self, node: Node) -> None:
        """Fresh labels for the filters; groups tie the channels that keep them equal, depthwise ones keep channels."""
        name, weight, *bias = node.inputs
        k, c = self.weights[weight][:2]
        groups = attributes.integer(node, "group", 1)
        inputs = self._spread(name, 1)
        if groups == 1:
            filters = self._fresh(k)
        elif c == 1:  # depthwise: its filters are the input's channels, each `k / groups` times
            filters = np.repeat(inputs, k // groups)
        else:
            within = inputs.reshape(groups, c)
            self._join(within, within[:1])
            inputs, filters = within[0], np.tile(self._fresh(k // groups), groups)
        if c > 1 or groups == 1:
            self._cut(weight, 1, inputs, made=False)
        self._made(weight, 0, bias, filters)
        self.labels[node.outputs[0]] = filters.reshape(1, -1, *(1,) * (len(self.extents[name]) - 2))

    def product(self, node: Node) -> None:
        """Gemm, or MatMul with a parameter on the right: rows are read and columns made; transposed, the reverse."""
        name, weight, *bias = node.inputs
        transposed = node.op == "Gemm" and bool(attributes.flag(node, "transB", 0))
        if weight not in self.weights or len(self.weights[weight]) != 2 or attributes.flag(node, "transA", 0):
            self._give_up(node)
            return
        reads, makes = (1, 0) if transposed else (0, 1)
        rank = len(self.extents[name])
        self._cut(weight, reads, self._spread(name, rank - 1), made=False)
        filters = self._fresh(self.weights[weight][makes])
        self._made(weight, makes, bias, filters)
        self.labels[node.outputs[0]] = filters.reshape(*(1,) * (rank - 1), -1)

    def _made(self, weight: str, axis: int, bias: Sequence[str], filters: Labels) -> None:
        self._cut(weight, axis, filters, made=True)
        for name in bias:
            if name:
                self._cut(name, len(self.weights[name]) - 1, filters, made=True)

    def same(self, node: Node) -> None:
        """Element by element, or window by window within a channel."""
        labels = self.labels[node.inputs[0]]
        rank, made = labels.ndim, len(self.extents[node.outputs[0]])
        if any(n > 1 for n in labels.shape[2:]) or rank != made:
            labels = self._fixed_like(node)
        self.labels[node.outputs[0]] = labels

    def elementwise(self, node: Node) -> None:
        """Operands that broadcast against each other: their labels are tied where they meet."""
        out = self.extents[node.outputs[0]]
        if node.op == "BatchNormalization":
            shape = [1] * len(out)
            shape[1] = out[1]
            aligned = {name: tuple(shape) for name in node.inputs[1:]}
        elif node.op == "PRelu" and len(self.weights.get(node.inputs[1], ())) == 1 < len(out):
            aligned = {node.inputs[1]: (1, *self.weights[node.inputs[1]], *(1,) * (len(out) - 2))}
        else:
            aligned = {}
        whole: Labels | None = None
        for name in node.inputs:
            if name in self.labels:
                own = self.labels[name]
                labels = own.reshape((1,) * (len(out) - own.ndim) + own.shape)
                whole = labels if whole is None else self._join(whole, labels)
        if whole is None:
            self._give_up(node)
            return
        for name in node.inputs:
            if name in self.weights:
                self._parameter(name, aligned.get(name, self.weights[name]), whole)
        self.labels[node.outputs[0]] = whole

    def _parameter(self, name: str, aligned: Shape, whole: Labels) -> None:
        """An operand that is a parameter: cut along the axis on which the result's labels differ, where it has it."""
        full = (1,) * (whole.ndim - len(aligned)) + tuple(aligned)
        varying = [axis for axis, extent in enumerate(whole.shape) if extent > 1]
        for axis, extent in enumerate(full):
            if extent > 1:
                labels = whole.reshape(-1) if varying == [axis] and whole.size == extent else np.full(extent, _FIXED)
                if varying == [axis] and whole.size != extent:
                    self._fix(whole)
                own = self._own_axis(name, full, axis)
                self._cut(name, own, labels, made=True)

    def _own_axis(self, name: str, full: Shape, axis: int) -> int:
        """The axis of the parameter itself that stands at `axis` of the shape it was aligned to."""
        shape = self.weights[name]
        return 0 if len(shape) == 1 else axis - (len(full) - len(shape))

    def move(self, node: Node) -> None:
        """Elements change places, and their labels with them."""
        parts = [np.broadcast_to(self.labels[name], self.extents[name]) for name in node.inputs if name in self.labels]
        if len(parts) != len([name for name in node.inputs if name]):
            self._give_up(node)
            return
        for name, labels in zip(node.outputs, self._moved(node, parts), strict=True):
            self.labels[name] = labels

    def _moved(self, node: Node, parts: Sequence[Labels]) -> Sequence[Labels]:
        x = parts[0]
        if node.op == "Concat":
            return [np.concatenate(parts, attributes.integer(node, "axis", 0))]
        if node.op == "Transpose":
            return [x.transpose(movement.permutation(node, x.shape))]
        if node.op == "Split":
            axis, extents = movement.splits(node, x.shape)
            parts = np.split(x, np.cumsum(extents)[:-1], axis)
            if self.labels[node.inputs[0]].shape[axis] > 1:
                for part in parts[1:]:  # equal parts stay equal: the same channel of each; others have fixed places
                    self._join(part, parts[0]) if part.shape == parts[0].shape else self._fix(x)
            return parts
        if node.op == "Slice":
            taken = x[movement.slices(node, x.shape)]
            carried = self.labels[node.inputs[0]].shape
            if any(n > 1 and a != b for n, a, b in zip(carried, x.shape, taken.shape, strict=True)):
                self._fix(taken)  # some of the channels, by counts: those stay where they are
                self._fix(x)
            return [taken]
        return [x.reshape(self.extents[node.outputs[0]])]

    def gather(self, node: Node) -> None:
        """Gather that permutes, as a channel shuffle does: its indices are counts, so the channels it moves stay."""
        labels = self.labels[node.inputs[0]]
        axis = attributes.axis(node, "axis", 0, labels.ndim)
        if labels.shape[axis] > 1 or len(self.extents[node.outputs[0]]) != labels.ndim:
            self._give_up(node)
            return
        self.labels[node.outputs[0]] = labels

    def pad(self, node: Node) -> None:
        """Padding within channels passes labels on; channels that are added are counted, so the others stay."""
        labels = self.labels[node.inputs[0]]
        pads = movement.padding(node, self.extents[node.inputs[0]])
        if any(n > 1 and pair != (0, 0) for n, pair in zip(labels.shape, pads, strict=True)):
            labels = self._fixed_like(node)
        self.labels[node.outputs[0]] = labels

    def reduce(self, node: Node) -> None:
        """A sum over axes that carry one label each keeps the labels of the others; over channels, they stay."""
        labels = self.labels[node.inputs[0]]
        axes = reduction.reduced_axes(node, self.extents[node.inputs[0]])
        if any(labels.shape[axis] > 1 for axis in axes):
            labels = self._fixed_like(node)
        elif not attributes.flag(node, "keepdims", 1):
            labels = labels.reshape([n for axis, n in enumerate(labels.shape) if axis not in axes])
        self.labels[node.outputs[0]] = labels

    def _fixed_like(self, node: Node) -> Labels:
        """All that the first input carries stays; labels for the result, which says the same."""
        self._fix(self.labels[node.inputs[0]])
        return np.full((1,) * len(self.extents[node.outputs[0]]), _FIXED)

    def _one_axis(self, labels: Labels) -> Labels:
        """Labels that differ along one axis at most: a tensor stays a box only when whole slices of it go.

        Where they differ along several, those of the earlier axes are tied, as channel shuffles need: the same channel
        of every group.
        """
        labels = self._squeezed(labels)
        varying = [axis for axis, extent in enumerate(labels.shape) if extent > 1]
        for axis in varying[:-1]:
            first = np.take(labels, [0], axis)
            self._join(labels, first)
            labels = first
        return labels

    @staticmethod
    def _squeezed(labels: Labels) -> Labels:
        """The same labels, each axis along which nothing differs with an extent of one."""
        for axis in range(labels.ndim):
            first = np.take(labels, [0], axis)
            if np.array_equal(labels, np.broadcast_to(first, labels.shape)):
                labels = first
        return labels

    def _spread(self, name: str, axis: int) -> Labels:
        """The label of each entry along one axis of a tensor; where they differ along another one, those are fixed."""
        labels, extent = self.labels[name], self.extents[name][axis]
        if any(n > 1 for place, n in enumerate(labels.shape) if place != axis):
            self._fix(labels)
            return np.full(extent, _FIXED)
        return np.broadcast_to(labels.reshape(-1), (extent,)).copy()

    def _fresh(self, count: int) -> Labels:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def _fix(self, labels: Labels) -> None:
        self._join(labels, np.full((1,) * labels.ndim, _FIXED))

    def _join(self, first: Labels, second: Labels) -> Labels:
        """Tie labels that meet when two arrays are broadcast; returns the labels of the result."""
        a, b = np.broadcast_arrays(first, second)
        for one, other in np.unique(np.stack([a.reshape(-1), b.reshape(-1)]), axis=1).T.tolist():
            low, high = sorted((self._root(one), self._root(other)))
            self.parent[high] = low
        return a

    def _root(self, label: int) -> int:
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label


_RULES: Final[Mapping[str, Callable[[_Labelling, Node], None]]] = {
    "Conv": _Labelling.convolution,
    "Gather": _Labelling.gather,
    "Gemm": _Labelling.product,
    "MatMul": _Labelling.product,
    "Pad": _Labelling.pad,
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _Labelling.reduce),
    **dict.fromkeys(_KEEPS, _Labelling.same),
    **dict.fromkeys(_JOINS, _Labelling.elementwise),
    **dict.fromkeys(_MOVES, _Labelling.move),
}
