"""Small ONNX models that several tests build."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import lissome as ls


def model(nodes, inputs, outputs, weights=None, opset=17):
    """A model of these nodes; inputs: name → shape (strings are open extents), outputs: names, weights: arrays."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def load(made, **options):
    """What the importer makes of a model."""
    return ls.from_onnx(made.SerializeToString(), **options)


def reals(*shape, seed=0):
    """Float32 in [−1, 1)."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
