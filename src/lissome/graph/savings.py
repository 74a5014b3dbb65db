"""What lightweight convolutions save against the standard convolutions that they stand for.

- grouped: against one group.
- depthwise separable, that is a depthwise convolution and the pointwise one that reads it: against one convolution with
  the depthwise one's window from its channels to the pointwise one's filters. It costs 1/filters + 1/window of that.
- depthwise alone: against one group.
- factorised, 1×n and n×1 (one reading the other, or one alone): against n×n.
- pointwise alone: against 3×3, the smallest window that sees a neighbour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from lissome.graph import shapes
from lissome.graph.conv_shape import ConvShape, Shape
from lissome.graph.ir import Graph, Node

#: a kind's multiply-adds and the standard convolution's: M filters of k × k over C channels, a result of H × H
FORMULAS: Final[Mapping[str, str]] = {
    "depthwise separable": "H²·C·(k² + M) for M·H²·k²·C",
    "depthwise": "H²·C·k² for M·H²·k²·C",
    "grouped": "M·H²·k²·C / groups for M·H²·k²·C",
    "factorised": "H²·k·(C·r + r·M), r in between, for M·H²·k²·C",
    "pointwise": "M·H²·C for M·H²·3²·C",
}

_TRANSPARENT = ("BatchNormalization", "Clip", "HardSwish", "LeakyRelu", "Relu", "Swish")


@dataclass(frozen=True, slots=True)
class Saving:
    """One lightweight convolution, of one or two nodes, and the standard one in its place.

    Weights are those of the filters, without biases.
    """

    kind: str
    nodes: tuple[str, ...]
    macs: int
    weights: int
    standard_macs: int
    standard_weights: int

    @property
    def ratio(self) -> float:
        """How many times fewer multiply-adds."""
        return self.standard_macs / self.macs


def savings(graph: Graph, weights: Mapping[str, Shape], batch: int = 1) -> tuple[Saving, ...]:
    """Every lightweight convolution of `graph`, in its order, each node in one of them only."""
    known = shapes.infer(graph, weights, batch)
    extents = {name: tuple(int(extent) for extent in spec.shape) for name, spec in known.items()}
    made: dict[str, ConvShape] = {
        node.name: shapes.conv_shape(node, extents[node.inputs[0]], extents[node.inputs[1]])
        for node in graph.nodes
        if node.op == "Conv"
    }
    followed = _followers(graph)
    found: list[Saving] = []
    paired: set[str] = set()
    for name, first in made.items():
        if name in paired:
            continue
        after = followed.get(name, "")
        pair = _pair(first, made[after]) if after in made and after not in paired else None
        single = _single(first)
        if pair is not None:
            paired.add(after)
            found.append(_saving(pair[0], (name, after), [first, made[after]], pair[1]))
        elif single is not None:
            found.append(_saving(single[0], (name,), [first], single[1]))
    return tuple(found)


def _pair(first: ConvShape, second: ConvShape) -> tuple[str, ConvShape] | None:
    """What two convolutions are together, and the one that they stand for."""
    if _depthwise(first) and (second.r, second.s, second.groups) == (1, 1, 1):
        return "depthwise separable", replace(first, k=second.k, groups=1)
    windows = {(first.r, first.s), (second.r, second.s)}
    n = max(first.r, first.s)
    if windows == {(1, n), (n, 1)} and n > 1 and first.groups == second.groups:
        tall, wide = (first, second) if first.s == 1 else (second, first)
        return "factorised", ConvShape(
            n=first.n,
            c=first.c,
            h=first.h,
            w=first.w,
            k=second.k,
            r=n,
            s=n,
            groups=first.groups,
            stride_h=tall.stride_h,
            stride_w=wide.stride_w,
            pad_top=tall.pad_top,
            pad_left=wide.pad_left,
            pad_bottom=tall.pad_bottom,
            pad_right=wide.pad_right,
        )
    return None


def _single(conv: ConvShape) -> tuple[str, ConvShape] | None:
    if conv.groups > 1:
        return "depthwise" if _depthwise(conv) else "grouped", replace(conv, groups=1)
    if conv.r == conv.s == 1:
        beside = {side: getattr(conv, side) + 1 for side in ("pad_top", "pad_left", "pad_bottom", "pad_right")}
        return "pointwise", replace(conv, r=3, s=3, dilation_h=1, dilation_w=1, **beside)
    if 1 in (conv.r, conv.s) and conv.h > 1 and conv.w > 1:
        n = max(conv.r, conv.s)
        pads = max(conv.pad_top, conv.pad_left), max(conv.pad_bottom, conv.pad_right)
        sides = {"pad_top": pads[0], "pad_left": pads[0], "pad_bottom": pads[1], "pad_right": pads[1]}
        return "factorised", replace(conv, r=n, s=n, **sides)
    return None


def _depthwise(conv: ConvShape) -> bool:
    return conv.groups == conv.c > 1 and conv.r * conv.s > 1


def _saving(kind: str, nodes: tuple[str, ...], convs: list[ConvShape], standard: ConvShape) -> Saving:
    return Saving(
        kind,
        nodes,
        sum(conv.macs for conv in convs),
        sum(conv.k * conv.depth for conv in convs),
        standard.macs,
        standard.k * standard.depth,
    )


def _followers(graph: Graph) -> dict[str, str]:
    """For each convolution, the one convolution that alone reads it, through batch norm and activation."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    reader: dict[str, Node] = {name: node for node in graph.nodes for name in node.inputs[:1]}
    followers: dict[str, str] = {}
    for node in graph.nodes:
        after = node
        while node.op == "Conv" and uses[after.outputs[0]] == 1 and after.outputs[0] in reader:
            after = reader[after.outputs[0]]
            if after.op == "Conv":
                followers[node.name] = after.name
            if after.op not in _TRANSPARENT:
                break
    return followers
