"""The machinery of rewrites: rules that say what a node and those that feed it come to, and the removal of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph import shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Graph, Node
from lissome.graph.names import Names

SWEEPS: Final = 8  # patterns inside patterns are fewer; a graph made to need more stays as it is then

Values: TypeAlias = Mapping[str, NDArray[np.float32]]


class View:
    """A graph as rules see it: who makes a tensor, how often it is read, what is known of it."""

    def __init__(self, graph: Graph, values: Values, extents: Mapping[str, Shape]) -> None:
        self.graph, self.extents, self.new = graph, extents, dict(values)
        self.maker = {name: node for node in graph.nodes for name in node.outputs}
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        self.uses.update(graph.outputs)
        self.names = Names((*self.maker, *graph.parameters, *(spec.name for spec in graph.inputs)))

    def made(self, name: str, *ops: str) -> Node | None:
        """The node that makes the tensor `name`, if it is one of these operators and has one output."""
        node = self.maker.get(name)
        return node if node is not None and node.op in ops and len(node.outputs) == 1 else None

    def alone(self, name: str, *ops: str) -> Node | None:
        """As `made`, if nothing else reads the tensor."""
        return self.made(name, *ops) if self.uses[name] == 1 else None

    def constant(self, name: str) -> NDArray[np.float32] | None:
        """The value of a parameter that is known."""
        return self.new.get(name)

    def number(self, name: str) -> float | None:
        """The value of a parameter that is one known number, whatever its shape."""
        value = self.new.get(name)
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def other(self, node: Node, x: str) -> str | None:
        """The operand of a node of two operands that is not `x`; None when `x` is neither or both."""
        others = [name for name in node.inputs if name != x]
        return others[0] if len(node.inputs) == 2 and len(others) == 1 else None

    def split(self, node: Node) -> tuple[str, float] | None:
        """Operand and number of an Add or Mul of a tensor and one number."""
        for x, constant in (node.inputs, node.inputs[::-1]):
            number = self.number(constant)
            if number is not None and x not in self.new:
                return x, number
        return None

    @cached_property
    def readers(self) -> Mapping[str, list[Node]]:
        """The nodes that read each tensor, in their order."""
        found: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of every tensor, for a batch of 2."""
        specs = shapes.infer(self.graph, self.extents, 2)
        return {name: tuple(int(extent) for extent in spec.shape) for name, spec in specs.items()}

    def parameter(self, stem: str, value: NDArray[np.float32]) -> str:
        """A new parameter; returns its name."""
        name = self.names.fresh(stem)
        self.new[name] = value
        return name


# What a node comes to, as a node or some that end in its outputs; None when the rule does not fit.
Rule: TypeAlias = Callable[[View, Node], "Node | Sequence[Node] | None"]


def near(a: float | None, b: float) -> bool:
    """Whether a constant is `b` within the rounding of float32, or of an exporter's six digits."""
    return a is not None and abs(a - b) <= 2e-6 * abs(b)


def rewrite(
    graph: Graph, values: Values, extents: Mapping[str, Shape], rules: Mapping[str, Sequence[Rule]]
) -> tuple[Graph, Values]:
    """Apply the rules of each node's operator until none fits, each time to the graph that the last ones left.

    What only the replaced nodes needed is removed.
    """
    for _ in range(SWEEPS):
        view = View(graph, values, extents)
        nodes: list[Node] = []
        found = False
        for node in graph.nodes:
            made = _apply(view, node, rules.get(node.op, ()))
            found = found or made != [node]
            nodes += made
        if not found:
            break
        parameters = (*graph.parameters, *(name for name in view.new if name not in graph.parameters))
        extents = {**extents, **{name: value.shape for name, value in view.new.items()}}
        graph = remove_dead(Graph(tuple(nodes), graph.inputs, graph.outputs, parameters))
        values = view.new
    kept = set(graph.parameters)
    return graph, {name: value for name, value in values.items() if name in kept}


def _apply(view: View, node: Node, rules: Sequence[Rule]) -> list[Node]:
    """What the first rule that fits makes of a node, or the node."""
    for rule in rules:
        made = rule(view, node)
        if made is not None:
            return [made] if isinstance(made, Node) else list(made)
    return [node]


def remove_dead(graph: Graph) -> Graph:
    """The graph without nodes and parameters that no output needs; inputs stay."""
    needed = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    parameters = tuple(name for name in graph.parameters if name in needed)
    return Graph(tuple(reversed(kept)), graph.inputs, graph.outputs, parameters)


def remove_identities(graph: Graph) -> Graph:
    """The graph without Identity nodes, but for one that gives an input, a parameter or an output a second name."""
    alias: dict[str, str] = {}
    made = {name for node in graph.nodes for name in node.outputs}
    outputs = set(graph.outputs)
    renamed: dict[str, str] = {}  # what is an output under another name is made under that name
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        if node.op == "Identity":
            x, y = inputs[0], node.outputs[0]
            if y not in outputs:
                alias[y] = x
                continue
            if x in made and x not in outputs and x not in renamed:
                renamed[x] = alias[x] = y
                continue
        nodes.append(replace(node, inputs=inputs))
    return remove_dead(
        Graph(
            tuple(
                replace(
                    node,
                    inputs=tuple(renamed.get(name, name) for name in node.inputs),
                    outputs=tuple(renamed.get(name, name) for name in node.outputs),
                )
                for node in nodes
            ),
            graph.inputs,
            graph.outputs,
            graph.parameters,
        )
    )
