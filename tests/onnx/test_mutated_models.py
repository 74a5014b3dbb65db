"""Models with bytes changed anywhere: the importer answers with a network, or with an error of its own."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import matmul, model, nested, node, reals

import lissome as ls
from lissome.errors import LissomeError

_SEEDS = [
    matmul(reals(3, 2)).SerializeToString(),
    nested(2).SerializeToString(),
    model(
        [
            node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1], auto_pad="NOTSET"),
            node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Shape", ["p"], ["s"]),
            node("Slice", ["s", "zero", "one"], ["n"]),
            node("Concat", ["n", "rest"], ["shape"], axis=0),
            node("Reshape", ["p", "shape"], ["r"]),
            node("Split", ["r"], ["a", "b"], axis=1),
            node("Concat", ["b", "a"], ["y"], axis=1),
        ],
        {"x": ["N", 2, 4, 4]},
        ["y"],
        {"w": reals(4, 2, 3, 3), "zero": np.array([0]), "one": np.array([1]), "rest": np.array([-1])},
        opset=12,
    ).SerializeToString(),
]


@settings(max_examples=150)
@given(st.data())
def test_a_mutated_model_is_a_network_or_one_clear_error(data):
    """Bytes changed, cut out or doubled anywhere: a network, or an error that lissome raises on purpose."""
    seed = bytearray(data.draw(st.sampled_from(_SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(seed) - 1))
        match data.draw(st.sampled_from(["set", "cut", "double"])):
            case "set":
                seed[at] = data.draw(st.integers(0, 255))
            case "cut":
                del seed[at : at + data.draw(st.integers(1, 8))]
            case _:
                seed[at:at] = seed[at : at + data.draw(st.integers(1, 40))]
        if not seed:
            break
    try:
        net = ls.from_onnx(bytes(seed))
    except LissomeError:
        return
    assert net.graph.outputs
