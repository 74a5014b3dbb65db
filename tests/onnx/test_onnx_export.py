"""What `ls.export_onnx` writes: a valid model, ONNX Runtime's results on it equal to ours, and back again unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import version_converter

import lissome as ls
from lissome.errors import UnsupportedShape
from lissome.graph import Graph, Node, TensorSpec
from lissome.interchange.onnx.affine import affine
from lissome.network import Network
from lissome.runtime import reference
from lissome.weights import Codebook, Dense, Sparse
from operators import SAMPLES, network

onnxruntime = pytest.importorskip("onnxruntime")


def run(path, inputs):
    """ONNX Runtime's outputs by name, as it computes without rewriting the graph much."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    fed = {name: value.astype(np.float32) for name, value in inputs.items()}
    return dict(zip(names, session.run(names, fed), strict=True))


@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_onnx_runtime_agrees(op, tmp_path):
    """Every operator: valid by ONNX's checker, within float32 of the reference in ONNX Runtime, and read back."""
    net, x = network(op)
    ls.export_onnx(net, tmp_path / "net.onnx")
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)
    want = reference.run(net, {"x": x.astype(np.float32)})
    for name, value in run(tmp_path / "net.onnx", {"x": x}).items():
        np.testing.assert_allclose(value, want[name], rtol=2e-5, atol=2e-5, err_msg=name)
    again = reference.run(ls.from_onnx(tmp_path / "net.onnx"), {"x": x.astype(np.float32)})
    for name, value in again.items():
        np.testing.assert_allclose(value, want[name], rtol=1e-6, atol=1e-6)


def small(weight, **options):
    """A Gemm of this weight (3, 4) on a free batch."""
    nodes = (Node("Gemm", "fc", ("x", "fc.weight"), ("h",), {"transB": 1}), Node("Relu", "relu", ("h",), ("y",)))
    graph = Graph(nodes, (TensorSpec("x", ("N", 4)),), ("y",), ("fc.weight",))
    return Network(graph, {"fc.weight": weight}, **options)


RNG = np.random.default_rng(3)
CODES = RNG.integers(0, 5, (3, 4))


@pytest.mark.parametrize(
    ("weight", "quantized"),
    [
        (Dense(RNG.uniform(-1, 1, (3, 4)).astype(np.float32)), False),
        (Dense(np.float16(RNG.uniform(-1, 1, (3, 4))).astype(np.float32), "float16"), False),
        (Codebook(CODES, np.array([0.1, 0.26, 0.71, -0.3, 0], np.float32)), False),
        (Codebook(CODES, np.float32(0.013) * np.array([-3, 1, 0, 2, 120], np.float32)), True),
        (Codebook(CODES, np.float32(0.7) * np.array([-254, 1, -1, -3, 0], np.float32)), True),
        (Sparse((3, 4), np.array([1, 5, 9]), Codebook(np.array([0, 1, 0]), np.array([0.5, -0.25], np.float32))), True),
    ],
)
def test_weights_in_every_form(weight, quantized, tmp_path):
    """A weight on a grid of int8 codes is written as codes, any other dense; ONNX Runtime sees its exact values."""
    net = small(weight)
    ls.export_onnx(net, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert ("DequantizeLinear" in [node.op_type for node in model.graph.node]) == quantized
    x = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(run(tmp_path / "net.onnx", {"x": x})["y"], np.maximum(weight.to_dense().T, 0))
    back = ls.from_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(back.weights["fc.weight"].to_dense(), weight.to_dense())
    assert isinstance(back.weights["fc.weight"], Codebook) == quantized


def test_grids_are_found_exactly():
    """Codes, scale and zero point give the values bit by bit, or none are given."""
    for scale in RNG.uniform(0.001, 10, 20).astype(np.float32):
        codes = RNG.integers(-128, 128, (8, 8)).astype(np.int8)
        zero = int(RNG.integers(-128, 128))
        weight = (codes.astype(np.int32) - zero).astype(np.float32) * scale
        found = affine(weight)
        assert found is not None
        again, step, offset = found
        np.testing.assert_array_equal((again.astype(np.int32) - offset).astype(np.float32) * step, weight)
    assert affine(RNG.uniform(-1, 1, (4, 4)).astype(np.float32)) is None
    assert affine(np.zeros((2, 2), np.float32)) is None
    assert affine(np.array([-0.0, 1.0], np.float32)) is None


def test_the_batch_stays_open(tmp_path):
    """The model takes any batch, and says so; inputs and outputs keep their names."""
    ls.export_onnx(small(Dense(np.ones((3, 4), np.float32))), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    for value, name, last in ((model.graph.input[0], "x", 4), (model.graph.output[0], "y", 3)):
        first, second = value.type.tensor_type.shape.dim
        assert (value.name, first.dim_param, second.dim_value) == (name, "N", last)
    for batch in (1, 7):
        assert run(tmp_path / "net.onnx", {"x": np.ones((batch, 4))})["y"].shape == (batch, 3)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    """Writing is deterministic, and what is read back is the same network."""
    net = small(Dense(RNG.uniform(-1, 1, (3, 4)).astype(np.float32)))
    sizes = [ls.export_onnx(net, tmp_path / name) for name in ("a.onnx", "b.onnx")]
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sizes == [(tmp_path / "a.onnx").stat().st_size] * 2
    assert ls.from_onnx(tmp_path / "a.onnx") == net


def test_weights_beside_the_model(tmp_path):
    """External data: large weights in one aligned file, small ones in the model; ONNX Runtime and we read both."""
    weights = {"w": Dense(RNG.uniform(-1, 1, (64, 64)).astype(np.float32)), "b": Dense(np.ones(64, np.float32))}
    graph = Graph((Node("Gemm", "fc", ("x", "w", "b"), ("y",)),), (TensorSpec("x", ("N", 64)),), ("y",), ("w", "b"))
    net = Network(graph, weights)
    size = ls.export_onnx(net, tmp_path / "net.onnx", external=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert (tmp_path / "net.onnx.data").stat().st_size == 64 * 64 * 4
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert ls.from_onnx(tmp_path / "net.onnx") == net
    x = RNG.uniform(-1, 1, (2, 64)).astype(np.float32)
    want = reference.run(net, {"x": x})["y"]
    np.testing.assert_allclose(run(tmp_path / "net.onnx", {"x": x})["y"], want, rtol=1e-5, atol=1e-5)


def test_what_the_operator_set_cannot_say(tmp_path):
    """A form that operator set 20 lacks is refused, and nothing is written."""
    node = Node("SpaceToDepth", "s", ("x",), ("y",), {"blocksize": 2, "mode": "CRD"})
    net = Network(Graph((node,), (TensorSpec("x", ("N", 1, 2, 2)),), ("y",)), {})
    with pytest.raises(UnsupportedShape, match=r"node 's' .* no mode CRD"):
        ls.export_onnx(net, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_whole_networks(name, tmp_path):
    """Networks that the package onnx ships, through import, passes and export: ONNX Runtime's results stay."""
    data = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
    model = version_converter.convert_version(onnx.load(data), 13)
    onnx.save(model, tmp_path / "before.onnx")
    net = ls.from_onnx(tmp_path / "before.onnx")
    ls.export_onnx(net, tmp_path / "after.onnx")
    (spec,) = net.graph.inputs
    x = np.random.default_rng(0).uniform(-1, 1, spec.shape)
    before, after = (run(tmp_path / f"{when}.onnx", {spec.name: x}) for when in ("before", "after"))
    for key, value in before.items():
        np.testing.assert_allclose(after[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_strides_of_pooling_are_written_out(op, tmp_path):
    """A pooling node without strides gets strides of 1 in the model: MNN's converter stops where they are missing."""
    graph = Graph(
        (Node(op, "pool", ("x",), ("y",), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}),),
        (TensorSpec("x", ("N", 2, 5, 5)),),
        ("y",),
    )
    ls.export_onnx(Network(graph), tmp_path / "net.onnx")
    (pool,) = onnx.load(tmp_path / "net.onnx").graph.node
    assert [list(a.ints) for a in pool.attribute if a.name == "strides"] == [[1, 1]]
