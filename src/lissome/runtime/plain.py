"""Which tensors lie plain, with pixels side by side, because the sparse convolutions around them want that.

A sparse convolution broadcasts its weights against neighbouring pixels. From and to blocks of channels it turns squares
of numbers over, which costs more than the products of the few weights left. Convolutions by dense kernels run on
blocks; operators between convolutions take either layout. So each set of tensors that such operators join is plain
where that saves more turning over than it makes.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from lissome.graph.ir import Node
from lissome.runtime import algorithms, kernels
from lissome.runtime.algorithms import FEW, IN_BLOCKS, IN_PLAIN, OUT_BLOCKS, OUT_PLAIN, Layer
from lissome.runtime.lower import conv

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

#: vector multiply-adds for turning a vector over in a step of its own
REORDER: Final = 30.0
#: operators that make a tensor of their inputs' layout
JOINING: Final = (
    *("Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Elu", "Gelu", "HardSigmoid", "HardSwish"),
    *("Identity", "LeakyRelu", "Max", "MaxPool", "Min", "Mish", "Mul", "Neg", "PRelu", "Relu", "Sigmoid", "Softplus"),
    *("Sqrt", "Sub", "Swish", "Tanh"),
)


def plain_tensors(planner: Planner) -> frozenset[str]:
    """Names of the tensors that are to lie plain; none where vectors cannot close their ranks, as AVX-512's can, so
    that plain outputs cost more (native/conv/band.h).
    """
    if planner.isa != "avx512":
        return frozenset()
    sets, gains = _Sets(), defaultdict[str, float](float)
    for node in planner.net.graph.nodes:
        if node.op in JOINING:
            _join(sets, node, planner)
        elif conv.is_layer(planner, node) and len(planner.shape(node.inputs[0])) == 4:
            layer, ends = conv.layer(planner, node), (node.inputs[0], node.outputs[0])
            asked = planner.prepared.wanted.get(node.name)
            if asked is None and algorithms.able("channelwise", layer):
                sets.join(*ends)
                gains[ends[0]] += algorithms.time("depthwise", layer) - algorithms.time("channelwise", layer)
                continue
            for end, gain in zip(ends, _gains(layer, asked), strict=True):
                gains[end] += gain
    total = defaultdict[str, float](float)
    for name, gain in gains.items():
        total[sets.root(name)] += gain
    return frozenset(name for name in planner.shapes if total[sets.root(name)] > 0)


def _gains(layer: Layer, asked: str | None) -> tuple[float, float]:
    """What a convolution gains by a plain input and by a plain output, in vector multiply-adds."""
    s = layer.shape
    vectors = s.n * s.c * s.h * s.w / layer.lanes, s.n * s.k * s.p * s.q / layer.lanes
    if asked is not None:
        found = algorithms.named(asked)
        blocks = kernels.blocks(found.kernel(layer.isa)) if found is not None else (layer.lanes, layer.lanes)
        first, last = (REORDER if block == 1 else -REORDER for block in blocks)
    elif algorithms.choose(layer, "", plain=(True, True))[0].sparse:
        first, last = IN_BLOCKS - IN_PLAIN, OUT_BLOCKS - OUT_PLAIN
    else:
        first, last = 0.0 if s.c <= FEW else -REORDER, -REORDER
    return first * vectors[0], last * vectors[1]


def _join(sets: _Sets, node: Node, planner: Planner) -> None:
    """The tensors of a node that are as large as its output, or parts of it."""
    rank = len(planner.shape(node.outputs[0]))
    for name in node.inputs:
        if name and name not in planner.net.weights and len(planner.shape(name)) == rank == 4:
            sets.join(name, node.outputs[0])


class _Sets:
    """Disjoint sets of names."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        """The name that stands for a name's set."""
        while (parent := self.parent.get(name, name)) != name:
            name = parent
        return name

    def join(self, a: str, b: str) -> None:
        """Make one set of two."""
        self.parent[self.root(a)] = self.root(b)
