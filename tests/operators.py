"""One network for every operator that a graph may have, for tests of what operators mean."""

from __future__ import annotations

import numpy as np

from lissome.graph import Graph, Node, TensorSpec, shapes
from lissome.network import Network
from lissome.weights import Dense

RNG = np.random.default_rng(20)
IMAGE = (2, 4, 6, 6)


def weight(*shape):
    """Values in [0.5, 1.5): nothing is divided by a number near zero."""
    return RNG.uniform(0.5, 1.5, shape).astype(np.float32)


# Operator → shape of its input, its other inputs ("" where one is left out), its attributes, and how many outputs.
SAMPLES = {
    **{op: (IMAGE, [], {}, 1) for op in shapes.elementwise._PLAIN},
    **{op: (IMAGE, [weight(4, 1, 1)], {}, 1) for op in ("Add", "Div", "Max", "Min", "Mul", "Pow", "PRelu", "Sub")},
    "AveragePool": (IMAGE, [], {"kernel_shape": (3, 2), "pads": (1, 0, 1, 1), "strides": (2, 2), "ceil_mode": 1}, 1),
    "BatchNormalization": (IMAGE, [weight(4) for _ in range(4)], {}, 1),
    "Clip": (IMAGE, [], {"min": -0.5, "max": 0.25}, 1),
    "Concat": (IMAGE, [weight(2, 1, 6, 6), weight(2, 2, 6, 6)], {"axis": 1}, 1),
    "Conv": (IMAGE, [weight(6, 2, 3, 3), weight(6)], {"group": 2, "pads": (1, 1, 1, 1), "strides": (2, 1)}, 1),
    "ConvTranspose": (IMAGE, [weight(4, 3, 3, 2), weight(6)], {"group": 2, "strides": (2, 3), "pads": (1, 0, 0, 1)}, 1),
    "DepthToSpace": (IMAGE, [], {"blocksize": 2, "mode": "CRD"}, 1),
    "Elu": (IMAGE, [], {"alpha": 0.7}, 1),
    "Expand": ((2, 4, 1, 1), [], {"shape": (4, 5, 3)}, 1),
    "Flatten": (IMAGE, [], {"axis": 2}, 1),
    "Gather": (IMAGE, [], {"axis": 1, "indices": (0, -1, 2, 2, 1, 3), "indices_shape": (3, 2)}, 1),
    "Gelu": (IMAGE, [], {"approximate": "tanh"}, 1),
    "Gemm": ((5, 2), [weight(3, 5), weight(3)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, 1),
    "GlobalAveragePool": (IMAGE, [], {}, 1),
    "GlobalMaxPool": (IMAGE, [], {}, 1),
    "HardSigmoid": (IMAGE, [], {"alpha": 0.3, "beta": 0.4}, 1),
    "LRN": (IMAGE, [], {"size": 3, "alpha": 0.1, "beta": 0.6, "bias": 2.0}, 1),
    "LSTM": ((5, 2, 3), [weight(2, 16, 3), weight(2, 16, 4), weight(2, 32)], {"direction": "bidirectional"}, 3),
    "LayerNormalization": (IMAGE, [weight(6, 6), weight(6)], {"axis": 2}, 1),
    "LeakyRelu": (IMAGE, [], {"alpha": 0.2}, 1),
    "LogSoftmax": (IMAGE, [], {"axis": 1}, 1),
    "MatMul": (IMAGE, [weight(4, 6, 3)], {}, 1),
    "MaxPool": (IMAGE, [], {"kernel_shape": (3, 3), "dilations": (2, 1), "pads": (1, 1, 1, 1)}, 1),
    "Pad": (IMAGE, [], {"pads": (0, 0, 1, 2, 0, 0, 3, -1), "mode": "reflect"}, 1),
    **{f"Reduce{kind}": (IMAGE, [], {"axes": (2, 3), "keepdims": 0}, 1) for kind in ("Max", "Min", "Mean", "Sum")},
    "ReduceProd": (IMAGE, [], {}, 1),
    "Reshape": (IMAGE, [], {"shape": (0, 2, -1)}, 1),
    "Resize": (IMAGE, [], {"axes": (2, 3), "scales": (2.0, 1.5), "mode": "linear"}, 1),
    "Slice": (IMAGE, [], {"starts": (5, 0), "ends": (-100, 3), "axes": (2, 1), "steps": (-2, 2)}, 1),
    "Softmax": (IMAGE, [], {"axis": 1}, 1),
    "SpaceToDepth": (IMAGE, [], {"blocksize": 3}, 1),
    "Split": (IMAGE, [], {"axis": 1, "split": (1, 2, 1)}, 3),
    "Squeeze": ((2, 1, 3, 1), [], {"axes": (-1,)}, 1),
    "Swish": (IMAGE, [], {"alpha": 1.5}, 1),
    "Tile": (IMAGE, [], {"repeats": (1, 2, 1, 3)}, 1),
    "Transpose": (IMAGE, [], {"perm": (0, 3, 1, 2)}, 1),
    "Unsqueeze": (IMAGE, [], {"axes": (1, -1)}, 1),
}

# Those that stand in pairs: no network ends in codes or begins with them.
HALVES = {
    "DequantizeLinear": (IMAGE, [weight(4)], {"axis": 1, "zero_point": -3, "dtype": "int8"}, 1),
    "QuantizeLinear": (IMAGE, [weight()], {"zero_point": 7, "dtype": "uint8"}, 1),
}


def network(op):
    """The network of a sample, and the input it is run on."""
    extents, others, attributes, count = (SAMPLES | HALVES)[op]
    weights = {f"w{i}": Dense(value) for i, value in enumerate(others)}
    outputs = tuple(f"y{i}" for i in range(count))
    node = Node(op, "node", ("x", *weights), outputs, attributes)
    graph = Graph((node,), (TensorSpec("x", extents),), outputs, tuple(weights))
    return Network(graph, weights), RNG.uniform(-1, 1, extents)
