"""lissome import: networks of other formats become packed files."""

import json

import numpy as np
import pytest

import lissome as ls
from lissome.cli.main import FAILED, USAGE

TEXT = """
input: "x" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4
layer { name: "conv" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 1 kernel_size: 2 } }
"""


@pytest.fixture
def caffe(tmp_path):
    """A convolution of one 2×2 filter whose last two weights are 2.0: a description and its streams."""
    codebook = np.zeros(256, "<f4")
    codebook[7] = 2.0
    (tmp_path / "net.prototxt").write_text(TEXT)
    streams = (2).to_bytes(4, "little") + codebook.tobytes() + bytes(4) + bytes([7, 7]) + bytes([0x02])
    (tmp_path / "net.net").write_bytes(streams)
    return tmp_path / "net.prototxt", tmp_path / "net.net"


def test_caffe_is_packed_as_it_is(lissome, caffe, tmp_path):
    """The packed file holds the same weights, still pruned and shared, and the command says how large it is."""
    out = tmp_path / "out.liss"
    found = json.loads(lissome("import", *caffe, "-o", out, "--coder", "fast", "--json").out)
    assert found["bytes"] == out.stat().st_size
    weight = ls.load(out).weights["conv.weight"]
    assert weight.describe() == "sparse(codebook 1)"
    np.testing.assert_array_equal(weight.to_dense().ravel(), [0, 0, 2, 2])


def test_onnx_is_packed_as_it_is(lissome, packed, tmp_path):
    """A network that was exported comes back with the same weights."""
    pytest.importorskip("onnx")
    model, out = tmp_path / "net.onnx", tmp_path / "out.liss"
    assert lissome("export", packed, "-o", model).code == 0
    result = lissome("import", model, "-o", out)
    assert (result.code, result.err) == (0, "")
    assert f"{out.stat().st_size:,} bytes" in result.out
    for name, weight in ls.load(packed).weights.items():
        np.testing.assert_array_equal(ls.load(out).weights[name].to_dense(), weight.to_dense())


def test_bad_files_are_refused(lissome, caffe, tmp_path):
    """Files that do not belong together are wrong usage, a damaged one is a failure, and nothing is written."""
    description, weights = caffe
    out = tmp_path / "out.liss"
    assert lissome("import", description, "-o", out).code == USAGE
    assert lissome("import", weights, description, "-o", out).code == USAGE
    weights.write_bytes(weights.read_bytes()[:-1])
    result = lissome("import", description, weights, "-o", out)
    assert result.code == FAILED
    assert "net.net" in result.err
    assert not out.exists()
