"""Products and sums with constants, as the layers that they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from lissome.graph.ir import Node
from lissome.graph.passes.rewrite import Rule, View


def _biased_product(view: View, node: Node) -> Node | None:
    """A matrix product by a weight plus one number an output: a Gemm."""
    for made, bias in (node.inputs, node.inputs[::-1]):
        product = view.alone(made, "MatMul", "Gemm")
        value = view.constant(bias)
        if product is None or value is None or len(product.inputs) != 2:
            continue
        x, w = (view.shapes[name] for name in product.inputs)
        out = view.shapes[made]
        if len(x) != 2 or len(w) != 2 or product.inputs[1] not in view.extents or view.shapes[node.outputs[0]] != out:
            continue
        if value.size == out[1] and value.shape in ((out[1],), (1, out[1])):
            name = bias
            if value.ndim != 1:
                name = view.parameter(f"{bias}.vector", np.ascontiguousarray(value.reshape(-1)))
            return Node("Gemm", product.name, (*product.inputs, name), node.outputs, product.attributes)
    return None


ARITHMETIC: Final[Mapping[str, Sequence[Rule]]] = {"Add": (_biased_product,)}
