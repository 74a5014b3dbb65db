"""What `ls.from_onnx` makes of a model: names, batch, constants, number formats, and errors that name everything."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import load, model, reals

import lissome as ls
from lissome.errors import FormatError, GraphError, UnsupportedShape
from lissome.runtime import reference
from lissome.weights import Codebook, Dense

RNG = np.random.default_rng(4)


def flat_view():
    """The exporters' x.view(x.size(0), -1): the batch is read from the shape, and put in front of −1."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Shape", ["c"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["c", "shape"], ["y"], "view"),
    ]
    weights = {"w": reals(4, 3, 3, 3), "zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    return model(nodes, {"x": ["batch", 3, 8, 8]}, ["y"], weights)


def test_shape_arithmetic_is_folded_and_the_batch_stays_free():
    """A chain of Shape, Gather, Unsqueeze and Concat is gone; what it computed follows the batch."""
    net = load(flat_view())
    assert [node.op for node in net.graph.nodes] == ["Conv", "Reshape"]
    assert net.graph.nodes[1].attributes["shape"] == (0, -1)
    assert net.graph.inputs[0].shape == ("N", 3, 8, 8)
    assert net.graph.parameters == ("w",)
    for batch in (1, 5):
        x = reals(batch, 3, 8, 8)
        assert reference.run(net, {"x": x})["y"].shape == (batch, 144)


def test_names_are_kept():
    """Nodes, inputs, outputs and weights keep the model's names; a node without one has its output's."""
    nodes = [
        helper.make_node("MatMul", ["x", "layer.weight"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["result"]),
        helper.make_node("Relu", ["h"], ["other"], "first"),
    ]
    net = load(model(nodes, {"x": ["N", 3]}, ["result", "other"], {"layer.weight": reals(3, 2)}))
    assert [node.name for node in net.graph.nodes] == ["first", "result", "first_2"]
    assert net.graph.outputs == ("result", "other")
    assert list(net.weights) == ["layer.weight"]


def test_shapes_fix_or_free_an_input():
    """`shapes` overrules the model: a fixed batch becomes free, an open height is fixed."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    fixed = model(nodes, {"x": [1, 3, 4]}, ["y"])
    assert load(fixed).graph.inputs[0].shape == (1, 3, 4)
    assert load(fixed, shapes={"x": ("N", 3, 4)}).graph.inputs[0].shape == ("N", 3, 4)
    opened = model(nodes, {"x": ["b", 3, "height"]}, ["y"])
    with pytest.raises(UnsupportedShape, match=r"\(N, 3, height\): only the first extent may stay open"):
        load(opened)
    assert load(opened, shapes={"x": ("N", 3, 7)}).graph.inputs[0].shape == ("N", 3, 7)
    with pytest.raises(GraphError, match=r"shapes names \['z'\]; the model's inputs are \['x'\]"):
        load(fixed, shapes={"z": (1,)})


def test_a_batch_that_cannot_stay_free_is_said():
    """What depends on the batch and cannot follow it is named; with the batch fixed, the model is read."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Expand", ["one", "s"], ["e"], "grow"),
        helper.make_node("Add", ["x", "e"], ["y"]),
    ]
    made = model(nodes, {"x": ["N", 2]}, ["y"], {"one": reals(1, 1)})
    with pytest.raises(GraphError, match=r"constant 'e' depends on the batch; fix the batch"):
        load(made)
    assert load(made, shapes={"x": (4, 2)}).weights["e"].shape == (4, 2)


def test_constants_are_inputs_that_do_not_change():
    """An input of integers is given as a constant; without it, the error says so."""
    nodes = [helper.make_node("Gather", ["x", "i"], ["y"], "pick", axis=1)]
    made = model(nodes, {"x": ["N", 5]}, ["y"])
    made.graph.input.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    with pytest.raises(UnsupportedShape, match=r"Gather \(node 'pick': 'i' is int64; .* constants="):
        load(made)
    net = load(made, constants={"i": np.array([4, 0])})
    x = reals(3, 5)
    np.testing.assert_array_equal(reference.run(net, {"x": x})["y"], x[:, [4, 0]].astype(np.float64))


def test_everything_unsupported_is_one_error():
    """Operators, domains and uses that have no counterpart, with all their nodes, whatever they feed."""
    nodes = [
        helper.make_node("Einsum", ["x"], ["a"], "first", equation="ij->ji"),
        helper.make_node("Relu", ["a"], ["b"], "fine"),
        helper.make_node("Einsum", ["b"], ["c"], "second", equation="ij->ji"),
        helper.make_node("FusedConv", ["c"], ["d"], "fused", domain="com.microsoft"),
        helper.make_node("Dropout", ["d", "", "yes"], ["e"], "drop"),
        helper.make_node("Dropout", ["x", "", "yes"], ["f"], "drop2"),
        helper.make_node("Add", ["e", "f"], ["y"], "sum"),
    ]
    with pytest.raises(UnsupportedShape) as caught:
        load(model(nodes, {"x": [2, 2]}, ["y"], {"yes": np.array(True)}))
    text = str(caught.value)
    assert "Einsum (node 'first', node 'second')" in text
    assert "com.microsoft::FusedConv (node 'fused')" in text
    assert "Dropout (node 'drop2': in training mode)" in text
    assert "'fine'" not in text
    assert "'sum'" not in text


def linear(weight, opset=17):
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3]}, ["y"], {"w": weight}, opset)


def test_number_formats_of_weights():
    """Double weights are rounded to float32; half ones are stored as what they are."""
    double = RNG.uniform(-1, 1, (3, 2))
    assert load(linear(double)).weights["w"] == Dense(double.astype(np.float32))
    half = double.astype(np.float16)
    assert load(linear(half)).weights["w"] == Dense(half.astype(np.float32), "float16")


def test_quantized_weights_stay_codes():
    """An int8 weight of one scale becomes a codebook of the values used; of a scale a channel, their exact float32."""
    codes = RNG.integers(-100, 100, (3, 4)).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    for scale in (np.float32(0.03), np.array([0.1, 0.2, 0.3, 0.4], np.float32)):
        zero = np.full(scale.shape, 3, np.int8)
        net = load(model(nodes, {"x": ["N", 3]}, ["y"], {"q": codes, "scale": scale, "zero": zero}))
        assert isinstance(net.weights["w"], Codebook if scale.ndim == 0 else Dense)
        want = (codes.astype(np.int32) - 3).astype(np.float32) * scale
        np.testing.assert_array_equal(net.weights["w"].to_dense(), want)


def test_a_branch_whose_condition_is_known_is_taken():
    """An If on a constant, such as exporters write around a squeeze, is the nodes of its branch."""
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        node = helper.make_node(op, ["x"], [f"{op}.out"], op)
        value = helper.make_tensor_value_info(f"{op}.out", TensorProto.FLOAT, None)
        branches[name] = helper.make_graph([node], name, [], [value])
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Equal", ["s", "two"], ["c"]),
        helper.make_node("If", ["c"], ["y"], "if", **branches),
    ]
    net = load(model(nodes, {"x": [2]}, ["y"], {"two": np.array([2])}))
    np.testing.assert_array_equal(reference.run(net, {"x": np.array([-1.0, 1.0])})["y"], [0, 1])


def test_external_data_is_read_from_beside_the_model(tmp_path):
    """Weights in a file of their own, in a subfolder too, are those of the model; bytes alone cannot have them."""
    made = linear(reals(3, 2))
    want = numpy_helper.to_array(made.graph.initializer[0])
    (tmp_path / "data").mkdir()
    onnx.save_model(made, tmp_path / "net.onnx", save_as_external_data=True, location="data/w.bin", size_threshold=0)
    net = ls.from_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(net.weights["w"].to_dense(), want)
    with pytest.raises(FormatError, match="give the model's path, not its bytes"):
        ls.from_onnx((tmp_path / "net.onnx").read_bytes())


def test_softmax_of_early_operator_sets_runs_over_all_axes_behind():
    """Before operator set 13, Softmax with axis 1 is over everything but the batch."""
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=1)]
    x = reals(2, 3, 4)
    y = reference.run(load(model(nodes, {"x": [2, 3, 4]}, ["y"], opset=11)), {"x": x})["y"]
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(y, e / e.sum((1, 2), keepdims=True))


@pytest.mark.parametrize("opset", [10, 29])
def test_other_operator_sets_are_refused(opset):
    """Versions that are not read are said, with the remedy."""
    with pytest.raises(FormatError, match=rf"operator sets \[{opset}\]; 11 to 28 are read"):
        load(linear(reals(3, 2), opset))


def test_an_engine_from_a_path(tmp_path):
    """`ls.compile` takes the path of an ONNX file."""
    onnx.save_model(linear(np.eye(3, dtype=np.float32)), tmp_path / "net.onnx")
    x = reals(2, 3)
    np.testing.assert_array_equal(ls.compile(tmp_path / "net.onnx")(x), x)
