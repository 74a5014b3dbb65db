"""The reference and the rules of shapes: against each other for every operator, and against torch where it has one."""

from __future__ import annotations

import numpy as np
import pytest

from lissome.graph import Graph, Node, TensorSpec, shapes
from lissome.network import Network
from lissome.runtime import reference
from operators import RNG, SAMPLES, network


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
