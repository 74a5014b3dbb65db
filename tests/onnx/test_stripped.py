"""Reading a model without its numbers first gives what reading all of it gives, in the memory of its weights."""

import io
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lissome as ls
from lissome.errors import FormatError
from lissome.interchange.onnx import files
from lissome.interchange.onnx.stripped import strip

RNG = np.random.default_rng(0)


def model(channels=64, dtype=np.float32):
    """Two convolutions, the first with a batch norm behind it."""
    arrays = {
        "w": RNG.standard_normal((channels, 3, 3, 3)).astype(dtype),
        "v": RNG.standard_normal((channels, channels, 3, 3)).astype(dtype),
        **{name: RNG.uniform(0.5, 2, channels).astype(dtype) for name in ("scale", "offset", "mean", "variance")},
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("BatchNormalization", ["a", "scale", "offset", "mean", "variance"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["y"]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (("x", ["N", 3, 8, 8]), ("y", None))]
    tensors = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def typed(proto):
    """The same numbers in float_data instead of raw_data."""
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).reshape(-1).tolist()
        tensor.ClearField("raw_data")
        tensor.float_data.extend(values)
    return proto.SerializeToString()


def field(number, content):
    """A field of bytes as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    head = []
    while value > 127:
        head.append(128 | value & 127)
        value >>= 7
    return bytes([*head, value])


def rest(proto):
    """The model without its graph."""
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    other.ClearField("graph")
    return other.SerializeToString()


def halves(proto):
    """The graph in two fields, which a parser joins."""
    first, second = proto.graph, onnx.GraphProto()
    second.initializer.extend(first.initializer[1:])
    del first.initializer[1:]
    return rest(proto) + field(7, first.SerializeToString()) + field(7, second.SerializeToString())


def doubled(proto):
    """Raw data twice, of which the last counts."""
    tensor = proto.graph.initializer[1]
    content = field(9, bytes(len(tensor.raw_data))) + tensor.SerializeToString()
    del proto.graph.initializer[1]
    return rest(proto) + field(7, proto.graph.SerializeToString() + field(5, content))


def backwards(proto):
    """Initialisers before nodes, the graph before all else, and fields that nobody knows."""
    graph = proto.graph
    tensors = b"".join(field(5, field(30, b"?" * 5000) + tensor.SerializeToString()) for tensor in graph.initializer)
    del graph.initializer[:]
    return field(7, tensors + graph.SerializeToString()) + field(30, b"!" * 100) + rest(proto)


def plain(proto):
    return proto.SerializeToString()


@pytest.mark.parametrize("written", [plain, typed, halves, doubled, backwards])
def test_every_way_to_write_a_model_reads_the_same(written, monkeypatch, tmp_path):
    """With the numbers left in the file or read with the rest, from a path or from bytes: the same network."""
    data = written(model())
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    got = [ls.from_onnx(path), ls.from_onnx(data)]
    monkeypatch.setattr(files, "strip", lambda *_: None)
    assert got == [ls.from_onnx(data)] * 2


@pytest.mark.parametrize(("written", "left"), [(plain, 2), (backwards, 2), (typed, 0)])
def test_large_numbers_stay_in_the_file(written, left):
    """What is parsed is a fraction, and says all but the numbers."""
    proto = model()
    data = written(proto)
    stripped, regions = strip(io.BytesIO(data), len(data))
    assert len(regions) == left
    assert len(data) - len(stripped) >= sum(region.length for region in regions.values())
    if left:
        assert len(stripped) < 40_000
        parsed = onnx.ModelProto.FromString(stripped)
        assert [tensor.name for tensor in parsed.graph.initializer] == ["w", "v", "scale", "offset", "mean", "variance"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_other_numbers_than_float32(dtype, monkeypatch):
    """Doubles and halves are left in the file too, and become the same weights."""
    data = model(dtype=dtype).SerializeToString()
    got = ls.from_onnx(data)
    monkeypatch.setattr(files, "strip", lambda *_: None)
    assert got == ls.from_onnx(data)


def test_cut_off_anywhere():
    """A file that ends early is one clear error, wherever it ends."""
    data = model(16).SerializeToString()
    for length in (*range(0, 200, 7), *range(200, len(data), 997)):
        with pytest.raises(FormatError):
            ls.from_onnx(data[:length])


def test_raw_data_of_another_size():
    """Data left in the file are checked against the shape before anything is made for them."""
    proto = model()
    proto.graph.initializer[1].dims[0] = 2**40
    with pytest.raises(FormatError, match=r"'v' has 147,456 bytes of data, where shape .* needs"):
        ls.from_onnx(proto.SerializeToString())


def test_many_fields_are_not_followed_one_by_one():
    """A message of millions of fields is left to the parser."""
    data = model(16).SerializeToString() + b"\xf0\x01\x00" * ((1 << 20) + 1)
    assert strip(io.BytesIO(data), len(data)) is None


def test_reading_takes_the_memory_of_the_weights(tmp_path):
    """From file to network, batch norms folded, each weight is in memory once."""
    path = tmp_path / "model.onnx"
    path.write_bytes(model(512).SerializeToString())
    ls.from_onnx(path)
    tracemalloc.start()
    net = ls.from_onnx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * net.dense_bytes


def test_values_given_as_constants_are_not_changed():
    """A weight that the caller gives is the caller's: folding works on a copy."""
    proto = model()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 3, 3, 3]))
    given = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    before = given.copy()
    del proto.graph.initializer[0]
    net = ls.from_onnx(proto.SerializeToString(), constants={"w": given})
    np.testing.assert_array_equal(given, before)
    assert not np.array_equal(net.weights["w"].to_dense(), before)
