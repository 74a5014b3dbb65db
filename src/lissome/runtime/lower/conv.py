"""Convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lissome.graph import shapes
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.algorithms import Layer, choose
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def conv(planner: Planner, node: Node) -> None:
    """Conv, by the algorithm that is asked for or the cheapest."""
    planner.require_weights(node)
    name, weight = node.inputs[1], planner.net.weights[node.inputs[1]]
    shape = shapes.conv_shape(node, planner.shape(node.inputs[0]), weight.shape)
    layer = Layer(shape, planner.density(name), planner.isa)
    asked, tuner = planner.prepared.wanted.get(node.name), planner.prepared.tuner
    if asked is None and tuner is not None:
        asked, why = tuner.best(node.name, layer, weight, planner.workers(int(shape.macs * layer.density)))
        algorithm, _ = choose(layer, f"node {node.name!r}", asked)
    else:
        algorithm, why = choose(layer, f"node {node.name!r}", asked)
    kernel = algorithm.kernel(planner.isa)
    key = (name, kernel, replace(shape, n=1))
    packed = planner.packed_weight(name, key, lambda weight: algorithm.pack(weight, shape, kernel))
    bias = kernels.to_vector(planner.net.weights[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else None
    work = int(shape.macs * layer.density) if algorithm.sparse else shape.macs
    why = f"{why}; {shape.p}x{shape.q} outputs"
    block_in, block_out = kernels.blocks(kernel)
    x, ints = planner.in_layout(node.inputs[0], block_in), algorithm.ints(layer)
    planner.set_block(node.outputs[0], block_out)
    planner.add(Step((node.name,), node.op, kernel, why, (x,), node.outputs, ints, (), packed, bias, work=work))


def conv_transpose(planner: Planner, node: Node) -> None:
    """Refuses a ConvTranspose whose weight is computed; the others have been rewritten (runtime/transposed.py)."""
    planner.require_weights(node)
