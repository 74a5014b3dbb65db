"""Networks on codes as ONNX models: what is written is read again, and ONNX Runtime computes the same codes."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402

import lissome as ls  # noqa: E402
from lissome.errors import UnsupportedShape  # noqa: E402
from quantized_nets import residual_network  # noqa: E402


@pytest.fixture
def exported(tmp_path):
    """A network on codes, an input, and the model that it is written as."""
    net, x = residual_network()
    ls.export_onnx(net, tmp_path / "net.onnx")
    return net, x, tmp_path / "net.onnx"


def test_it_is_read_as_it_was_written(exported):
    """Scales, zeros, both types of codes and biases come back: the engine gives the same bits."""
    net, x, path = exported
    again = ls.from_onnx(path)
    assert np.array_equal(ls.compile(again)(x), ls.compile(net)(x))
    kinds = [weight.describe() for weight in again.weights.values()]
    assert sum(kind.startswith("codebook") for kind in kinds) == 7


def test_weights_are_int8_and_biases_int32(exported):
    """As other runtimes want it: no float32 tensor of more than scales."""
    _, _, path = exported
    for tensor in onnx.load(path).graph.initializer:
        value = numpy_helper.to_array(tensor)
        assert value.dtype in (np.int8, np.uint8, np.int32) or value.size <= 40


def test_onnx_runtime_computes_the_same(exported):
    """Within the last code of some layers: it multiplies the scales in another order."""
    runtime = pytest.importorskip("onnxruntime")
    net, x, path = exported
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs, ours = session.run(None, {"x": x})[0], ls.compile(net)(x)
    assert np.abs(theirs - ours).max() < 0.05 * np.ptp(ours)


def _model(nodes, constants, outputs=("y",)):
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4, 5, 5])
    made = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", [x], made, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model.SerializeToString()


S, Z = np.float32(0.1), np.uint8(3)
CODES, NUMBERS = ("QuantizeLinear", ("x", "s", "z"), "q"), ("DequantizeLinear", ("q", "s", "z"), "y")
UNREAD = {
    "integer results": ((("QuantizeLinear", ("x", "s"), "y"),), {"s": S}),
    "is uint8": ((CODES, ("Relu", ("q",), "y")), {"s": S, "z": Z}),
    "neither uint8": ((CODES, NUMBERS), {"s": S, "z": np.int16(0)}),
    "more than one scale": ((CODES, NUMBERS), {"s": np.full(4, S), "z": np.full(4, Z)}),
    "no QuantizeLinear": ((("DequantizeLinear", ("x", "s"), "y"),), {"s": S}),
    "computed at run time": ((("Abs", ("x",), "s"), CODES, NUMBERS), {"z": Z}),
}


@pytest.mark.parametrize("what", UNREAD)
def test_what_is_not_read_is_said(what):
    """Codes that leave the network or meet other operators, 16-bit codes, scales along an axis, scales computed."""
    nodes, constants = UNREAD[what]
    made = [helper.make_node(op, inputs, [output]) for op, inputs, output in nodes]
    with pytest.raises(UnsupportedShape, match=what):
        ls.from_onnx(_model(made, constants))


def test_weights_with_another_zero_become_numbers():
    """Int8 weights whose zero is not 0, and uint8 ones, are folded, as in networks on numbers."""
    codes = np.arange(4 * 4, dtype=np.int8).reshape(4, 4, 1, 1)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["dw"]),
        helper.make_node("Conv", ["d", "dw"], ["y"]),
    ]
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 5)).astype(np.float32)
    for zero, op in ((np.int8(5), "conv_f32"), (np.int8(0), "conv_i8")):
        net = ls.from_onnx(_model(nodes, {"s": S, "z": Z, "w": codes, "wz": zero}))
        engine = ls.compile(net)
        assert op in engine.explain()
        rounded = (np.clip(np.rint(x / S) + 3, 0, 255) - 3) * S
        want = np.einsum("kc,nchw->nkhw", (codes.reshape(4, 4).astype(np.float32) - int(zero)) * S, rounded)
        assert np.abs(engine(x) - want).max() < 1e-4
