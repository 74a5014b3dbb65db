"""Damaged and hostile models: each is one clear error, without a crash, a hang, or memory that a header claims."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import load, matmul, model, nested, node, reals

import lissome as ls
from lissome.errors import FormatError, GraphError, UnsupportedShape, WeightError


@pytest.fixture(autouse=True)
def bounded_memory():
    """No test here may hold more than 64 MiB at any time, whatever a model claims."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


def test_a_cyclic_graph():
    """Nodes that need each other's results are named."""
    nodes = [node("Add", ["x", "b"], ["a"], "one"), node("Relu", ["a"], ["b"], "two"), node("Relu", ["b"], ["y"])]
    with pytest.raises(GraphError, match="cyclic: nodes 'one', 'two', 'y'"):
        load(model(nodes, {"x": [2]}, ["y"]))


def test_nodes_in_another_order_are_sorted():
    """A graph whose nodes are only listed in another order is not cyclic."""
    nodes = [node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])]
    assert [n.op for n in load(model(nodes, {"x": [2]}, ["y"])).graph.nodes] == ["Neg", "Relu"]


def test_a_missing_initialiser():
    """A tensor that nothing makes is named with its reader."""
    nodes = [node("MatMul", ["x", "w"], ["y"], "fc")]
    with pytest.raises(GraphError, match=r"'fc' \(MatMul\) reads 'w', which is no input"):
        load(model(nodes, {"x": [2, 3]}, ["y"]))


def test_contradictory_shapes():
    """A weight that does not fit its input is named with its node."""
    with pytest.raises(GraphError, match=r"node 'fc' \(MatMul\): weight \(4, 2\) does not fit input \(2, 3\)"):
        load(matmul(reals(4, 2)))


@pytest.mark.parametrize(
    ("weights", "nodes", "message"),
    [
        ({"s": np.array([2**60])}, [node("ConstantOfShape", ["s"], ["c"])], "more than the 268,435,456 elements"),
        ({"s": np.array([2**40, -(2**40)])}, [node("ConstantOfShape", ["s"], ["c"])], "more than the"),
        ({"s": np.array([2**30, 2**30]), "o": reals(1)}, [node("Expand", ["o", "s"], ["c"])], "more than the"),
        ({"s": np.array([2**50]), "o": reals(1)}, [node("Tile", ["o", "s"], ["c"])], "more than the"),
        (
            {"a": np.array(0), "b": np.array(2**60), "d": np.array(1)},
            [node("Range", ["a", "b", "d"], ["c"])],
            "more than",
        ),
        ({"a": np.array(0), "b": np.array(5), "d": np.array(0)}, [node("Range", ["a", "b", "d"], ["c"])], "computed"),
        ({"a": reals(2**16, 1), "b": reals(1, 2**16)}, [node("Add", ["a", "b"], ["c"])], "more than the"),
        ({"s": np.array([2**60])}, [node("Expand", ["x", "s"], ["c"])], "does not broadcast"),
        ({"s": np.array([2**60, 1])}, [node("Expand", ["x", "s"], ["c"])], "elements"),
        ({"s": np.array([0, 2**61])}, [node("Pad", ["x", "s"], ["c"])], "pads"),
        ({"s": np.array([2**62])}, [node("Tile", ["x", "s"], ["c"])], "elements"),
        ({"s": np.array([1e30], np.float32)}, [node("Resize", ["x", "", "s"], ["c"])], "scales"),
    ],
)
def test_shapes_of_two_to_the_sixty(weights, nodes, message):
    """Tensors that no memory could hold are refused before they are made, folded or not."""
    with pytest.raises((GraphError, UnsupportedShape), match=message):
        load(model([*nodes, node("Add", ["x", "c"], ["y"])], {"x": [4]}, ["y"], weights))


def test_many_constants_together():
    """Constants that are each within the limit are refused when they come to more than all may."""
    nodes = [node("ConstantOfShape", ["s"], [f"c{i}"], f"fill{i}") for i in range(9)]
    with pytest.raises(UnsupportedShape, match=r"fill4.*come to more than the 1,073,741,824 elements"):
        load(model([*nodes, node("Neg", ["x"], ["y"])], {"x": [1]}, ["y"], {"s": np.array([2**28])}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_type": 99}, r"data type 99 \(unknown\)"),
        ({"data_type": TensorProto.STRING}, r"data type 8 \(STRING\)"),
        ({"dims": [2**60, 2**60]}, "has 24 bytes of data, where shape"),
        ({"dims": [-3, -2]}, "extents are not negative"),
        ({"dims": [1] * 9}, "at most 8"),
        ({"dims": [3, 3]}, "has 24 bytes of data, where shape .3, 3. needs 36"),
    ],
)
def test_an_initialiser_that_is_not_what_it_says(change, message):
    """Type, shape and bytes of a weight are checked against each other before anything is allocated."""
    made = matmul(reals(3, 2))
    for key, value in change.items():
        if key == "dims":
            del made.graph.initializer[0].dims[:]
            made.graph.initializer[0].dims.extend(value)
        else:
            setattr(made.graph.initializer[0], key, value)
    with pytest.raises(FormatError, match=message):
        load(made)


def test_an_initialiser_with_too_few_numbers():
    """Numbers in the typed fields are counted too."""
    made = matmul(reals(3, 2))
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].float_data.extend([1.0, 2.0])
    with pytest.raises(FormatError, match="has other data than its type and shape say"):
        load(made)


def test_weights_that_are_not_finite():
    """NaN in a weight is named."""
    with pytest.raises(WeightError, match=r"weight 'w': .* NaN or infinite"):
        load(matmul(np.full((3, 2), np.nan, np.float32)))


def external(folder, **entries):
    """A model in `folder` whose weight claims to lie where `entries` say."""
    made = matmul(reals(3, 2))
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        weight.external_data.add(key=key, value=str(value))
    (folder / "net.onnx").write_bytes(made.SerializeToString())
    return folder / "net.onnx"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../secret", "not inside the model's folder"),
        ("/etc/passwd", "not inside the model's folder"),
        ("sub/../../secret", "not inside the model's folder"),
        ("..\\secret", "not inside the model's folder"),
        ("", "not inside the model's folder"),
        ("link", "is a symbolic link"),
        ("linked/secret", "is a symbolic link"),
        ("missing", "No such file"),
        ("folder", "directory|needs 24 bytes"),
    ],
)
def test_external_data_outside_the_folder(tmp_path, location, message):
    """Weights are read from regular files inside the model's own folder, by no way around."""
    inside, outside = tmp_path / "model", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (tmp_path / "secret").write_bytes(bytes(24))
    (outside / "secret").write_bytes(bytes(24))
    (inside / "folder").mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "linked").symlink_to(outside)
    with pytest.raises(FormatError, match=message):
        ls.from_onnx(external(inside, location=location))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 1}, "needs 24 bytes"),
        ({"offset": -1}, "needs 24 bytes"),
        ({"length": 2**60}, "are said to be 1,152,921,504,606,846,976 bytes"),
        ({"length": 23}, "needs 24 bytes"),
        ({"offset": "far"}, "not written in numbers"),
    ],
)
def test_external_data_that_do_not_fit(tmp_path, entries, message):
    """The place of the data is checked against the tensor's shape and the file's real size."""
    (tmp_path / "w").write_bytes(bytes(24))
    assert ls.from_onnx(external(tmp_path, location="w")).weights["w"].shape == (3, 2)
    with pytest.raises(FormatError, match=message):
        ls.from_onnx(external(tmp_path, location="w", **entries))


def test_a_pipe_is_not_waited_for(tmp_path):
    """A model or a data file that is a pipe is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="a device or a pipe"):
        ls.from_onnx(tmp_path / "pipe")


@pytest.mark.parametrize("cut", [0, 1, 10, 40, 80])
def test_a_truncated_file(cut):
    """Any beginning of a model is no model."""
    data = matmul(reals(3, 2)).SerializeToString()
    with pytest.raises((FormatError, GraphError)):
        ls.from_onnx(data[:cut])


def test_other_bytes():
    """Bytes that are no protobuf at all."""
    with pytest.raises(FormatError, match="not an ONNX model"):
        ls.from_onnx(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))


def test_nesting():
    """A few levels of branches are followed; more are refused by our limit, and thousands by protobuf's own."""
    assert "Relu" in [n.op for n in load(nested(3)).graph.nodes]
    with pytest.raises(GraphError, match="too many inside each other"):
        load(nested(17))
    data = b""
    for _ in range(1000):  # a node in a graph in an attribute in a node in …
        for tag in (b"\x0a", b"\x32", b"\x2a"):
            data = tag + varint(len(data)) + data
    for tag in (b"\x0a", b"\x3a"):  # the first node of the model's graph
        data = tag + varint(len(data)) + data
    with pytest.raises(FormatError, match="nested too deeply"):
        ls.from_onnx(data)


def varint(number):
    """A number as protobuf writes lengths."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def test_a_cyclic_branch():
    """A cycle inside a branch is found when the branch is taken."""
    value = helper.make_tensor_value_info("a", TensorProto.FLOAT, None)
    branch = helper.make_graph([node("Relu", ["b"], ["a"], "p"), node("Relu", ["a"], ["b"], "q")], "b", [], [value])
    nodes = [node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch)]
    with pytest.raises(GraphError, match="cyclic: nodes 'p', 'q'"):
        load(model(nodes, {"x": [2]}, ["y"], {"c": np.array(True)}))


def test_duplicated_names():
    """A tensor that is made, declared or given twice is named."""
    twice = [node("Relu", ["x"], ["y"], "a"), node("Neg", ["x"], ["y"], "b")]
    with pytest.raises(GraphError, match="'y' is defined twice, the second time by node 'b'"):
        load(model(twice, {"x": [2]}, ["y"]))
    with pytest.raises(GraphError, match="'x' is defined twice"):
        load(model([node("Relu", ["x"], ["x"])], {"x": [2]}, ["x"]))
    made = matmul(reals(3, 2))
    made.graph.initializer.append(numpy_helper.from_array(reals(3, 2), "w"))
    with pytest.raises(GraphError, match="initialiser 'w' is given twice"):
        load(made)
    made = model([node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"])
    made.graph.input.append(made.graph.input[0])
    with pytest.raises(GraphError, match="declared twice"):
        load(made)
    with pytest.raises(GraphError, match=r"listed twice|defined twice"):
        ls.compile(load(model([node("Relu", ["x"], ["y"])], {"x": [2]}, ["y", "y"])))


def test_many_alike():
    """Thousands of nodes of one name, of slices of one tensor, or of paddings in a row take time by their number."""
    many = [node("Relu", [f"t{i}"], [f"t{i + 1}"], "same") for i in range(1000)]
    assert len({n.name for n in load(model(many, {"t0": [2]}, ["t1000"])).graph.nodes}) == 1000
    ends = {f"c{i}": np.array([i]) for i in range(301)} | {"axis": np.array([1])}
    parts = [node("Slice", ["x", f"c{i}", f"c{i + 1}", "axis"], [f"p{i}"]) for i in range(300)]
    cut = model([*parts, node("Sum", [f"p{i}" for i in range(300)], ["y"])], {"x": [1, 300]}, ["y"], ends)
    assert len(load(cut).graph.nodes) == 599
    pads = [node("Pad", [f"t{i}", "p"], [f"t{i + 1}"]) for i in range(200)]
    weights = {"p": np.array([0, 0, 0, 1, 0, 0, 0, 0]), "w": reals(1, 1, 1, 1)}
    padded = model([*pads, node("Conv", ["t200", "w"], ["y"])], {"t0": [1, 1, 2, 2]}, ["y"], weights)
    assert 100 < len(load(padded).graph.nodes) < 201


def test_attributes_given_twice_or_of_another_type():
    """Attributes contradict themselves in these ways."""
    made = model([node("LeakyRelu", ["x"], ["y"], "leaky", alpha=0.1)], {"x": [2]}, ["y"])
    made.graph.node[0].attribute.append(made.graph.node[0].attribute[0])
    with pytest.raises(GraphError, match=r"'leaky' .*'alpha' is given twice"):
        load(made)
    with pytest.raises(GraphError, match="attribute alpha is 'steep', not a number"):
        load(model([node("LeakyRelu", ["x"], ["y"], "leaky", alpha="steep")], {"x": [2]}, ["y"]))


def test_tensors_of_no_elements():
    """An extent of zero is refused wherever it comes from."""
    with pytest.raises(GraphError, match="no elements"):
        load(model([node("Relu", ["x"], ["y"])], {"x": [2, 0]}, ["y"]))
    with pytest.raises(GraphError, match=r"no elements|does not fit"):
        load(matmul(np.zeros((3, 0), np.float32)))
    slices = {"a": np.array([1]), "b": np.array([1])}
    with pytest.raises(GraphError, match="nothing of"):
        load(model([node("Slice", ["x", "a", "b"], ["y"])], {"x": [2]}, ["y"], slices))


def test_unprintable_names():
    """A name that could not be shown is refused."""
    with pytest.raises(GraphError, match="not printable"):
        load(model([node("Relu", ["x"], ["a\x1b[2Jb"], "n")], {"x": [2]}, ["a\x1b[2Jb"]))


def test_a_name_that_is_no_text():
    """Bytes that are no UTF-8 where a name should be."""
    data = matmul(reals(3, 2)).SerializeToString()
    with pytest.raises(FormatError, match="no UTF-8 text"):
        ls.from_onnx(data.replace(b"MatMul", b"Mat\xff\xfel"))


def test_onnx_itself_is_an_extra(monkeypatch):
    """Without the package onnx the error is the command that installs it."""
    import sys

    for name in [n for n in sys.modules if n == "onnx" or n.startswith(("onnx.", "lissome.interchange.onnx."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ls.errors.MissingExtra, match=r"pip install 'lissome\[onnx\]'"):
        ls.from_onnx(b"")
    assert onnx is not None
