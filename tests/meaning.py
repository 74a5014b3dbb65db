"""What a graph's operators mean, by torch in float64: the judge of tracing and of graph rewrites."""

import numpy as np
import torch
import torch.nn.functional as F


def evaluate(graph, values, *inputs):
    """Run `graph` with float64 arithmetic; returns its outputs."""
    known = {name: torch.from_numpy(np.asarray(value).astype(np.float64)) for name, value in values.items()}
    known.update({spec.name: x.double() for spec, x in zip(graph.inputs, inputs, strict=True)})
    for node in graph.nodes:
        (known[node.outputs[0]],) = [_OPERATORS[node.op](*[known[i] for i in node.inputs], **node.attributes)]
    return [known[name] for name in graph.outputs]


def _padded(x, pads, value):
    """ONNX pads (begins, then ends) in the order that torch wants (last axis first, begin and end together)."""
    half = len(pads) // 2
    flat = [p for axis in reversed(range(half)) for p in (pads[axis], pads[half + axis])]
    return F.pad(x, flat, value=value)


def _conv(x, weight, bias=None, *, kernel_shape, strides=1, pads=(), dilations=1, group=1):
    assert tuple(weight.shape[2:]) == kernel_shape
    conv = {3: F.conv1d, 4: F.conv2d}[x.ndim]
    return conv(_padded(x, pads, 0.0), weight, bias, strides, 0, dilations, group)


def _max_pool(x, *, kernel_shape, strides=1, pads=(), dilations=1, ceil_mode=0):
    pool = {3: F.max_pool1d, 4: F.max_pool2d}[x.ndim]
    return pool(_padded(x, pads, -torch.inf), kernel_shape, strides, 0, dilations, bool(ceil_mode))


def _average_pool(x, *, kernel_shape, strides=1, pads=(), count_include_pad=0):
    pool = {3: F.avg_pool1d, 4: F.avg_pool2d}[x.ndim]
    ones = torch.ones_like(x)
    total = pool(_padded(x, pads, 0.0), kernel_shape, strides)
    share = pool(_padded(ones, pads, float(count_include_pad)), kernel_shape, strides)
    return total / share


_OPERATORS = {
    "Add": torch.add,
    "AveragePool": _average_pool,
    "BatchNormalization": lambda x, s, b, m, v, *, epsilon=1e-5: F.batch_norm(x, m, v, s, b, False, 0.0, epsilon),
    "Conv": _conv,
    "Flatten": lambda x, *, axis: x.flatten(axis) if axis == 1 else None,
    "Gemm": lambda x, w, b=0.0, *, transB: x @ w.T + b if transB == 1 else None,
    "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "LeakyRelu": lambda x, *, alpha: torch.where(x < 0, alpha * x, x),
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "Relu": torch.relu,
    "Reshape": lambda x, *, shape: x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape)]),
    "Sigmoid": torch.sigmoid,
    "Softmax": lambda x, *, axis: torch.softmax(x, axis),
    "Tanh": torch.tanh,
}
