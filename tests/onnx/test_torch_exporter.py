"""Modules as torch's exporter writes them: each comes in as the operators that it is, with torch's results."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import lissome as ls  # noqa: E402
from lissome.runtime import reference  # noqa: E402


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Recurrent(nn.Module):
    """Two bidirectional layers."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, num_layers=2, bidirectional=True)

    def forward(self, x):
        return self.lstm(x)[0]


def shuffle(x):
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)


IMAGE = (2, 4, 6, 6)
CASES = {
    "silu": (nn.SiLU(), IMAGE, ["Swish"]),
    "hard swish": (nn.Hardswish(), IMAGE, ["HardSwish"]),
    "hard sigmoid": (nn.Hardsigmoid(), IMAGE, ["HardSigmoid"]),
    "gelu": (nn.GELU(), (2, 4), ["Gelu"]),
    "gelu, tanh": (nn.GELU("tanh"), (2, 4), ["Gelu"]),
    "mish": (nn.Mish(), (2, 4), ["Mish"]),
    "relu6": (nn.ReLU6(), (2, 4), ["Clip"]),
    "prelu": (nn.PReLU(4), IMAGE, ["PRelu"]),
    "layer norm": (nn.LayerNorm(4), (2, 5, 4), ["LayerNormalization"]),
    "layer norm, pixels": (nn.LayerNorm((6, 6)), IMAGE, ["LayerNormalization"]),
    "channel shuffle": (Call(shuffle), IMAGE, ["Gather"]),
    "mean": (Call(lambda x: x.mean((2, 3))), IMAGE, ["GlobalAveragePool", "Flatten"]),
    "adaptive pool": (nn.AdaptiveAvgPool2d(1), IMAGE, ["GlobalAveragePool"]),
    "squeeze and excite": (
        Call(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
        IMAGE,
        ["GlobalAveragePool", "Sigmoid", "Mul"],
    ),
    "conv, norm": (
        nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
        IMAGE,
        ["Conv", "Relu"],
    ),
    "transposed conv, norm": (
        nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), nn.BatchNorm2d(6)),
        IMAGE,
        ["ConvTranspose"],
    ),
    "padding": (nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(4, 6, 3)), IMAGE, ["Conv"]),
    "ceil mode": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 4, 8, 8), ["AveragePool"]),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(144, 3)), IMAGE, ["Flatten", "Gemm"]),
    "halves": (Call(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)), IMAGE, ["Split", "Concat"]),
    "upsampling": (Call(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")), IMAGE, ["Resize"]),
    "lstm": (Recurrent(), (7, 2, 4), ["LSTM", "Transpose", "Reshape", "LSTM", "Transpose", "Reshape"]),
}


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("name", CASES)
def test_an_exported_module(name, opset):
    """One operator for what is one, the batch free, and results within the rounding of torch's own float32 sums."""
    module, shape, ops = CASES[name]
    torch.manual_seed(0)
    for part in module.eval().modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            nn.init.normal_(part.weight)
    x, data = torch.randn(shape), io.BytesIO()
    free = {} if name == "lstm" else {"dynamic_axes": {"x": {0: "batch"}}}  # the batch of an LSTM is its second axis
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is deprecated
        torch.onnx.export(module, (x,), data, opset_version=opset, dynamo=False, input_names=["x"], **free)
    net = ls.from_onnx(data.getvalue())
    assert [node.op for node in net.graph.nodes] == ops
    for batch in (x, x[:1]) if free else (x,):
        (found,) = reference.run(net, {"x": batch.numpy()}).values()
        np.testing.assert_allclose(found, module(batch).detach().numpy(), rtol=1e-5, atol=1e-5)
