"""Networks that compute on codes, made of parts."""

from __future__ import annotations

import numpy as np

from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Codebook, Dense


class Maker:
    """Appends nodes; each method returns the name of the tensor that it makes."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.rng, self.weights, self.nodes, self.shape = np.random.default_rng(seed), {}, [], shape

    def parameter(self, name: str, values: object) -> str:
        self.weights[name] = Dense(np.array(values, np.float32))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(Node(op, name, inputs, (name,), attributes))
        return name

    def codes(self, x: str, scale: float, zero: int, dtype: str = "uint8") -> str:
        """Through codes and back."""
        given = self.parameter(f"{x}.scale{len(self.nodes)}", scale)
        made = self.node("QuantizeLinear", x, given, zero_point=zero, dtype=dtype)
        return self.node("DequantizeLinear", made, given, zero_point=zero, dtype=dtype)

    def layer(self, op: str, x: str, shape: tuple[int, ...], *, biased: bool = True, **attributes: object) -> str:
        """A Conv or Gemm with int8 weights of a scale a filter."""
        name = f"w{len(self.nodes)}"
        levels = np.arange(-127, 128).astype(np.float32)
        self.weights[name] = Codebook(self.rng.integers(0, 255, shape), levels)
        scale = self.parameter(f"{name}.scale", self.rng.uniform(0.5, 1, shape[0]) / 100 / np.sqrt(np.prod(shape[1:])))
        weight = self.node("DequantizeLinear", name, scale, axis=0, dtype="int8")
        inputs = [x, weight] + ([self.parameter(f"{name}.bias", self.rng.normal(size=shape[0]))] if biased else [])
        return self.node(op, *inputs, **({"transB": 1} if op == "Gemm" else {}), **attributes)

    def network(self, *outputs: str) -> Network:
        graph = Graph(tuple(self.nodes), (TensorSpec("x", ("N", *self.shape)),), outputs, tuple(self.weights))
        return Network(graph, self.weights)

    def input(self, batch: int = 2) -> np.ndarray:
        return self.rng.normal(size=(batch, *self.shape)).astype(np.float32)


def residual_network() -> tuple[Network, np.ndarray]:
    """A small ResNet with a depthwise layer, both types of codes and any zeros; and an input."""
    m = Maker(0, (3, 33, 31))
    x = m.codes("x", 0.03, 120)
    x = m.codes(m.node("Relu", m.layer("Conv", x, (24, 3, 3, 3), strides=(2, 2), pads=(1, 1, 1, 1))), 0.05, 0)
    shortcut = x
    x = m.node("Clip", m.layer("Conv", x, (40, 24, 3, 3), pads=(1, 1, 1, 1)), min=0.0, max=6.0)
    x = m.codes(x, 0.03, -90, "int8")
    x = m.codes(m.node("Relu", m.layer("Conv", x, (40, 1, 3, 3), pads=(1, 1, 1, 1), group=40)), 0.05, 0)
    x = m.codes(m.layer("Conv", x, (24, 40, 1, 1), biased=False), 0.09, 130)
    x = m.codes(m.node("Relu", m.node("Add", x, shortcut)), 0.1, 0)
    pooled = m.node("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    x = m.codes(pooled, 0.1, 0)
    parallel = m.codes(m.layer("Conv", x, (32, 24, 1, 1)), 0.06, 100)
    x = m.codes(m.layer("Conv", x, (32, 24, 1, 1)), 0.07, 110)
    x = m.codes(m.node("Add", x, parallel), 0.08, 90)
    x = m.codes(m.node("GlobalAveragePool", x), 0.02, 128)
    return m.network(m.layer("Gemm", m.node("Flatten", x), (10, 32))), m.input()
