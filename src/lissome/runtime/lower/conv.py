"""Convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lissome.graph import shapes
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.algorithms import Layer, choose, fitting
from lissome.runtime.lower import separable
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def is_layer(planner: Planner, node: Node) -> bool:
    """Whether a node is a convolution by weights."""
    return node.op == "Conv" and node.inputs[1] in planner.net.weights


def layer(planner: Planner, node: Node) -> Layer:
    """What an algorithm is chosen for."""
    weight = planner.net.weights[node.inputs[1]]
    shape = shapes.conv_shape(node, planner.shape(node.inputs[0]), weight.shape)
    return Layer(shape, planner.density(node.inputs[1]), planner.isa, planner.prepared.measured)


def conv(planner: Planner, node: Node) -> None:
    """Conv, by the algorithm that is asked for or the cheapest."""
    planner.require_weights(node)
    this, name, prepared = layer(planner, node), node.inputs[1], planner.prepared
    shape = this.shape
    if separable.joined(planner, node, shape):
        return
    plain = node.inputs[0] in planner.plain, node.outputs[0] in planner.plain
    if prepared.tuner is not None and node.name not in prepared.wanted:
        weight, workers = planner.net.weights[name], planner.workers(int(shape.macs * this.density))
        best, why = prepared.tuner.best(node.name, this, weight, workers)
        algorithm, _ = choose(this, f"node {node.name!r}", best)
    else:
        asked = prepared.wanted.get(node.name) or prepared.within.get(node.name)
        algorithm, why = choose(this, f"node {node.name!r}", asked, plain)
        why = why if node.name in prepared.wanted or asked is None else "cheapest in the memory allowed"
    if node.name not in prepared.wanted:
        algorithm = fitting(algorithm, this, plain)
    kernel = algorithm.kernel(planner.isa)
    key = (name, kernel, algorithm.name, replace(shape, n=1))
    packed = planner.packed_weight(name, key, lambda weight: algorithm.pack(weight, shape, kernel))
    bias = kernels.to_vector(planner.net.weights[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else None
    work = int(shape.macs * this.density) if algorithm.sparse else shape.macs
    why = f"{why}; {shape.p}x{shape.q} outputs"
    block_in, block_out = kernels.blocks(kernel)
    x, ints = planner.in_layout(node.inputs[0], block_in), algorithm.ints(this)
    planner.set_block(node.outputs[0], block_out)
    planner.add(Step((node.name,), node.op, kernel, why, (x,), node.outputs, ints, (), packed, bias, work=work))


def conv_transpose(planner: Planner, node: Node) -> None:
    """Refuses a ConvTranspose whose weight is computed; the others have been rewritten (runtime/transposed.py)."""
    planner.require_weights(node)
