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


def node(op, inputs, outputs, name="", **attributes):
    """A node; the name may be left out."""
    return helper.make_node(op, inputs, outputs, name, **attributes)


def matmul(weight):
    """A model of one product with a weight of 3 rows."""
    return model([node("MatMul", ["x", "w"], ["y"], "fc")], {"x": ["N", 3]}, ["y"], {"w": weight})


def nested(depth):
    """An If inside an If inside an If, …"""
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    graph = helper.make_graph([node("Relu", ["x"], ["inner"])], "deepest", [], [value])
    for level in range(depth):
        out = f"out{level}"
        value = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
        other = helper.make_graph([node("Neg", ["x"], [out])], "other", [], [value])
        inner = node("If", ["c"], [out], f"if{level}", then_branch=graph, else_branch=other)
        graph = helper.make_graph([inner], f"level{level}", [], [value])
    return model(
        [node("If", ["c"], ["y"], "outer", then_branch=graph, else_branch=other)],
        {"x": [2]},
        ["y"],
        {"c": np.array(True)},
    )
