"""From a network and a batch size to a native Program: kernels, fusions, and a place for every tensor.

Flatten, Reshape and Identity cost nothing: their output is another name of their input. A Relu is fused into the kernel
that makes its input when nothing else reads that. Tensors share one arena by their lifetimes; outputs of the network
are written straight into the arrays that are returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import UnsupportedShape
from lissome.graph import shapes
from lissome.graph.conv_shape import ConvShape, GemmShape, Shape
from lissome.graph.ir import Node
from lissome.network import Network
from lissome.runtime import kernels
from lissome.runtime.kernels import Choice
from lissome.runtime.native import native

ALIASES: Final = ("Flatten", "Identity", "Reshape")
FUSABLE: Final = ("Add", "BatchNormalization", "Conv", "Gemm", "MatMul", "Mul")
UNARY: Final = {
    "LeakyRelu": "unary_f32_leaky_relu",
    "Relu": "unary_f32_relu",
    "Sigmoid": "unary_f32_sigmoid",
    "Tanh": "unary_f32_tanh",
}
ALIGNMENT: Final = 64
WORK_EACH: Final = 200_000  # multiply-adds or elements: some tens of microseconds


@dataclass(frozen=True)
class Prepared:
    """What plans of one network share, whatever the batch: packed weights, and how dense each weight is."""

    packed: dict[tuple[object, ...], native.Packed] = field(default_factory=dict)
    densities: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One kernel call. `nodes`: the graph's nodes it stands for. `shape`: what its kernel takes, as plain ints."""

    nodes: tuple[str, ...]
    op: str
    kernel: str
    why: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...] = ()
    strides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    weights: native.Packed | None = None
    bias: NDArray[np.float32] | None = None
    alpha: float = 0.0
    relu: bool = False
    work: int = 0  # multiply-adds (of stored weights, where the kernel is sparse) or elements read


@dataclass(frozen=True)
class Plan:
    """What the engine runs for one batch size."""

    batch: int
    steps: tuple[Step, ...]
    outputs: tuple[Shape, ...]
    threads: int
    program: native.Program


def make_plan(net: Network, batch: int, isa: str, threads: int, prepared: Prepared) -> Plan:
    """Plan `net` for inputs of `batch` elements on at most `threads` threads; `prepared` keeps weights between plans.

    Raises UnsupportedShape and GraphError as graph.shapes.infer does.
    """
    planner = _Planner(net, batch, isa, prepared)
    steps = planner.steps()
    builder = native.Builder()
    places = planner.place(builder, steps)
    for step in steps:
        _emit(builder, step, places)
    outputs = tuple(planner.shape(name) for name in net.graph.outputs)
    counts = [workers(step.work, threads) for step in steps]
    return Plan(batch, tuple(steps), outputs, max(counts, default=1), builder.build(counts))


def workers(work: int, threads: int) -> int:
    """Threads worth using: handing work over costs microseconds, so each gets ten times as much to do."""
    return max(1, min(threads, work // WORK_EACH))


class _Planner:
    def __init__(self, net: Network, batch: int, isa: str, prepared: Prepared) -> None:
        self.net, self.isa, self.prepared = net, isa, prepared
        self.specs = shapes.infer(net.graph, {name: weight.shape for name, weight in net.weights.items()}, batch)
        self.root: dict[str, str] = {}  # tensor → the tensor whose memory it is
        self.written: dict[str, str] = {}  # output of the network → the tensor that a step writes for it
        for node in net.graph.nodes:
            if node.op in ALIASES:
                self.root[node.outputs[0]] = self.source(node.inputs[0])

    def source(self, name: str) -> str:
        return self.root.get(name, name)

    def shape(self, name: str) -> Shape:
        return tuple(int(extent) for extent in self.specs[name].shape)

    def steps(self) -> list[Step]:
        """Kernel calls in order, with Relus fused, then a copy for every output that is only another name."""
        steps: list[Step] = []
        maker: dict[str, int] = {}  # tensor → index of the step that writes it
        uses = self.uses()
        for node in self.net.graph.nodes:
            if node.op in ALIASES:
                continue
            x, y = self.source(node.inputs[0]), node.outputs[0]
            if node.op == "Relu" and x in maker and steps[maker[x]].op in FUSABLE and uses[x] == 1:
                at = maker.pop(x)
                steps[at] = replace(steps[at], nodes=(*steps[at].nodes, node.name), output=y, relu=True)
            else:
                at = len(steps)
                step = self.step(node)
                steps.append(step if step.work else replace(step, work=sum(map(self.elements, step.inputs))))
            maker[y] = at
        for name in self.net.graph.outputs:
            written = self.source(name)
            if written not in maker or written in self.written.values():
                # No graph can hold this name: it is not printable.
                written = f"\0{name}"
                self.specs[written] = self.specs[name]
                kernel = f"unary_f32_copy_{self.isa}"
                count = (self.elements(name),)
                copy = Step(
                    (name,), "copy", kernel, "another name", (self.source(name),), written, count, work=count[0]
                )
                steps.append(copy)
            self.written[name] = written
        return steps

    def uses(self) -> dict[str, int]:
        """How often each tensor's memory is read, by nodes or by the caller."""
        counts: dict[str, int] = dict.fromkeys(self.specs, 0)
        reads = [name for node in self.net.graph.nodes if node.op not in ALIASES for name in node.inputs if name]
        for name in (*reads, *self.net.graph.outputs):
            counts[self.source(name)] += 1
        return counts

    def step(self, node: Node) -> Step:
        weighted = {"Conv": self.conv, "Gemm": self.gemm, "MatMul": self.gemm, "BatchNormalization": self.batch_norm}
        if node.op in weighted:
            if self.source(node.inputs[0]) in self.net.weights or not all(
                i in self.net.weights for i in node.inputs[1:] if i
            ):
                raise UnsupportedShape(
                    f"node {node.name!r} ({node.op}) has inputs {node.inputs}: the first must be computed from the "
                    "network's input, the others must be weights"
                )
            return weighted[node.op](node)
        x, y = self.source(node.inputs[0]), node.outputs[0]
        if node.op in UNARY:
            alpha = shapes.slope(node) if node.op == "LeakyRelu" else 0.0
            kernel = f"{UNARY[node.op]}_{self.isa}"
            return Step((node.name,), node.op, kernel, "elementwise", (x,), y, (self.elements(y),), alpha=alpha)
        if node.op in ("Add", "Mul"):
            return self.binary(node)
        shape = self.shape(node.inputs[0])
        if node.op == "Softmax":
            axis = shapes.softmax_axis(node, shape)
            parts = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
            return Step((node.name,), node.op, f"softmax_f32_{self.isa}", f"axis {axis}", (x,), y, parts)
        pool = shapes.pool_shape(node, shape)
        kernel = "pool_f32_max" if node.op == "MaxPool" else "pool_f32_average"
        return Step((node.name,), node.op, f"{kernel}_{self.isa}", f"{pool.r}x{pool.s} window", (x,), y, pool.values())

    def conv(self, node: Node) -> Step:
        weight = self.net.weights[node.inputs[1]]
        shape = shapes.conv_shape(node, self.shape(node.inputs[0]), weight.shape)
        choice = kernels.choose_conv(shape, self.density(node.inputs[1]), self.isa)
        key = (node.inputs[1], choice.kernel, replace(shape, n=1))
        packed = self.packed(key, lambda: kernels.pack_conv(weight, shape, choice))
        return self.weighted(node, choice, shape, packed)

    def gemm(self, node: Node) -> Step:
        weight = self.net.weights[node.inputs[1]]
        shape = shapes.gemm_shape(node, self.shape(node.inputs[0]), weight.shape)
        transposed = shapes.weight_is_transposed(node)
        choice = kernels.choose_gemm(shape, self.density(node.inputs[1]), self.isa)
        key = (node.inputs[1], transposed, "sell" if choice.sparse else choice.kernel)
        packed = self.packed(key, lambda: kernels.pack_gemm(weight, shape, choice, transposed=transposed))
        return self.weighted(node, choice, shape, packed)

    def weighted(self, node: Node, choice: Choice, shape: ConvShape | GemmShape, packed: native.Packed) -> Step:
        bias = kernels.to_vector(self.net.weights[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else None
        work = int(shape.macs * self.density(node.inputs[1])) if choice.sparse else shape.macs
        x, y, values = self.source(node.inputs[0]), node.outputs[0], shape.values()
        return Step((node.name,), node.op, choice.kernel, choice.why, (x,), y, values, None, packed, bias, work=work)

    def packed(self, key: tuple[object, ...], make: Callable[[], native.Packed]) -> native.Packed:
        if key not in self.prepared.packed:
            self.prepared.packed[key] = make()
        return self.prepared.packed[key]

    def density(self, name: str) -> float:
        if name not in self.prepared.densities:
            self.prepared.densities[name] = kernels.density(self.net.weights[name])
        return self.prepared.densities[name]

    def batch_norm(self, node: Node) -> Step:
        scale, offset, mean, variance = (
            self.net.weights[name].to_dense().astype(np.float64) for name in node.inputs[1:]
        )
        with np.errstate(all="ignore"):
            factor = scale / np.sqrt(variance + shapes.epsilon(node))
        shift = offset - mean * factor
        packed = self.packed(
            (node.outputs[0], "affine"),
            lambda: kernels.pack_affine(factor.astype(np.float32), shift.astype(np.float32)),
        )
        shape = self.shape(node.inputs[0])
        parts = (shape[0], shape[1], math.prod(shape[2:]))
        x, kernel = self.source(node.inputs[0]), f"affine_f32_{self.isa}"
        return Step((node.name,), node.op, kernel, "per channel", (x,), node.outputs[0], parts, weights=packed)

    def binary(self, node: Node) -> Step:
        a, b = node.inputs
        out = self.shape(node.outputs[0]) or (1,)
        strides = (_broadcast_strides(self.shape(a), out), _broadcast_strides(self.shape(b), out))
        kernel = "binary_f32_add" if node.op == "Add" else "binary_f32_multiply"
        why = "same shapes" if self.shape(a) == self.shape(b) else "broadcast"
        inputs, y = (self.source(a), self.source(b)), node.outputs[0]
        return Step((node.name,), node.op, f"{kernel}_{self.isa}", why, inputs, y, out, strides)

    def place(self, builder: native.Builder, steps: list[Step]) -> dict[str, int]:
        """Give every tensor a place; returns the builder's number for each name that a step uses."""
        graph, places = self.net.graph, dict[str, int]()
        for number, spec in enumerate(graph.inputs):
            places[spec.name] = builder.input(self.elements(spec.name), number)
        for name in sorted({name for step in steps for name in step.inputs if name in self.net.weights}):
            places[name] = builder.constant(kernels.to_vector(self.net.weights[name]))
        for number, name in enumerate(graph.outputs):
            places[self.written[name]] = builder.output(self.elements(name), number)
        lifetimes: dict[str, list[int]] = {}
        for i, step in enumerate(steps):
            for name in (*step.inputs, step.output):
                if name not in places:
                    lifetimes.setdefault(name, [i, i])[1] = i
        sizes = {name: self.elements(name) * 4 for name in lifetimes}
        for name, offset in arrange(lifetimes, sizes).items():
            places[name] = builder.arena(self.elements(name), offset)
        return places

    def elements(self, name: str) -> int:
        return math.prod(self.shape(name))


def arrange(lifetimes: Mapping[str, list[int]], sizes: Mapping[str, int]) -> dict[str, int]:
    """Byte offsets such that tensors alive at the same step never overlap.

    lifetimes: first and last step of each. Greedy by size (Pisarchyk and Lee, "Efficient memory management for deep
    neural net inference", 2020): the largest first, each at the lowest offset that is free for its whole life.
    """
    offsets: dict[str, int] = {}
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        first, last = lifetimes[name]
        busy = sorted(
            (offsets[other], offsets[other] + sizes[other])
            for other in offsets
            if lifetimes[other][0] <= last and first <= lifetimes[other][1]
        )
        at = 0
        for begin, end in busy:
            if begin - at >= sizes[name]:
                break
            at = max(at, -(-end // ALIGNMENT) * ALIGNMENT)
        offsets[name] = at
    return offsets


def _broadcast_strides(shape: Shape, out: Shape) -> tuple[int, ...]:
    """Elements between neighbours along each axis of `out`, 0 where `shape` is broadcast."""
    strides = [0] * len(out)
    step = 1
    for axis in range(1, len(shape) + 1):
        strides[-axis] = step if shape[-axis] > 1 else 0
        step *= shape[-axis]
    return tuple(strides)


def _emit(builder: native.Builder, step: Step, places: Mapping[str, int]) -> None:
    x, y = places[step.inputs[0]], places[step.output]
    if step.op in ("Conv", "Gemm", "MatMul"):
        add = builder.conv if step.op == "Conv" else builder.gemm
        add(step.kernel, x, y, step.shape, step.weights, step.bias, step.relu)
    elif step.op in ("MaxPool", "AveragePool", "GlobalAveragePool"):
        builder.pool(step.kernel, x, y, step.shape)
    elif step.op in ("Add", "Mul") and step.strides is not None:
        builder.binary(step.kernel, x, places[step.inputs[1]], y, step.shape, *step.strides, step.relu)
    elif step.op == "BatchNormalization":
        builder.affine(step.kernel, x, y, step.shape, step.weights, step.relu)
    elif step.op == "Softmax":
        builder.softmax(step.kernel, x, y, step.shape)
    else:
        builder.unary(step.kernel, x, y, step.shape[0], step.alpha)
