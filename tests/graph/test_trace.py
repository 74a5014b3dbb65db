"""Tracing: every supported layer becomes ONNX operators that mean the same; everything else is one clear error."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lissome import models
from lissome.errors import TraceError
from lissome.graph.trace import export, trace
from lissome.network import Network
from lissome.runtime.reference import run
from lissome.weights import Dense

IMAGE = (3, 8, 8)
SERIES = (3, 16)
VECTOR = (6,)


class Calls(nn.Module):
    """A module whose forward is the given function; `layers` are its submodules and parameters."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


class Named(nn.Module):
    """A layer whose input is called x."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


LAYERS = {
    "linear": (nn.Linear(6, 4), VECTOR),
    "linear-no-bias": (nn.Linear(6, 4, bias=False), VECTOR),
    "conv": (nn.Conv2d(3, 4, 3), IMAGE),
    "conv-all": (nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=3, bias=False), IMAGE),
    "conv-same": (nn.Conv2d(3, 4, (4, 3), padding="same"), IMAGE),
    "conv-valid": (nn.Conv2d(3, 4, 3, padding="valid"), IMAGE),
    "conv1d": (nn.Conv1d(3, 4, 5, stride=2, padding=1), SERIES),
    "max-pool": (nn.MaxPool2d(2), IMAGE),
    "max-pool-all": (nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), IMAGE),
    "max-pool-ceil": (nn.MaxPool2d(3, stride=2, ceil_mode=True), IMAGE),
    "max-pool1d": (nn.MaxPool1d(3), SERIES),
    "avg-pool": (nn.AvgPool2d(3, stride=2, padding=1), IMAGE),
    "avg-pool-exclude": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), IMAGE),
    "avg-pool1d": (nn.AvgPool1d(4), SERIES),
    "adaptive": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "adaptive-pair": (nn.AdaptiveAvgPool2d((1, 1)), IMAGE),
    "adaptive1d": (nn.AdaptiveAvgPool1d(1), SERIES),
    "adaptive-even": (nn.AdaptiveAvgPool2d((4, 2)), IMAGE),
    "adaptive-same": (Calls(lambda _, x: F.adaptive_avg_pool2d(x.tanh(), 8)), IMAGE),
    "adaptive-max": (nn.AdaptiveMaxPool2d(1), IMAGE),
    "adaptive-max-even": (nn.AdaptiveMaxPool2d(4), IMAGE),
    "average-ceil-even": (nn.AvgPool2d(2, ceil_mode=True), IMAGE),
    "linear-images": (nn.Linear(8, 4), IMAGE),
    "linear-series": (nn.Linear(16, 4, bias=False), SERIES),
    "conv-transpose": (nn.ConvTranspose2d(3, 4, (3, 2), (2, 1), (1, 0), output_padding=(1, 0)), IMAGE),
    "conv-transpose-groups": (nn.ConvTranspose2d(3, 6, 3, groups=3, dilation=2, bias=False), IMAGE),
    "conv-transpose1d": (nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1), SERIES),
    "lrn": (nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=2.0), (6, 4, 5)),
    "lrn-function": (Calls(lambda _, x: F.local_response_norm(x.tanh(), 5)), IMAGE),
    "lrn1d": (nn.LocalResponseNorm(5, alpha=0.5), (6, 7)),
    "mean": (Calls(lambda _, x: x.mean((2, 3), keepdim=True)), IMAGE),
    "relu": (nn.ReLU(), VECTOR),
    "relu-in-place": (Calls(lambda s, x: s.act(x * x), act=nn.ReLU(inplace=True)), VECTOR),
    "leaky-relu": (nn.LeakyReLU(0.2), VECTOR),
    "relu6": (Calls(lambda s, x: s.act(5 * x), act=nn.ReLU6()), VECTOR),
    "relu6-function": (Calls(lambda _, x: F.relu6(x)), VECTOR),
    "hardtanh": (nn.Hardtanh(-0.5, 0.25), VECTOR),
    "clamp": (Calls(lambda _, x: x.clamp(-0.5, 0.5)), VECTOR),
    "clamp-min": (Calls(lambda _, x: x.clamp(min=-0.5)), VECTOR),
    "clamp-zero": (Calls(lambda _, x: x.clamp(min=0)), VECTOR),
    "clamp-max": (Calls(lambda _, x: x.clamp_max(0.5)), VECTOR),
    "prelu": (nn.PReLU(3, 0.3), IMAGE),
    "prelu-one": (nn.PReLU(), IMAGE),
    "prelu-vector": (nn.PReLU(6), VECTOR),
    "hardsigmoid": (Calls(lambda s, x: s.act(4 * x), act=nn.Hardsigmoid()), VECTOR),
    "hardswish": (Calls(lambda s, x: s.act(4 * x), act=nn.Hardswish()), VECTOR),
    "silu": (nn.SiLU(), VECTOR),
    "gelu": (nn.GELU(), VECTOR),
    "gelu-tanh": (nn.GELU("tanh"), VECTOR),
    "elu": (nn.ELU(0.7), VECTOR),
    "mish": (nn.Mish(), VECTOR),
    "softplus": (nn.Softplus(), VECTOR),
    "log-softmax": (nn.LogSoftmax(1), VECTOR),
    "functions": (Calls(lambda _, x: x.erf() + x.sin() - x.cos() * x.floor() / (x.ceil() + 9) + x.round()), VECTOR),
    "roots": (
        Calls(lambda _, x: x.abs().sqrt() + (x * x + 1).rsqrt() + (x * x + 1).log() + (x + 9).reciprocal()),
        VECTOR,
    ),
    "powers": (Calls(lambda _, x: x**2 + x**3 + x.square() + x.exp() + x.abs() ** 0.5 + x.neg() + x.sign()), VECTOR),
    "numbers": (Calls(lambda _, x: (2 - x) / 3 + 1 / (x * x + 1) + x - 0.5), VECTOR),
    "alphas": (Calls(lambda _, x: torch.sub(torch.add(x, x.tanh(), alpha=2), x.sin(), alpha=3)), VECTOR),
    "maximum": (Calls(lambda _, x: torch.maximum(x, 2 * x) - torch.minimum(x, x * x)), VECTOR),
    "broadcast": (Calls(lambda s, x: x * s.gain + s.shift, gain=torch.randn(3, 1, 1), shift=torch.randn(8)), IMAGE),
    "cat": (Calls(lambda _, x: torch.cat([x, x.tanh(), x], 1)), IMAGE),
    "cat-last": (Calls(lambda _, x: torch.cat([x, x.tanh()], -1)), IMAGE),
    "stack": (Calls(lambda _, x: torch.stack([x, x.tanh()], 2)), SERIES),
    "split": (Calls(lambda _, x: torch.cat(x.split([1, 2], 1)[::-1], 1)), IMAGE),
    "split-size": (Calls(lambda _, x: torch.cat(x.split(6, 2)[::-1], 2)), SERIES),
    "chunk": (Calls(lambda _, x: x.chunk(2, 2)[1]), IMAGE),
    "unbind": (Calls(lambda _, x: x.unbind(1)[0] * x.unbind(1)[2]), IMAGE),
    "slice": (Calls(lambda _, x: x[:, 1:, ::2, -3:]), IMAGE),
    "select": (Calls(lambda _, x: x[:, -1]), IMAGE),
    "narrow": (Calls(lambda _, x: x.narrow(2, 3, 4)), SERIES),
    "flip": (Calls(lambda _, x: x.flip(1, 3)), IMAGE),
    "pad": (Calls(lambda _, x: F.pad(x, (1, 2, 0, 3), value=0.5)), IMAGE),
    "pad-channels": (Calls(lambda _, x: F.pad(x, (0, 0, 0, 0, 2, 1))), IMAGE),
    "pad-negative": (Calls(lambda _, x: F.pad(x, (-1, 2))), SERIES),
    "pad-reflect": (nn.ReflectionPad2d((1, 2, 3, 0)), IMAGE),
    "pad-replicate": (nn.ReplicationPad2d((1, 2, 3, 0)), IMAGE),
    "pad-circular": (nn.CircularPad2d((1, 2, 3, 0)), IMAGE),
    "nearest": (nn.Upsample(scale_factor=(2, 1.5)), IMAGE),
    "nearest-size": (nn.Upsample(size=(5, 11)), IMAGE),
    "nearest1d": (nn.Upsample(scale_factor=2), SERIES),
    "bilinear": (nn.Upsample(scale_factor=(1.5, 2.0), mode="bilinear"), IMAGE),
    "bilinear-size": (nn.Upsample(size=(1, 11), mode="bilinear"), IMAGE),
    "bilinear-corners": (nn.Upsample(size=(5, 11), mode="bilinear", align_corners=True), IMAGE),
    "bilinear-corners-scale": (nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True), IMAGE),
    "linear1d": (nn.Upsample(scale_factor=2, mode="linear"), SERIES),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE),
    "permute": (Calls(lambda _, x: x.permute(0, 2, 3, 1)), IMAGE),
    "transpose": (Calls(lambda _, x: x.transpose(-1, 1)), IMAGE),
    "squeeze": (Calls(lambda _, x: x.unsqueeze(2).tanh().squeeze(2)), SERIES),
    "mean-axis": (Calls(lambda _, x: x.mean(1) + x.mean(1, keepdim=True).squeeze(1)), SERIES),
    "mean-spatial": (Calls(lambda _, x: x.mean((-1, -2))), IMAGE),
    "sum": (Calls(lambda _, x: x.sum((1, 3))), IMAGE),
    "amax": (Calls(lambda _, x: x.amax((2, 3)) + x.amax(1, keepdim=True).amin((2, 3))), IMAGE),
    "max": (Calls(lambda _, x: x.max(2)[0]), SERIES),
    "layer-norm": (nn.LayerNorm(16), SERIES),
    "layer-norm-all": (nn.LayerNorm((3, 16), eps=0.1, elementwise_affine=False), SERIES),
    "matmul": (Calls(lambda _, x: x @ x.transpose(-1, -2)), IMAGE),
    "matmul-weight": (Calls(lambda s, x: x @ s.w, w=nn.Parameter(torch.randn(16, 5))), SERIES),
    "bmm": (Calls(lambda _, x: torch.bmm(x, x.transpose(1, 2))), SERIES),
    "attention": (Calls(lambda _, x: F.scaled_dot_product_attention(x, x.tanh(), x)), SERIES),  # its scale is 1/4
    "index-select": (Calls(lambda s, x: x.index_select(1, s.i), i=torch.tensor([2, 0])), IMAGE),
    "index": (Calls(lambda s, x: x[:, :, s.i], i=torch.tensor([[2, 0], [1, -1]])), SERIES),
    "embedding": (Calls(lambda s, x: x + s.e(s.i), e=nn.Embedding(5, 16), i=torch.tensor([0, 4, 2])), SERIES),
    "folded": (Calls(lambda s, x: x @ (2 * s.w).t(), w=nn.Parameter(torch.randn(5, 16))), SERIES),
    "expand": (Calls(lambda _, x: x[:, :1].expand(-1, 4, -1)), SERIES),
    "repeat": (Calls(lambda _, x: x.repeat(1, 2, 3)), SERIES),
    "pixel-shuffle": (Calls(lambda _, x: F.pixel_shuffle(torch.cat([x, x.tanh(), x.sin(), x.cos()], 1), 2)), IMAGE),
    "channel-shuffle": (Calls(lambda s, x: s.c(torch.cat([x, x.tanh()], 1)), c=nn.ChannelShuffle(3)), IMAGE),
    "lstm": (Calls(lambda s, x: s.l(x)[0], l=nn.LSTM(16, 5, batch_first=True)), SERIES),
    "lstm-deep": (
        Calls(lambda s, x: s.l(x)[0], l=nn.LSTM(16, 5, 2, batch_first=True, bidirectional=True, bias=False)),
        SERIES,
    ),
    "lstm-steps-first": (Calls(lambda s, x: s.l(x.permute(1, 0, 2))[0][-1], l=nn.LSTM(16, 5)), SERIES),
    "lstm-last": (
        Calls(lambda s, x: torch.cat([s.l(x)[1][0][1], s.l(x)[1][1][0]], 1), l=nn.LSTM(16, 5, 2, batch_first=True)),
        SERIES,
    ),
}


def _write_through_view(x):
    """relu_ on a view changes what it views: the export must not lose that."""
    product = x * x.tanh()
    product.view(x.size(0), -1).relu_()
    return product + product


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_and_its_graph_mean_the_same(name):
    """Evaluating the graph by ONNX's meaning, in float64, equals the float64 module in evaluation mode, any batch."""
    layer, shape = LAYERS[name]
    torch.manual_seed(3)
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    traced = export(Named(copy.deepcopy(layer)), torch.zeros(1, *shape))
    net = Network(traced.graph, {name: Dense(value.numpy()) for name, value in traced.values.items()})
    double = copy.deepcopy(layer).double().eval()
    for batch in (1, 5):
        x = torch.randn(batch, *shape)
        found = torch.from_numpy(run(net, {"x": x.numpy()})["y"].copy())
        # Both in float64 from the same float32 weights; outputs are sums of fewer than 100 products of size about 1.
        torch.testing.assert_close(found, double(x.double()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["lenet-5", "cifar-resnet-20", "squeezenet-1.1", "shufflenet-v2"])
def test_parameters_are_named_as_in_the_module(name):
    """Parameters of the graph are those of state_dict, without the counters that nothing reads (all: tests/models)."""
    model = models.build(name)
    graph = trace(model, torch.zeros(1, *model.input_shape))
    buffers = {name for name in model.state_dict() if name.endswith("num_batches_tracked")}
    assert set(graph.parameters) - {"constant"} == set(model.state_dict()) - buffers
    assert (graph.inputs[0].name, graph.inputs[0].shape, graph.outputs) == ("x", ("N", *model.input_shape), ("y",))


def test_lenet_5_reads_as_one_would_write_it():
    """Node names are layer paths, functional calls are named by their operator, defaults are left out."""
    graph = trace(models.build("lenet-5"), torch.zeros(4, 1, 28, 28))
    assert [(node.op, node.name, dict(node.attributes)) for node in graph.nodes] == [
        ("Conv", "conv1", {"kernel_shape": (5, 5)}),
        ("MaxPool", "maxpool", {"kernel_shape": (2, 2), "strides": (2, 2)}),
        ("Conv", "conv2", {"kernel_shape": (5, 5)}),
        ("MaxPool", "maxpool_2", {"kernel_shape": (2, 2), "strides": (2, 2)}),
        ("Flatten", "flatten", {"axis": 1}),
        ("Gemm", "fc1", {"transB": 1}),
        ("Relu", "relu", {}),
        ("Gemm", "fc2", {"transB": 1}),
    ]


def test_dropped_layers_leave_nothing():
    """Dropout and identity are gone from the graph, and the model's own training mode stays."""
    model = nn.Sequential(nn.Dropout(), nn.Linear(6, 4), nn.Identity()).train()
    graph = trace(model, torch.zeros(1, 6))
    assert [node.op for node in graph.nodes] == ["Gemm"]
    assert all(module.training for module in model.modules())


def test_inputs_are_named_as_forward_names_them():
    """Two inputs keep their argument names and order; an input called y does not clash with the output."""

    class Two(nn.Module):
        def forward(self, y, skip):
            return y + skip

    graph = trace(Two(), (torch.zeros(1, 6), torch.zeros(1, 6)))
    assert [spec.name for spec in graph.inputs] == ["y", "skip"]
    assert graph.outputs == ("output",)


def test_several_outputs():
    """Each result that forward returns is an output, in order."""
    graph = trace(Calls(lambda _, x: (x.tanh(), torch.relu(x))), torch.zeros(1, 6))
    assert [node.op for node in graph.nodes] == ["Tanh", "Relu"]
    assert graph.outputs == tuple(node.outputs[0] for node in graph.nodes)


class Odd(nn.Module):
    """A module with three operators that no graph has, one of them in a submodule."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.body = nn.Sequential(nn.ReLU(), nn.GroupNorm(2, 4))

    def forward(self, x):
        x = torch.erfc(self.body(self.stem(x)))
        return F.adaptive_avg_pool2d(x, 4)


def test_one_error_lists_every_offender():
    """Each unsupported operator is named with its layer and source line, all in one error."""
    with pytest.raises(TraceError) as raised:
        trace(Odd(), torch.zeros(1, *IMAGE))
    first, *lines = str(raised.value).splitlines()
    assert first.startswith("3 operator(s)")
    assert "aten.group_norm.default, layer 'body.1'" in lines[0]
    assert "aten.erfc.default, Odd.forward, test_trace.py:" in lines[1]
    assert "x = torch.erfc(self.body(self.stem(x)))" in lines[1]
    assert "output size (4, 4) does not divide input size (6, 6)" in lines[2]


def _first_state(x):
    return x[:, :1, :5].transpose(0, 1)


REFUSED = {
    "fixed-batch": (Calls(lambda _, x: x.view(1, -1)), VECTOR, "batch"),
    "len": (Calls(lambda _, x: x.view(len(x), -1)), IMAGE, r"use x.flatten\(1\) or x.view\(x.size\(0\), -1\)"),
    "batch-merged": (Calls(lambda _, x: x.reshape(-1, 8)), IMAGE, "batch"),
    "batch-mean": (Calls(lambda _, x: x.mean(0)), VECTOR, "runs over the batch"),
    "batch-cat": (Calls(lambda _, x: torch.cat([x, x])), VECTOR, "runs over the batch"),
    "batch-pad": (Calls(lambda _, x: F.pad(x, (0, 0, 1, 0))), VECTOR, "pads the batch"),
    "batch-flip": (Calls(lambda _, x: x.flip(0)), VECTOR, "runs over the batch"),
    "batch-moved": (Calls(lambda _, x: x.transpose(0, 1)), VECTOR, "the batch comes first"),
    "lrn-even": (nn.LocalResponseNorm(4), IMAGE, "avg_pool3d"),
    "state": (
        Calls(lambda s, x: s.l(x, (s.h(x), s.h(x)))[0], l=nn.LSTM(16, 5, batch_first=True), h=_first_state),
        SERIES,
        "initial state",
    ),
    "gru": (Calls(lambda s, x: s.l(x)[0], l=nn.GRU(16, 5, batch_first=True)), SERIES, "no such operator"),
    "computed-indices": (Calls(lambda _, x: F.embedding(x.long(), torch.ones(5, 2))), VECTOR, "no such operator"),
    "masked": (Calls(lambda _, x: F.scaled_dot_product_attention(x, x, x, is_causal=True)), IMAGE, "no mask"),
    "heads": (
        Calls(lambda s, x: s.a(x, x, x)[0], a=nn.MultiheadAttention(16, 4, batch_first=True)),
        SERIES,
        "mixes the batch",
    ),
    "several-indices": (Calls(lambda s, x: x[:, s.i, s.i], i=torch.tensor([0, 1])), IMAGE, "several axes"),
    "adaptive-uneven": (nn.AdaptiveAvgPool2d(3), IMAGE, "does not divide"),
    "batch-softmax": (nn.Softmax(dim=0), VECTOR, "runs over the batch"),
    "average-ceil": (nn.AvgPool2d(3, ceil_mode=True), IMAGE, "ceil_mode"),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), IMAGE, "divisor_override"),
    "no-affine": (nn.BatchNorm2d(3, affine=False), IMAGE, "affine"),
    "computed-weight": (Calls(lambda _, x: F.linear(x, x)), VECTOR, "not a fixed weight|batch"),
    "branch-on-data": (Calls(lambda _, x: x if x.sum() > 0 else -x), VECTOR, "data-dependent"),
    "raises": (Calls(lambda _, x: x[:, 99]), VECTOR, "cannot be traced"),
    "wrong-shape": (nn.Linear(7, 2), VECTOR, r"cannot be traced with an input of shape \(N, 6\)"),
    "float64": (Calls(lambda s, x: x * s.gain, gain=torch.ones(6, dtype=torch.float64)), VECTOR, "float64"),
    "constant-result": (Calls(lambda s, _: s.gain, gain=torch.ones(6)), VECTOR, "no tensor computed from its input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_expressed_is_refused(name):
    """A graph that would mean something else, or only for one batch size, is never made."""
    layer, shape, message = REFUSED[name]
    with pytest.raises(TraceError, match=message):
        trace(layer, torch.zeros(2, *shape))


@pytest.mark.parametrize("example", [torch.zeros(1, 6, dtype=torch.int64), torch.zeros(()), torch.zeros(0, 6), [1.0]])
def test_a_wrong_example(example):
    """The example is float32 with at least one item in its batch; anything else is said to be wrong."""
    with pytest.raises(TraceError, match="example input 0 is"):
        trace(nn.Linear(6, 4), example)
