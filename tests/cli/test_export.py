"""lissome export: packed files, ONNX models and torch networks become ONNX models."""

import json

import numpy as np
import pytest

import lissome as ls
from lissome.cli.main import FAILED, USAGE
from lissome.runtime import reference

pytest.importorskip("onnx")


def test_a_packed_file(lissome, packed, network, tmp_path):
    """The model that is written is the packed network, its weight on a grid as codes; and it can be exported again."""
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    result = lissome("export", packed, "-o", first)
    assert (result.code, result.err) == (0, "")
    assert f"{first.stat().st_size:,} bytes, 7,850 parameters" in result.out
    assert json.loads(lissome("export", first, "-o", second, "--json").out)["bytes"] == second.stat().st_size
    x = np.random.default_rng(2).random((2, 1, 28, 28), dtype=np.float32)
    want = reference.run(network, {"x": x})["y"]
    for path in (first, second):
        net = ls.from_onnx(path)
        assert net.weights["fc.weight"].describe() == "codebook 5"
        np.testing.assert_allclose(reference.run(net, {"x": x})["y"], want, rtol=1e-6, atol=1e-6)


def test_a_torch_network(lissome, tmp_path):
    """A network by its name; a module of the user's own needs the shape of one input, and the error says how."""
    out = tmp_path / "net.onnx"
    assert lissome("export", "lenet-5", "-o", out).code == 0
    assert ls.from_onnx(out).graph.inputs[0].shape == ("N", 1, 28, 28)
    mine = tmp_path / "mine.py"
    mine.write_text("import torch\n\n\ndef relu():\n    return torch.nn.ReLU()\n")
    assert lissome("export", f"{mine}:relu", "-o", out, "--shape", "3x4").code == 0
    assert ls.from_onnx(out).graph.inputs[0].shape == ("N", 3, 4)
    for shape, message in (((), "as in --shape 3x224x224"), (("--shape", "3,4"), "is not a shape")):
        result = lissome("export", f"{mine}:relu", "-o", tmp_path / "other.onnx", *shape)
        assert result.code == USAGE
        assert message in result.err
    assert not (tmp_path / "other.onnx").exists()


def test_what_is_no_network(lissome, tmp_path):
    """Bytes that are no model are one message, and nothing is written."""
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    result = lissome("export", tmp_path / "bad.onnx", "-o", tmp_path / "out.onnx")
    assert result.code == FAILED
    assert "not an ONNX model" in result.err
    assert not (tmp_path / "out.onnx").exists()
