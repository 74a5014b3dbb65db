"""The reference and the rules of shapes: against each other for every operator, and against torch where it has one."""

from __future__ import annotations

import numpy as np
import pytest

from lissome.graph import Graph, Node, TensorSpec, shapes
from lissome.network import Network
from lissome.runtime import reference
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


def network(op):
    """The network of a sample, and the input it is run on."""
    extents, others, attributes, count = SAMPLES[op]
    weights = {f"w{i}": Dense(value) for i, value in enumerate(others)}
    outputs = tuple(f"y{i}" for i in range(count))
    node = Node(op, "node", ("x", *weights), outputs, attributes)
    graph = Graph((node,), (TensorSpec("x", extents),), outputs, tuple(weights))
    return Network(graph, weights), RNG.uniform(-1, 1, extents)


@pytest.mark.parametrize("op", sorted(shapes.OPERATORS))
def test_the_meaning_has_the_shape_that_the_rule_says(op):
    """Every operator that a graph may have has both a rule and a meaning, and they agree."""
    net, x = network(op)
    specs = shapes.infer(net.graph, {name: value.shape for name, value in net.weights.items()}, 1)
    for name, value in reference.run(net, {"x": x}).items():
        assert value.shape == specs[name].shape
        assert value.dtype == np.float64


def judged(op):
    """The reference's outputs of a sample, and its operands and attributes for torch."""
    torch = pytest.importorskip("torch")
    net, x = network(op)
    found = list(reference.run(net, {"x": x}).values())
    return found, [torch.from_numpy(np.asarray(v, np.float64)) for v in (x, *SAMPLES[op][1])], torch


TORCH = {
    "ConvTranspose": lambda t, x, w, b: t.nn.functional.conv_transpose2d(x, w, b, (2, 3), 0, 0, 2)[:, :, 1:, :-1],
    "DepthToSpace": lambda t, x: t.nn.functional.pixel_shuffle(x, 2),
    "Erf": lambda t, x: t.erf(x),
    "Gather": lambda t, x: x[:, t.tensor([[0, -1], [2, 2], [1, 3]])],
    "Gelu": lambda t, x: t.nn.functional.gelu(x, approximate="tanh"),
    "Gemm": lambda _, x, w, b: 0.5 * x.T @ w.T + 2 * b,
    "HardSwish": lambda t, x: t.nn.functional.hardswish(x),
    "LRN": lambda t, x: t.nn.functional.local_response_norm(x, 3, 0.1, 0.6, 2.0),
    "LayerNormalization": lambda t, x, s, b: t.nn.functional.layer_norm(x, (6, 6), s, b.expand(6, 6)),
    "LogSoftmax": lambda t, x: t.log_softmax(x, 1),
    "MaxPool": lambda t, x: t.nn.functional.max_pool2d(x, 3, 1, 1, (2, 1)),
    "Mish": lambda t, x: t.nn.functional.mish(x),
    "PRelu": lambda t, x, s: t.nn.functional.prelu(x, s.reshape(4)),
    "Resize": lambda t, x: t.nn.functional.interpolate(x, scale_factor=(2.0, 1.5), mode="bilinear"),
    "Softplus": lambda t, x: t.nn.functional.softplus(x),
    "Swish": lambda t, x: x * t.sigmoid(1.5 * x),
}


@pytest.mark.parametrize("op", TORCH)
def test_torch_agrees(op):
    """Where torch has the operator, its float64 result is the reference's."""
    (found,), operands, torch = judged(op)
    np.testing.assert_allclose(found, TORCH[op](torch, *operands).numpy(), rtol=1e-12, atol=1e-12)


def test_torch_agrees_on_the_lstm():
    """Two directions, biases and the states after the last step; torch orders the gates i, f, c, o."""
    found, (x, w, r, b), torch = judged("LSTM")
    lstm = torch.nn.LSTM(3, 4, bidirectional=True).double()
    order = np.r_[0:4, 8:12, 12:16, 4:8]
    with torch.no_grad():
        for d, suffix in enumerate(("", "_reverse")):
            getattr(lstm, f"weight_ih_l0{suffix}").copy_(w[d][order])
            getattr(lstm, f"weight_hh_l0{suffix}").copy_(r[d][order])
            getattr(lstm, f"bias_ih_l0{suffix}").copy_(b[d, :16][order])
            getattr(lstm, f"bias_hh_l0{suffix}").copy_(b[d, 16:][order])
        y, (h, c) = lstm(x)
    want = (y.reshape(5, 2, 2, 4).transpose(1, 2), h, c)
    for ours, theirs in zip(found, want, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("coordinates", "antialias"), [("half_pixel", 0), ("align_corners", 0), ("half_pixel", 1)])
def test_torch_agrees_on_cubic_resizing(coordinates, antialias):
    """Cubic and antialiased resizing, down and up at once, is torch's (whose antialiased kernel has a = −0.5)."""
    torch = pytest.importorskip("torch")
    x = RNG.uniform(-1, 1, (1, 2, 9, 5))
    attributes = {
        "mode": "cubic",
        "axes": (2, 3),
        "sizes": (4, 8),
        "coordinate_transformation_mode": coordinates,
        "antialias": antialias,
        "cubic_coeff_a": -0.5 if antialias else -0.75,
        "exclude_outside": antialias,
    }
    graph = Graph((Node("Resize", "r", ("x",), ("y",), attributes),), (TensorSpec("x", x.shape),), ("y",))
    options = {"mode": "bicubic", "antialias": bool(antialias), "align_corners": coordinates == "align_corners"}
    want = torch.nn.functional.interpolate(torch.from_numpy(x), (4, 8), **options)
    found = reference.run(Network(graph, {}), {"x": x})["y"]
    np.testing.assert_allclose(found, want.numpy(), rtol=1e-6, atol=1e-6)
