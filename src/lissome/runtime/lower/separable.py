"""A 1x1 convolution together with the depthwise one that makes its input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lissome.errors import UnsupportedShape
from lissome.graph.conv_shape import ConvShape
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.separable import Pair, bounds, is_pointwise
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

NAME: Final = "separable"  # what `kernels={...}` calls it, by the 1x1 convolution's name


def joined(planner: Planner, node: Node, shape: ConvShape) -> bool:
    """Let one kernel do a 1x1 convolution and the depthwise one before it, where they can be and that pays or is asked
    for; says whether it does.

    Raises UnsupportedShape when it is asked for and cannot be.
    """
    asked = planner.prepared.wanted.get(node.name)
    if asked not in (None, NAME):
        return False
    found = _before(planner, node) if is_pointwise(shape) else None
    pair = None if found is None else Pair(ConvShape(*found.ints), shape, planner.isa)
    if asked is None and (found is None or pair is None or not _pays(planner, found, pair, node)):
        return False
    if found is None or pair is None:
        raise UnsupportedShape(
            f"node {node.name!r}: {NAME} cannot do it: it is for a 1x1 convolution of all that a depthwise one makes "
            "and nothing else reads"
        )
    _join(planner, node, found, pair)
    return True


def _before(planner: Planner, node: Node) -> Step | None:
    """The depthwise convolution that makes all of the node's input, if it can be joined to it."""
    x = node.inputs[0]
    at = planner.maker.get(x)
    if at is None or planner.uses[x] != 1 or x in planner.memory.views:
        return None
    step = planner.steps[at]
    depthwise = step.kernel == f"conv_f32_depthwise_{planner.isa}"
    return step if depthwise and len(step.inputs) == 1 and bounds(step.activation) is not None else None


def _pays(planner: Planner, before: Step, pair: Pair, node: Node) -> bool:
    """By the model, where nobody chose for one of the two and the 1x1 filters are worth no sparse kernel."""
    if planner.prepared.wanted.get(before.nodes[0]):
        return False
    return planner.density(node.inputs[1]) > kernels.LARGE_BATCH_BELOW and pair.pays()


def _join(planner: Planner, node: Node, before: Step, pair: Pair) -> None:
    """One step in the place of the depthwise one."""
    weights, x, y = planner.net.weights, node.inputs[0], node.outputs[0]
    first = next(other for other in planner.net.graph.nodes if other.name == before.nodes[0])
    names, kernel = (first.inputs[1], node.inputs[1]), pair.kernel
    packed = planner.packed(
        (*names, kernel, pair.ints()[1:]), lambda: pair.pack(weights[names[0]], before.bias, weights[names[1]])
    )
    bias = kernels.to_vector(weights[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else None
    extent = f"{pair.pointwise.p}x{pair.pointwise.q} outputs"
    why = f"what lies between, {pair.between / 1024:,.0f} KiB, stays in the cache; {extent}"
    ends, numbers = (before.inputs, node.outputs), (pair.ints(), bounds(before.activation) or ())
    work = pair.depthwise.macs + pair.pointwise.macs
    at = planner.maker[y] = planner.maker.pop(x)
    planner.steps[at] = Step((*before.nodes, node.name), node.op, kernel, why, *ends, *numbers, packed, bias, work=work)
    planner.set_block(y, kernels.blocks(kernel)[1])
