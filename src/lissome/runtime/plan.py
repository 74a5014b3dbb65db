"""From a network and a batch size to a native Program: kernels, fusions, and a place for every tensor.

Each node is lowered to kernel calls by the function that `lower.OPERATORS` names for it. Reshaping costs nothing: its
output is a view of its input. An activation, and the addition of a residual, are fused into the kernel that makes
their input when nothing else reads that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import UnsupportedShape
from lissome.graph import shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.runtime import budget, kernels, lower, selection
from lissome.runtime.codes import Coded
from lissome.runtime.held import Held, Pack
from lissome.runtime.layout import blocked
from lissome.runtime.lower import bits, codes, conv
from lissome.runtime.native import native
from lissome.runtime.place import Memory
from lissome.runtime.plain import plain_tensors
from lissome.runtime.selection import Selection
from lissome.runtime.step import NONE, Activation, Step
from lissome.runtime.transposed import expanded
from lissome.runtime.tune.measure import Tuner

#: operators whose kernels apply an activation to what they make
ACTIVATED: Final = (
    *("Add", "BatchNormalization", "Conv", "Div", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "LayerNormalization"),
    *("MatMul", "Max", "Min", "Mul", "PRelu", "Pow", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "Sub"),
)
WORK_EACH: Final = 200_000  # multiply-adds or elements: some tens of microseconds


@dataclass(frozen=True)
class Prepared:
    """What plans of one network share, whatever the batch: packed weights, how dense each weight is, which algorithm
    is asked for by node name, and who measures where none is.

    memory: what packed weights may take, as a multiple of the dense ones; None: anything. within: the algorithms that
    this leaves to nodes that ask for none. measured: what calibration found on this machine.
    """

    wanted: Mapping[str, str] = field(default_factory=dict)
    tuner: Tuner | None = None
    packed: dict[tuple[object, ...], native.Packed] = field(default_factory=dict)
    densities: dict[str, float] = field(default_factory=dict)
    memory: float | None = None
    within: dict[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What the engine runs for one batch size. names, outputs: name and shape of every output."""

    batch: int
    steps: tuple[Step, ...]
    names: tuple[str, ...]
    outputs: tuple[Shape, ...]
    threads: int
    program: native.Program


def make_plan(net: Held, batch: int, isa: str, threads: int, prepared: Prepared) -> Plan:
    """Plan `net` for inputs of `batch` elements on at most `threads` threads; `prepared` keeps weights between plans.

    A dense weight that is packed is left to `net` in that form only.

    Raises UnsupportedShape and GraphError as graph.shapes.infer does, and UnsupportedShape for what no kernel does.
    """
    planner = Planner(net, batch, isa, threads, prepared)
    builder = native.Builder()
    planner.lower()
    places = planner.place(builder)
    for step in planner.steps:
        builder.step(
            step.kernel,
            [places[name] for name in step.inputs],
            [places[name] for name in step.outputs],
            step.ints,
            step.floats,
            step.weights,
            step.bias,
            step.activation,
        )
    outputs = tuple(planner.shape(name) for name in net.graph.outputs)
    counts = [planner.workers(step.work) for step in planner.steps]
    return Plan(batch, tuple(planner.steps), net.graph.outputs, outputs, max(counts, default=1), builder.build(counts))


def workers(work: int, threads: int) -> int:
    """Threads worth using: handing work over costs microseconds, so each gets ten times as much to do."""
    return max(1, min(threads, work // WORK_EACH))


class Planner:
    """What lowering functions see: the network, what is known of its tensors, and the steps so far.

    memory: tensors in memory; a tensor has its graph's name there.
    """

    def __init__(self, net: Held, batch: int, isa: str, threads: int, prepared: Prepared) -> None:
        lower.refuse_unknown(net.graph)
        lower.refuse_unmatched(net.graph, prepared.wanted)
        net = expanded(net, batch)
        self.net, self.isa, self.threads, self.prepared = net, isa, threads, prepared
        specs = shapes.infer(net.graph, {name: weight.shape for name, weight in net.weights.items()}, batch)
        self.shapes = {name: tuple(int(extent) for extent in spec.shape) for name, spec in specs.items()}
        self.memory = Memory({name: math.prod(shape) for name, shape in self.shapes.items()})
        self.blocks: dict[str, int] = {}  # tensor → channels in a block, where it is not plain
        self.relaid: dict[tuple[str, int], str] = {}  # tensor and block → the same in that layout
        self.plain: frozenset[str] = frozenset()  # tensors that lie plain though convolutions make or read them
        self.pending: dict[str, Selection] = {}  # tensors that have no memory yet
        self.constants: dict[str, NDArray[np.float32]] = {}  # made while planning
        self.steps: list[Step] = []
        self.maker: dict[str, int] = {}  # tensor → index of the step that writes it
        self.uses = Counter(name for node in net.graph.nodes for name in node.inputs)
        self.uses.update(net.graph.outputs)
        self.readers = {name: node for node in net.graph.nodes for name in node.inputs}  # the last of each tensor
        self.coded: dict[str, Coded] = {}  # tensors that are known as codes
        self.signs: dict[str, str] = {}  # tensors that are known as the signs of others
        self.done: set[str] = set()  # outputs of nodes that a step before them stands for
        self.written: dict[str, str] = {}  # output of the network → the tensor that is written for it

    def shape(self, name: str) -> Shape:
        """Extents of a tensor of the graph."""
        return self.shapes[name]

    def block(self, name: str) -> int:
        """Channels in a block of the tensor's layout; 1: plain."""
        return self.blocks.get(name, 1)

    def set_block(self, name: str, block: int) -> None:
        """Give a tensor its layout, before anything reads it."""
        if block > 1:
            self.blocks[name] = block
            self.memory.elements[name] = math.prod(blocked(self.shape(name), block))

    def reader(self, name: str) -> Node | None:
        """The node that reads a tensor, if nothing else does."""
        return self.readers.get(name) if self.uses[name] == 1 else None

    def in_layout(self, name: str, block: int) -> str:
        """The tensor with channels in blocks of `block` (1: plain): itself, a view where the bytes are the same, or a
        reordered copy, made once.
        """
        if self.block(name) == block:
            return name
        if (name, block) not in self.relaid:
            self.relaid[name, block] = self._reorder(name, block)
        return self.relaid[name, block]

    def _reorder(self, name: str, block: int) -> str:
        shape = self.shape(name)
        made = self.tensor(name, shape, block)
        narrow = self.memory.width(name) == 1
        if narrow:
            self.memory.narrow.add(made)
        area = math.prod(shape[2:])
        if area == 1 and (self.memory.elements[made] == self.memory.elements[name] or (block == 1 and shape[0] == 1)):
            self.view(made, name)
            return made
        stem, isa = ("i8", kernels.integer_isa(self.isa)) if narrow else ("f32", self.isa)
        kernel = f"reorder_{stem}_{'block' if block > 1 else 'plain'}_{isa}"
        ints = (shape[0], shape[1], area, *((0, 0, 0, 255) if narrow else ()))
        why = "the next kernel's layout"
        self.add(Step((name,), "reorder", kernel, why, (name,), (made,), ints, (1.0,) if narrow else ()))
        return made

    def memory_extents(self, name: str) -> Shape:
        """Extents of a tensor as it lies in memory: (n, channels, …), or (n, blocks, …, block)."""
        return blocked(self.shape(name), self.block(name))

    def settle(self, name: str) -> None:
        """See to it that a tensor has memory."""
        if name in self.pending:
            selection.settle(self, name, self.pending.pop(name))
        elif name in self.coded and name not in self.maker:
            codes.settle(self, name, self.coded[name])
        elif name in self.signs and name not in self.maker:
            bits.settle(self, name)

    def workers(self, work: int) -> int:
        """Threads worth using for a step."""
        return workers(work, self.threads)

    def lower(self) -> None:
        """All nodes to steps, then a copy for every output of the network that has no memory of its own."""
        if self.prepared.memory is not None and not self.prepared.within:
            layers = {node.name: conv.layer(self, node) for node in self.net.graph.nodes if conv.is_layer(self, node)}
            room = (self.prepared.memory - 1) * self.net.dense_bytes
            self.prepared.within.update(budget.within(layers, self.prepared.wanted, room))
        self.plain = plain_tensors(self)
        for node in self.net.graph.nodes:
            if node.outputs[0] in self.done or codes.lower(self, node) or bits.lower(self, node):
                continue
            if node.op not in lower.SELECTING:
                for name in node.inputs:
                    self.settle(name)
            lower.OPERATORS[node.op](self, node)
        for name in self.net.graph.outputs:
            self.settle(name)
            if self.memory.width(name) == 1:
                raise UnsupportedShape(f"output {name!r} is a tensor of codes; put a DequantizeLinear behind it")
            plain = self.in_layout(name, 1)
            own = self.memory.root(plain) == plain and plain in self.maker and plain not in self.written.values()
            self.written[name] = plain if own else self.copy(plain)

    def add(self, step: Step) -> None:
        """Append a step; one that states no work is taken to do as much as it reads."""
        read = sum(self.memory.elements[name] for name in step.inputs)
        self.steps.append(step if step.work else replace(step, work=read))
        for name in step.outputs:
            self.maker[name] = len(self.steps) - 1

    def fresh(self, stem: str, elements: int) -> str:
        """A new tensor in memory. No graph can hold its name: it is not printable."""
        name = f"\0{len(self.memory.elements)} {stem}"
        self.memory.elements[name] = elements
        return name

    def view(self, name: str, whole: str, skip: int = 0) -> None:
        """Let `name` be the elements of `whole` from `skip` on."""
        self.memory.views[name] = (whole, skip)

    def tensor(self, stem: str, shape: Shape, block: int = 1) -> str:
        """A new tensor of this shape and layout."""
        name = self.fresh(stem, math.prod(shape))
        self.shapes[name] = shape
        self.set_block(name, block)
        return name

    def constant(self, values: NDArray[np.float32]) -> str:
        """A new tensor that holds these values, flat."""
        name = self.tensor("constant", values.shape)
        self.constants[name] = np.ascontiguousarray(values, dtype=np.float32)
        return name

    def movable(self, name: str) -> bool:
        """Whether a tensor's memory may become a part of another's: a step makes it, and it is no part yet."""
        return name in self.maker and name not in self.memory.views

    def copy_to(self, name: str, made: str, node: str) -> None:
        """A step that copies a tensor, as it lies in memory."""
        kernel, count = f"unary_f32_copy_{self.isa}", (self.memory.elements[name],)
        self.add(Step((node,), "copy", kernel, "another place", (name,), (made,), count))

    def copy(self, name: str) -> str:
        """A copy of a tensor."""
        made = self.fresh(name, self.memory.elements[name])
        self.copy_to(name, made, name)
        return made

    def fuse_activation(self, node: Node, activation: Activation) -> bool:
        """Let the step that makes the node's input apply `activation` too, if that can be; says whether it was."""
        x, y = node.inputs[0], node.outputs[0]
        at = self.maker.get(x)
        if at is None or self.uses[x] != 1 or x in self.memory.views:
            return False
        step = self.steps[at]
        if step.op not in ACTIVATED or step.activation != NONE:
            return False
        self.steps[at] = replace(step, nodes=(*step.nodes, node.name), outputs=(y,), activation=activation)
        self._rename(x, y)
        return True

    def fuse_residual(self, node: Node) -> bool:
        """Let the convolution that makes one operand of an Add take the other as its residual, if that can be."""
        for x, other in (node.inputs, node.inputs[::-1]):
            at, made = self.maker.get(x), self.maker.get(self.memory.root(other), -1)
            if at is None or self.uses[x] != 1 or x in self.memory.views or made >= at or other in self.net.weights:
                continue
            step = self.steps[at]
            fits = len(step.inputs) == 1 and step.activation == NONE and self.shape(x) == self.shape(other)
            same_layout = self.block(x) == self.block(other)
            if step.op == "Conv" and fits and same_layout and kernels.adds_residual(step.kernel):
                names, y = (*step.nodes, node.name), node.outputs[0]
                self.steps[at] = replace(step, nodes=names, inputs=(step.inputs[0], other), outputs=(y,))
                self._rename(x, y)
                return True
        return False

    def _rename(self, old: str, new: str) -> None:
        self.maker[new] = self.maker.pop(old)
        self.set_block(new, self.block(old))

    def packed(self, key: tuple[object, ...], make: Callable[[], native.Packed]) -> native.Packed:
        """The packed weight of this key, made at its first use."""
        if key not in self.prepared.packed:
            self.prepared.packed[key] = make()
        return self.prepared.packed[key]

    def packed_weight(self, name: str, key: tuple[object, ...], pack: Pack) -> native.Packed:
        """The weight `name`, packed; of a dense one nothing else is kept."""
        if key not in self.prepared.packed:
            packed = self.prepared.packed[key] = pack(self.net.weights[name])
            self.net.let_go(name, packed, pack)
        return self.prepared.packed[key]

    def density(self, name: str) -> float:
        """Share of a weight's entries that are not zero."""
        if name not in self.prepared.densities:
            self.prepared.densities[name] = kernels.density(self.net.weights[name])
        return self.prepared.densities[name]

    def require_weights(self, node: Node) -> None:
        """Raise UnsupportedShape unless the node's first input is computed and the others are weights."""
        computed = self.memory.root(node.inputs[0]) not in self.net.weights
        if not computed or not all(name in self.net.weights for name in node.inputs[1:] if name):
            raise UnsupportedShape(
                f"node {node.name!r} ({node.op}) has inputs {node.inputs}: the first must be computed from the "
                "network's input, the others must be weights"
            )

    def place(self, builder: native.Builder) -> dict[str, int]:
        """Give every tensor a place; returns the builder's number for each name that a step uses."""
        graph, fixed = self.net.graph, dict[str, int]()
        for number, spec in enumerate(graph.inputs):
            fixed[spec.name] = builder.input(self.memory.elements[spec.name], number)
        read = {self.memory.root(name) for step in self.steps for name in step.inputs}
        for name in sorted(read & set(self.net.weights)):
            fixed[name] = builder.constant(kernels.to_vector(self.net.weights[name]))
        for name in sorted(read & set(self.constants)):
            fixed[name] = builder.constant(self.constants[name])
        for number, name in enumerate(graph.outputs):
            fixed[self.written[name]] = builder.output(self.memory.elements[self.written[name]], number)
        return self.memory.place(builder, self.steps, fixed)
