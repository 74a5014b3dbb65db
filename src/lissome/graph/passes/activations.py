"""Activations and normalisations in the parts that exporters write: recognised, and written as one operator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from lissome.graph import attributes, shapes
from lissome.graph.ir import Attribute, Node
from lissome.graph.passes.rewrite import Rule, View, near


def _one(node: Node, op: str, x: str, **found: Attribute) -> Node:
    """The node as one operator of `x`."""
    return Node(op, node.name, (x,), node.outputs, found)


def _swish(view: View, node: Node) -> Node | None:
    """X · sigmoid(alpha · x)."""
    for x, gate in (node.inputs, node.inputs[::-1]):
        sigmoid = view.made(gate, "Sigmoid")
        if sigmoid is None:
            continue
        if sigmoid.inputs[0] == x:
            return _one(node, "Swish", x)
        scaled = view.made(sigmoid.inputs[0], "Mul")
        parts = view.split(scaled) if scaled is not None else None
        if parts is not None and parts[0] == x:
            return _one(node, "Swish", x, alpha=parts[1])
    return None


def _mish(view: View, node: Node) -> Node | None:
    """X · tanh(softplus(x))."""
    for x, gate in (node.inputs, node.inputs[::-1]):
        tanh = view.made(gate, "Tanh")
        softplus = view.made(tanh.inputs[0], "Softplus") if tanh is not None else None
        if softplus is not None and softplus.inputs[0] == x:
            return _one(node, "Mish", x)
    return None


def _hard_sigmoid(view: View, node: Node) -> Node | None:
    """clip(x + 3, 0, 6) / 6, as a division or as a product with 1/6."""
    x = _sixth(view, node)
    clip = view.made(x, "Clip") if x else None
    shifted = _clipped(view, clip)
    return _one(node, "HardSigmoid", shifted, alpha=1 / 6, beta=0.5) if shifted else None


def _hard_swish(view: View, node: Node) -> Node | None:
    """X · clip(x / 6 + 1/2, 0, 1), or x · clip(x + 3, 0, 6) with the division by 6 behind it."""
    if node.op == "Mul":
        for x, gate in (node.inputs, node.inputs[::-1]):
            found = view.made(gate, "HardSigmoid")
            if found is not None and found.inputs[0] == x:
                slope, offset = attributes.real(found, "alpha", 0.2), attributes.real(found, "beta", 0.5)
                if near(slope, 1 / 6) and offset == 0.5:
                    return _one(node, "HardSwish", x)
    name = _sixth(view, node)
    product = view.made(name, "Mul") if name else None
    if product is not None:
        for x, gate in (product.inputs, product.inputs[::-1]):
            if _clipped(view, view.made(gate, "Clip")) == x:
                return _one(node, "HardSwish", x)
    return None


def _sixth(view: View, node: Node) -> str | None:
    """What the node divides by 6."""
    if node.op == "Div":
        return node.inputs[0] if view.number(node.inputs[1]) == 6 else None
    parts = view.split(node)
    return parts[0] if parts is not None and near(parts[1], 1 / 6) else None


def _clipped(view: View, clip: Node | None) -> str | None:
    """x, where the node is clip(x + 3, 0, 6)."""
    if clip is None or shapes.bounds(clip) != (0, 6):
        return None
    shifted = view.made(clip.inputs[0], "Add")
    parts = view.split(shifted) if shifted is not None else None
    return parts[0] if parts is not None and parts[1] == 3 else None


def _gelu(view: View, node: Node) -> Node | None:
    """X / 2 · (1 + erf(x / √2)), or (1 + tanh(√(2/π) · (x + 0.044715 x³))), the factors in any order."""
    factor, names = _product(view, node)
    if not near(factor, 0.5) or len(names) != 2:
        return None
    for x, gate in (names, names[::-1]):
        one_more = view.made(gate, "Add")
        parts = view.split(one_more) if one_more is not None else None
        if parts is None or parts[1] != 1:
            continue
        function = view.made(parts[0], "Erf", "Tanh")
        if function is None:
            continue
        inner, argument = _scaled(view, function.inputs[0])
        if function.op == "Erf" and argument == x and near(inner, math.sqrt(0.5)):
            return _one(node, "Gelu", x)
        if function.op == "Tanh" and near(inner, math.sqrt(2 / math.pi)) and _cubic(view, argument) == x:
            return _one(node, "Gelu", x, approximate="tanh")
    return None


def _product(view: View, node: Node) -> tuple[float, list[str]]:
    """A tree of products as its constant factor and its other factors."""
    factor, names, todo = 1.0, list[str](), list(node.inputs)
    while todo:
        name = todo.pop(0)
        number, inner = view.number(name), view.alone(name, "Mul")
        if number is not None:
            factor *= number
        elif inner is not None and len(names) + len(todo) < 4:
            todo += inner.inputs
        else:
            names.append(name)
    return factor, names


def _scaled(view: View, name: str) -> tuple[float, str]:
    """A tensor as a number times another tensor."""
    node = view.made(name, "Mul", "Div")
    if node is None:
        return 1.0, name
    if node.op == "Div":
        number = view.number(node.inputs[1])
        return (1 / number, node.inputs[0]) if number else (1.0, name)
    parts = view.split(node)
    return (parts[1], parts[0]) if parts is not None else (1.0, name)


def _cubic(view: View, name: str) -> str | None:
    """x, where the tensor is x + 0.044715 x³."""
    total = view.made(name, "Add")
    for x, rest in (total.inputs, total.inputs[::-1]) if total is not None else ():
        factor, cube = _scaled(view, rest)
        power = view.made(cube, "Pow")
        if near(factor, 0.044715) and power is not None and power.inputs[0] == x and view.number(power.inputs[1]) == 3:
            return x
        product = view.made(rest, "Mul")
        if product is not None:
            factor, names = _product(view, product)
            if near(factor, 0.044715) and names == [x, x, x]:
                return x
    return None


def _layer_norm(view: View, node: Node) -> Node | None:
    """(x − mean) / √(variance + ε) · scale, and + offset where there is one, over the last axes."""
    offset: str | None = None
    product: Node | None = node
    if node.op == "Add":
        offset = next((name for name in node.inputs if view.constant(name) is not None), None)
        made = view.other(node, offset) if offset else None
        product = view.alone(made, "Mul") if made else None
    scale = next((n for n in product.inputs if view.constant(n) is not None), None) if product is not None else None
    normal = view.other(product, scale) if product is not None and scale else None
    division = view.alone(normal, "Div") if normal else None
    if division is None or scale is None:
        return None
    centred, root = view.made(division.inputs[0], "Sub"), view.made(division.inputs[1], "Sqrt")
    shifted = view.made(root.inputs[0], "Add") if root is not None else None
    parts = view.split(shifted) if shifted is not None else None
    variance = view.made(parts[0], "ReduceMean") if parts is not None else None
    if centred is None or variance is None or parts is None:
        return None
    x, mean = centred.inputs[0], view.made(centred.inputs[1], "ReduceMean")
    if mean is None or mean.inputs[0] != x or not _is_square(view, variance.inputs[0], division.inputs[0]):
        return None
    rank = len(view.shapes[x])
    axes = [attributes.axes(reduced, "axes", rank) for reduced in (mean, variance)]
    kept = all(attributes.flag(reduced, "keepdims", 1) for reduced in (mean, variance))
    if axes[0] is None or axes[0] != axes[1] or not kept or axes[0] != tuple(range(axes[0][0], rank)):
        return None
    behind = view.shapes[x][axes[0][0] :]
    for name in filter(None, (scale, offset)):
        if len(view.shapes[name]) > len(behind):
            return None
    inputs = (x, scale, *([offset] if offset else []))
    found: dict[str, Attribute] = {"axis": axes[0][0] - rank, "epsilon": parts[1]}
    return Node("LayerNormalization", node.name, inputs, node.outputs, found)


def _is_square(view: View, name: str, x: str) -> bool:
    node = view.made(name, "Pow", "Mul")
    if node is None or node.inputs[0] != x:
        return False
    return node.inputs[1] == x if node.op == "Mul" else view.number(node.inputs[1]) == 2


def _shift_of_norm(view: View, node: Node) -> Node | None:
    """The offset of a layer norm that was recognised without it."""
    for made, offset in (node.inputs, node.inputs[::-1]):
        norm = view.alone(made, "LayerNormalization")
        if norm is not None and len(norm.inputs) == 2 and view.constant(offset) is not None:
            rank = len(view.shapes[norm.inputs[0]])
            if len(view.shapes[offset]) <= rank - attributes.axis(norm, "axis", -1, rank):
                return Node(norm.op, norm.name, (*norm.inputs, offset), node.outputs, norm.attributes)
    return None


# By the operator that the last part is; a rule that takes more parts comes before one that takes fewer.
def _binarize(view: View, node: Node) -> Node | None:
    """sign(sign(x) + c) for c between 0 and 1: 1 from 0 on, −1 below."""
    shifted = view.made(node.inputs[0], "Add")
    parts = view.split(shifted) if shifted is not None else None
    inner = view.made(parts[0], "Sign") if parts is not None and 0 < parts[1] < 1 else None
    return _one(node, "Binarize", inner.inputs[0]) if inner is not None else None


ACTIVATIONS: Final[Mapping[str, Sequence[Rule]]] = {
    "Add": (_shift_of_norm, _layer_norm),
    "Div": (_hard_swish, _hard_sigmoid),
    "Mul": (_swish, _mish, _hard_swish, _gelu, _layer_norm, _hard_sigmoid),
    "Sign": (_binarize,),
}
