"""The judge of the engine and of every kernel: a network evaluated in float64 NumPy, slow and plain.

Shapes and attributes are ONNX's (see graph/shapes.py); each operator's meaning is in runtime/meaning/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lissome.graph import shapes
from lissome.network import Network
from lissome.runtime.meaning import Array, Table, elementwise, movement, products, quantization, windows
from lissome.runtime.meaning.windows import average_pool, conv, conv_transpose, max_pool

__all__ = ["OPERATORS", "average_pool", "conv", "conv_transpose", "max_pool", "run"]

OPERATORS: Final[Table] = {
    **windows.OPERATORS,
    **products.OPERATORS,
    **elementwise.OPERATORS,
    **movement.OPERATORS,
    **quantization.OPERATORS,
}


def run(net: Network, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
    """Evaluate `net` on `inputs` (by name, the batch first) and return its outputs by name, in float64.

    Raises UnsupportedShape naming every node whose operator is unknown.
    """
    tensors: dict[str, Array] = {name: weight.to_dense().astype(np.float64) for name, weight in net.weights.items()}
    tensors |= {spec.name: np.asarray(inputs[spec.name], dtype=np.float64) for spec in net.graph.inputs}
    shapes.refuse_unknown(net.graph)
    with np.errstate(all="ignore"):
        for node in net.graph.nodes:
            arguments = [tensors[name] if name else None for name in shapes.operands(node)]
            made = OPERATORS[node.op](node, *arguments)
            tensors.update(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=True))
    return {name: tensors[name] for name in net.graph.outputs}
