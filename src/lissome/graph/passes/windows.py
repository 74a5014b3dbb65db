"""Paddings join what reads them; means over pixels, channel shuffles and the slices of a whole become one operator."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from lissome.graph import attributes
from lissome.graph.ir import Attribute, Node
from lissome.graph.passes.rewrite import Rule, View
from lissome.graph.rules.movement import permutation, slices

_MOST_PARTS: Final = 64  # of a tensor cut by slices
_POSITIVE: Final = ("Relu", "Sigmoid", "HardSigmoid", "Exp", "Softmax", "Softplus")  # never below zero


def _padded(view: View, node: Node) -> Node | None:
    """A padding with zeros joins a convolution, an average that counts it, or a maximum over what is never negative."""
    pad = view.made(node.inputs[0], "Pad")
    if pad is None or pad.attributes.get("mode", "constant") != "constant" or pad.attributes.get("value", 0.0) != 0:
        return None
    pads = attributes.int_list(pad, "pads")
    rank = len(pads) // 2
    begins, ends = pads[:rank], pads[rank:]
    own = attributes.ints(node, "pads", 2 * (rank - 2), (0,) * (2 * (rank - 2)))
    if any((*begins[:2], *ends[:2])) or min(pads) < 0 or rank not in (3, 4):
        return None
    total = tuple(a + b for a, b in zip((*begins[2:], *ends[2:]), own, strict=True))
    found: dict[str, Attribute] = {**node.attributes, "pads": total}
    if node.op != "Conv" and (any(own) or not _pooled(view, node, pad, total)):
        return None
    if node.op == "AveragePool":
        found["count_include_pad"] = 1
    return Node(node.op, node.name, (pad.inputs[0], *node.inputs[1:]), node.outputs, found)


def _pooled(view: View, node: Node, pad: Node, total: tuple[int, ...]) -> bool:
    """Whether a pooling means the same with this padding of its own."""
    kernel = attributes.int_list(node, "kernel_shape")
    plain = not node.attributes.get("ceil_mode", 0) and "dilations" not in node.attributes
    small = all(amount < extent for amount, extent in zip(total, kernel * 2, strict=True))
    maker = view.maker.get(pad.inputs[0])
    positive = maker is not None and (
        maker.op in _POSITIVE or (maker.op == "Clip" and attributes.real(maker, "min", -1.0) >= 0)
    )
    return plain and small and (node.op == "AveragePool" or positive)


def _pixel_mean(view: View, node: Node) -> Node | list[Node] | None:
    """ReduceMean over all pixels: a GlobalAveragePool, and a Flatten where the axes are dropped."""
    shape = view.shapes[node.inputs[0]]
    if len(shape) != 4 or attributes.axes(node, "axes", 4) not in ((2, 3), (3, 2)):
        return None
    if attributes.flag(node, "keepdims", 1):
        return Node("GlobalAveragePool", node.name, node.inputs, node.outputs)
    pooled = view.names.fresh(f"{node.name}.pooled")
    return [
        Node("GlobalAveragePool", pooled, node.inputs, (pooled,)),
        Node("Flatten", node.name, (pooled,), node.outputs, {"axis": 1}),
    ]


def _shuffle(view: View, node: Node) -> Node | None:
    """Channels as groups × each, transposed, and channels again (ShuffleNet): a Gather of channels in that order."""
    transpose = view.alone(node.inputs[0], "Transpose")
    apart = view.alone(transpose.inputs[0], "Reshape") if transpose is not None else None
    if transpose is None or apart is None:
        return None
    x, parts, y = (view.shapes[name] for name in (apart.inputs[0], apart.outputs[0], node.outputs[0]))
    if x != y or len(x) < 2 or parts[:1] != x[:1] or parts[3:] != x[2:] or len(parts) != len(x) + 1:
        return None
    if permutation(transpose, parts) != (0, 2, 1, *range(3, len(parts))):
        return None
    order = np.arange(x[1]).reshape(parts[1], parts[2]).T.reshape(-1)
    found: dict[str, Attribute] = {"axis": 1, "indices": tuple(int(channel) for channel in order)}
    return Node("Gather", node.name, apart.inputs, node.outputs, found)


def _parts(view: View, node: Node) -> Node | list[Node] | None:
    """Slices that together are a whole tensor: one Split, where the first of them is."""
    x = node.inputs[0]
    readers = [other for other in view.readers[x] if other.op == "Slice"]
    axis, _, _ = _range(view, node) or (None, 0, 0)
    if axis is None or not 2 <= len(readers) <= _MOST_PARTS:
        return None
    group = [(r, other) for other in readers if (r := _range(view, other)) is not None and r[0] == axis]
    ordered = sorted(group, key=lambda item: item[0])
    ends = [0, *(end for (_, _, end), _ in ordered)]
    if [start for (_, start, _), _ in ordered] != ends[:-1] or ends[-1] != view.shapes[x][axis]:
        return None
    if node.outputs != group[0][1].outputs:
        return []
    outputs = tuple(other.outputs[0] for _, other in ordered)
    split = tuple(end - start for start, end in itertools.pairwise(ends))
    return Node("Split", node.name, (x,), outputs, {"axis": axis, "split": split})


def _range(view: View, node: Node) -> tuple[int, int, int] | None:
    """Axis, start and end of a Slice along one axis, without steps; the batch, which has no fixed extent, is none."""
    taken = slices(node, view.shapes[node.inputs[0]])
    whole = view.shapes[node.inputs[0]]
    cut = [i for i, part in enumerate(taken) if (part.start, part.stop, part.step) != (0, whole[i], 1)]
    if len(cut) != 1 or cut[0] == 0 or taken[cut[0]].step != 1:
        return None
    part = taken[cut[0]]
    return cut[0], part.start, part.stop


WINDOWS: Final[Mapping[str, Sequence[Rule]]] = {
    "AveragePool": (_padded,),
    "Conv": (_padded,),
    "MaxPool": (_padded,),
    "ReduceMean": (_pixel_mean,),
    "Reshape": (_shuffle,),
    "Slice": (_parts,),
}
