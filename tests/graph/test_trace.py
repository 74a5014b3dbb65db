"""Tracing: every supported layer becomes ONNX operators that mean the same; everything else is one clear error."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lissome import models
from lissome.errors import TraceError
from lissome.graph.trace import export, trace
from meaning import evaluate

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
    "mean": (Calls(lambda _, x: x.mean((2, 3), keepdim=True)), IMAGE),
    "relu": (nn.ReLU(), VECTOR),
    "relu-in-place": (Calls(lambda s, x: s.act(x * x), act=nn.ReLU(inplace=True)), VECTOR),
    "leaky-relu": (nn.LeakyReLU(0.2), VECTOR),
    "sigmoid": (nn.Sigmoid(), VECTOR),
    "tanh": (nn.Tanh(), VECTOR),
    "softmax": (nn.Softmax(dim=-1), VECTOR),
    "softmax-channels": (nn.Softmax(dim=1), IMAGE),
    "flatten": (nn.Flatten(), IMAGE),
    "flatten-function": (Calls(lambda _, x: torch.flatten(x, 1)), IMAGE),
    "flatten-part": (Calls(lambda _, x: torch.flatten(x, 2)), IMAGE),
    "view": (Calls(lambda _, x: x.view(x.size(0), -1)), IMAGE),
    "view-shape": (Calls(lambda _, x: x.view(x.shape[0], 3, 64)), IMAGE),
    "view-minus-one": (Calls(lambda _, x: x.view(-1, 3 * 8 * 8)), IMAGE),
    "reshape": (Calls(lambda _, x: x.reshape(-1, 6, 4, 8)), IMAGE),
    "add": (Calls(lambda _, x: x + torch.tanh(x)), VECTOR),
    "mul": (Calls(lambda _, x: x * torch.tanh(x)), VECTOR),
    "add-parameter": (Calls(lambda s, x: x + s.shift, shift=nn.Parameter(torch.randn(6))), VECTOR),
    "mul-constant": (Calls(lambda s, x: s.gain * x, gain=torch.randn(6)), VECTOR),
    "batch-norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), IMAGE),
    "batch-norm1d": (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, eps=0.1)), VECTOR),
    "dropout": (nn.Sequential(nn.Dropout(0.9), nn.Tanh(), nn.Dropout2d(0.9)), IMAGE),
    "identity": (nn.Sequential(nn.Identity(), nn.Tanh(), nn.Identity()), VECTOR),
    "twice": (Calls(lambda s, x: s.fc(s.fc(x)), fc=nn.Linear(6, 6)), VECTOR),
    "aliased-write": (Calls(lambda _, x: _write_through_view(x)), IMAGE),
}


def _write_through_view(x):
    """relu_ on a view changes what it views: the export must not lose that."""
    product = x * x.tanh()
    product.view(x.size(0), -1).relu_()
    return product + product


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch", [1, 5])
def test_a_layer_and_its_graph_mean_the_same(name, batch):
    """Evaluating the graph by ONNX's meaning, in float64, equals the float64 module in evaluation mode."""
    layer, shape = LAYERS[name]
    torch.manual_seed(3)
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    traced = export(copy.deepcopy(layer), torch.zeros(1, *shape))
    x = torch.randn(batch, *shape)
    double = copy.deepcopy(layer).double().eval()
    (found,) = evaluate(traced.graph, traced.values, x)
    # Both in float64 from the same float32 weights; outputs are sums of fewer than 100 products of size about 1.
    torch.testing.assert_close(found, double(x.double()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", models.names())
def test_every_listed_network_can_be_traced(name):
    """models/ holds only networks that freeze can take; parameters are named as in state_dict."""
    model = models.build(name)
    graph = trace(model, torch.zeros(1, *model.input_shape))
    assert set(graph.parameters) == set(model.state_dict())
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
        x = torch.erf(self.body(self.stem(x)))
        return F.adaptive_avg_pool2d(x, 4)


def test_one_error_lists_every_offender():
    """Each unsupported operator is named with its layer and source line, all in one error."""
    with pytest.raises(TraceError) as raised:
        trace(Odd(), torch.zeros(1, *IMAGE))
    first, *lines = str(raised.value).splitlines()
    assert first.startswith("3 operator(s)")
    assert "aten.group_norm.default, layer 'body.1'" in lines[0]
    assert "aten.erf.default, Odd.forward, test_trace.py:" in lines[1]
    assert "x = torch.erf(self.body(self.stem(x)))" in lines[1]
    assert "output size (4, 4); only 1 is supported" in lines[2]


REFUSED = {
    "fixed-batch": (Calls(lambda _, x: x.view(1, -1)), VECTOR, "batch"),
    "len": (Calls(lambda _, x: x.view(len(x), -1)), IMAGE, r"use x.flatten\(1\) or x.view\(x.size\(0\), -1\)"),
    "batch-merged": (Calls(lambda _, x: x.reshape(-1, 8)), IMAGE, "batch"),
    "batch-softmax": (nn.Softmax(dim=0), VECTOR, "runs over the batch"),
    "number": (Calls(lambda _, x: x + 1.5), VECTOR, "plain number"),
    "average-ceil": (nn.AvgPool2d(3, ceil_mode=True), IMAGE, "ceil_mode"),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), IMAGE, "divisor_override"),
    "linear-on-images": (nn.Linear(8, 4), IMAGE, "flatten first"),
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
