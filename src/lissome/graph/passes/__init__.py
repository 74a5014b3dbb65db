"""Rewrites of a graph that keep its meaning. Each is a function (graph, values) → (graph, values).

values: float32 arrays of those parameters that a rewrite may read and change; a weight that a method has coded is not
among them, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Graph
from lissome.graph.passes.activations import ACTIVATIONS
from lissome.graph.passes.affine import fold_batch_norm
from lissome.graph.passes.arithmetic import ARITHMETIC
from lissome.graph.passes.rewrite import Values, remove_dead, remove_identities, rewrite
from lissome.graph.passes.windows import WINDOWS

__all__ = ["Values", "fold_batch_norm", "remove_dead", "remove_identities", "rewrite", "simplify"]


def simplify(
    graph: Graph, values: Values, extents: Mapping[str, Shape], *, in_place: bool = False
) -> tuple[Graph, Values]:
    """The graph with one operator where exporters write several, and without nodes that do nothing.

    extents: the shape of every parameter, coded ones too. Identities and dead nodes go; Binarize, Swish, HardSwish,
    Mish, Gelu and LayerNormalization are recognised in their parts; a padding joins the convolution or pooling that
    reads it, a channel shuffle becomes a Gather, a mean over pixels a GlobalAveragePool, the slices of a whole a
    Split, a product and its bias a Gemm; scales and shifts of channels are folded into the layer before them.
    Inputs and outputs keep their names. in_place: `values` are nobody else's, and weights are scaled where they
    lie.
    """
    graph = remove_identities(graph)
    for rules in (ACTIVATIONS, WINDOWS, ARITHMETIC):  # a layer norm's means are no pooling
        graph, values = rewrite(graph, values, extents, rules)
    return fold_batch_norm(graph, values, in_place=in_place)
