"""Caffe's descriptions and Deep Compression's streams: read exactly, refused clearly."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from caffe_writer import random_weight, streams
from hypothesis import given, settings
from hypothesis import strategies as st

import lissome as ls
from lissome import Network
from lissome.errors import FormatError, UnsupportedShape
from lissome.interchange.caffe import from_caffe, layers, prototxt
from lissome.interchange.caffe.streams import read as read_streams
from lissome.pack.container import load, pack
from lissome.pack.split import canonical
from lissome.runtime import reference
from lissome.weights import Codebook, Dense, Sparse

DATA = Path(os.environ.get("LISSOME_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
HAN = DATA / "squeezenet-deep-compression"
DESCRIPTION, STREAMS = HAN / "SqueezeNet_deploy.prototxt", HAN / "compressed_SqueezeNet.net"
needs_squeezenet = pytest.mark.skipif(not STREAMS.exists(), reason=f"no compressed SqueezeNet in {HAN}")

# Every kind of layer, as AlexNet, GoogLeNet and ResNet's authors wrote them.
EVERY_LAYER = """
name: "every" # a comment
layer { name: 'data' type: 'Input' top: 'data' input_param { shape: { dim: 1 dim: 4 dim: 13 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        param { lr_mult: 1 } convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 1 group: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" lrn_param { local_size: 5 alpha: 1e-1 beta: 0.75 } }
layer { name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2a" type: "Convolution" bottom: "pool1" top: "conv2a"
        convolution_param < num_output: 6; kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 1 bias_term: false > }
layer { name: "conv2b" type: "Convolution" bottom: "pool1" top: "conv2b"
        convolution_param { num_output: 6, kernel_size: [3, 3] dilation: 2 pad: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "conv2a" bottom: "conv2b" top: "sum" eltwise_param { operation: SUM } }
layer { name: "leaky" type: "ReLU" bottom: "sum" top: "leaky" relu_param { negative_slope: 0.25 } }
layer { name: "cat" type: "Concat" bottom: "leaky" bottom: "conv2a" top: "cat" }
layer { name: "pool2" type: "Pooling" bottom: "cat" top: "pool2"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" inner_product_param { num_output: 10 } }
layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param { dropout_ratio: 0.5 } }
layer { name: "tanh" type: "TanH" bottom: "ip1" top: "ip1" }
layer { name: "loss" type: "Dropout" bottom: "ip1" top: "loss" include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "ip1" top: "prob" }
"""

ONE_CONV = """
input: "x" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5
layer { name: "conv" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 3 kernel_size: 3 } }
"""


def filled(text: str, seed: int = 0, density: float = 0.3) -> Network:
    """The network of a description with random coded weights."""
    rng = np.random.default_rng(seed)
    graph, weighted = layers.build(prototxt.parse(text, "text"))
    weights = {layer.weight: random_weight(rng, layer.shape, layer.code_bits, density) for layer in weighted}
    weights |= {x.bias: Dense(rng.standard_normal(x.shape[0]).astype(np.float32)) for x in weighted if x.bias}
    return Network(graph, {name: weights[name] for name in graph.parameters})


def read_back(folder: Path, text: str, data: bytes) -> Network:
    (folder / "net.prototxt").write_text(text)
    (folder / "net.net").write_bytes(data)
    return from_caffe(folder / "net.prototxt", folder / "net.net")


@needs_squeezenet
def test_squeezenet_keeps_every_bit():
    """Writing the imported weights again gives the authors' file, all 675,763 bytes: nothing was lost or changed."""
    assert streams(ls.from_caffe(DESCRIPTION, STREAMS)) == STREAMS.read_bytes()


@needs_squeezenet
def test_squeezenet_is_what_was_published():
    """Layers, parameters and survivors are the published ones, and each weight is codes into 256 shared values."""
    net = ls.from_caffe(DESCRIPTION, STREAMS)
    weights = [weight for name, weight in net.weights.items() if name.endswith(".weight")]
    assert len(weights) == 26
    assert net.parameters == 1_248_424
    assert sum(weight.nnz for weight in weights) == 415_921
    assert all(
        isinstance(w, Sparse) and isinstance(w.values, Codebook) and w.values.codebook.size == 256 for w in weights
    )
    assert net.graph.outputs == ("pool_final",)


@needs_squeezenet
def test_squeezenet_is_packed_without_loss():
    """Saved and loaded, every weight is the same bit for bit, in fewer bytes than the authors' own file."""
    net = ls.from_caffe(DESCRIPTION, STREAMS)
    data = pack(net, "fast")
    assert len(data) < STREAMS.stat().st_size
    assert load(data) == canonical(net)
    for name, weight in load(data).weights.items():
        assert weight.to_dense().tobytes() == net.weights[name].to_dense().tobytes()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]), st.sampled_from([ONE_CONV, EVERY_LAYER]))
def test_streams_come_back(tmp_path_factory, seed, density, text):
    """Any coded weights, with 8-bit codes and with 4-bit ones, come back equal from a file written independently."""
    net = filled(text, seed, density)
    assert read_back(tmp_path_factory.mktemp("net"), text, streams(net)) == net


def test_every_layer_means_what_caffe_says():
    """A network of every kind of layer computes what the same layers in torch compute, in float64."""
    net = filled(EVERY_LAYER, density=0.9)
    w = {name: torch.from_numpy(weight.to_dense().astype(np.float64)) for name, weight in net.weights.items()}
    x = np.random.default_rng(1).standard_normal((2, 4, 13, 12))
    conv1 = F.relu(F.conv2d(torch.from_numpy(x), w["conv1.weight"], w["conv1.bias"], padding=1, groups=2))
    norm1 = F.local_response_norm(conv1, 5, alpha=0.1, beta=0.75, k=1.0)
    pool1 = F.max_pool2d(norm1, 3, 2, ceil_mode=True)
    conv2a = F.conv2d(pool1, w["conv2a.weight"], padding=(0, 1))
    total = conv2a + F.conv2d(pool1, w["conv2b.weight"], w["conv2b.bias"], padding=2, dilation=2)
    cat = torch.cat([F.leaky_relu(total, 0.25), conv2a], 1)
    pool2 = F.avg_pool2d(cat, 3, 2, padding=1, ceil_mode=True, count_include_pad=True)
    ip1 = torch.tanh(F.linear(pool2.flatten(1), w["ip1.weight"], w["ip1.bias"]))
    found = reference.run(net, {"data": x})
    assert list(found) == ["prob"]
    np.testing.assert_allclose(found["prob"], F.softmax(ip1, 1).numpy(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "want"),
    [
        (227, 3, 2, 0, 113),
        (111, 3, 2, 0, 55),
        (7, 2, 2, 1, 4),
        (6, 2, 2, 1, 4),
        (5, 3, 2, 1, 3),
        (4, 3, 2, 1, 3),
        (3, 3, 2, 1, 2),
    ],
)
def test_pooling_counts_windows_as_caffe_does(size, kernel, stride, pad, want):
    """Caffe rounds the number of windows up, and drops a last one that would start in the padding behind."""
    text = f"""
    input: "x" input_shape {{ dim: 1 dim: 1 dim: {size} dim: {size} }}
    layer {{ name: "p" type: "Pooling" bottom: "x" top: "p"
             pooling_param {{ pool: MAX kernel_size: {kernel} stride: {stride} pad: {pad} }} }}"""
    graph, _ = layers.build(prototxt.parse(text, "text"))
    assert reference.run(Network(graph), {"x": np.zeros((1, 1, size, size))})["p"].shape == (1, 1, want, want)


def test_every_truncation_is_refused():
    """Streams that are shorter by any number of bytes, or longer, are one FormatError that names the file."""
    _, weighted = layers.build(prototxt.parse(ONE_CONV, "text"))
    data = streams(filled(ONE_CONV))
    for length in [*range(len(data)), len(data) + 1]:
        with pytest.raises(FormatError, match=r"net\.net"):
            read_streams((data + b"\0")[:length], weighted, "net.net")


GOOD = streams(filled(ONE_CONV))


def changed(at: int, value: bytes) -> bytes:
    data = bytearray(GOOD)
    data[at : at + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(0, b"\xff\xff\xff\xff"), "ask for"),
        (changed(4, b"\0\0\x80\x3f"), "layer 'conv': code 0 stands for 1.0"),
        (changed(4 + 40, b"\0\0\xc0\x7f"), "layer 'conv': a codebook holds 1 NaN"),
        (changed(4 + 1024, b"\0\0\x80\x7f"), "layer 'conv': a dense weight holds 1 NaN or infinite"),
        (
            changed(len(streams(filled(ONE_CONV))) - 4, b"\xff\xff\xff\xff"),
            "layer 'conv': entry .* past the weight's 54",
        ),
    ],
)
def test_damage_is_named_with_its_place(tmp_path, data, message):
    """A count too large, a codebook without zero, a NaN, a gap past the end: the error names file, layer and entry."""
    with pytest.raises(FormatError, match=rf"net\.net.*{message}"):
        read_back(tmp_path, ONE_CONV, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one input"),
        ("layer", "line 1: after 'layer' comes"),
        ("layer {", "line 1: a field's name is missing; found the end"),
        ("name: \n}", "line 2: a value is missing; found '}'"),
        ("a { \n" * 40, "more than 32 deep"),
        ("input: 'x\n'", "line 1: cannot read"),
        ("input: '\\q'", "escape"),
        ("name: 99x", "cannot read"),
        ("layers { }", "upgrade_net_proto_text"),
        ("colour: 1", "field 'colour' is not known"),
        ("input: 'x' input_dim: 1", "do not give a shape"),
        ("input: 'x' input_shape { dim: 1 dim: -3 }", "integer of 0 to"),
        ("input: 'x' input_shape { dim: 1 dim: 0 }", "extent 0"),
        (ONE_CONV.replace('bottom: "x"', 'bottom: "z"'), "line 3: layer 'conv' reads 'z'"),
        (ONE_CONV.replace("kernel_size: 3", "kernel_size: 6"), "line 3: node 'conv'.*does not fit its padded input"),
        (ONE_CONV.replace("num_output: 3", "num_output: 2000000000"), "line 3: node 'conv'.*elements"),
        (ONE_CONV.replace("num_output: 3", "num_output: 3000000000"), "'num_output' is to be an integer"),
        (ONE_CONV.replace("num_output: 3", "group: 0"), "num_output"),
        (ONE_CONV.replace("num_output: 3", "num_output: 3 strde: 2"), "'strde' is not known"),
        (ONE_CONV.replace("num_output: 3", "num_output: 3 num_output: 4"), "stands 2 times"),
        (ONE_CONV.replace('top: "y"', 'top: "y" top: "z"'), "2 blobs"),
        (ONE_CONV + ONE_CONV.split("\n")[2], "already called 'conv.weight'"),
        (ONE_CONV.replace('"conv"', '"' + "c" * 300 + '"'), "longer than 256"),
    ],
)
def test_a_bad_description_is_one_clear_error(tmp_path, text, message):
    """Whatever is wrong with a description, the error is a FormatError with the file and the place."""
    with pytest.raises(FormatError, match=rf"(?s)net\.prototxt.*{message}"):
        read_back(tmp_path, text, b"")


def test_every_unsupported_layer_is_listed(tmp_path):
    """One error names all layers of types that are not supported, with their lines, as other importers do."""
    more = '\nlayer { name: "bn" type: "BatchNorm" }\nlayer { name: "acc" type: "Accuracy" include { phase: TEST } }'
    with pytest.raises(UnsupportedShape, match=r"BatchNorm \('bn', line 5\); Accuracy \('acc', line 6\)"):
        read_back(tmp_path, ONE_CONV + more, b"")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_descriptions_never_crash(data):
    """However a description is cut, repeated or overwritten, it is read or refused, never anything else."""
    text = EVERY_LAYER
    for _ in range(data.draw(st.integers(1, 4))):
        at, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        word = data.draw(
            st.sampled_from(["", "{", "}", "dim: 0", "2147483647", "-1", "1e999", "bottom: 'prob'", text[at:end]])
        )
        text = text[:at] + word + text[data.draw(st.sampled_from([at, end])) :]
    with contextlib.suppress(FormatError, UnsupportedShape):
        layers.build(prototxt.parse(text, "text"))
