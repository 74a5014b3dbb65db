"""profile: parameters, multiply-adds and memory of a network, layer by layer, and what its lightweight layers save."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lissome.errors import LissomeError, MissingExtra
from lissome.graph import shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.costs import FLOAT_BYTES, Cost, costs
from lissome.graph.ir import Graph
from lissome.graph.savings import FORMULAS, Saving, savings
from lissome.network import Network

if TYPE_CHECKING:
    from torch import nn

_MB = 1e6


@dataclass(frozen=True)
class Layer:
    """One node of the graph: its name, its operator, the shape of its first result, and what it costs."""

    name: str
    op: str
    shape: Shape
    cost: Cost


@dataclass(frozen=True)
class Profile:
    """What a network costs for one input. Numbers are counted as graph/costs.py says; `str` is the table."""

    name: str
    inputs: Mapping[str, Shape]
    layers: tuple[Layer, ...]
    savings: tuple[Saving, ...]

    @property
    def parameters(self) -> int:
        """Learned numbers: weights, biases, scales and offsets of norms; no running statistics."""
        return sum(layer.cost.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions, matrix products and gates."""
        return sum(layer.cost.macs for layer in self.layers)

    @property
    def activations(self) -> int:
        """Elements that all layers make."""
        return sum(layer.cost.activations for layer in self.layers)

    @property
    def bytes(self) -> int:
        """What all layers move, each reading its inputs and weights and writing its results once, as float32."""
        return sum(layer.cost.bytes for layer in self.layers)

    @property
    def intensity(self) -> float:
        """Floating-point operations (two a multiply-add) a byte moved."""
        return 2 * self.macs / self.bytes

    def saved(self) -> dict[str, tuple[int, int, int, int, int]]:
        """By kind of lightweight convolution: how many, their MACs and weights, and the standard ones'."""
        found: dict[str, tuple[int, int, int, int, int]] = {}
        for one in self.savings:
            numbers = (1, one.macs, one.weights, one.standard_macs, one.standard_weights)
            found[one.kind] = tuple(map(sum, zip(found.get(one.kind, (0,) * 5), numbers, strict=True)))  # type: ignore[assignment]
        return found

    def to_plain(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            "name": self.name,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "parameters": self.parameters,
            "parameter_bytes": FLOAT_BYTES * self.parameters,
            "macs": self.macs,
            "activations": self.activations,
            "activation_bytes": FLOAT_BYTES * self.activations,
            "bytes": self.bytes,
            "flops_per_byte": self.intensity,
            "layers": [
                {
                    "name": layer.name,
                    "op": layer.op,
                    "shape": list(layer.shape),
                    **asdict(layer.cost),
                    "bytes": layer.cost.bytes,
                    "flops_per_byte": layer.cost.intensity,
                }
                for layer in self.layers
            ],
            "savings": [{**asdict(one), "ratio": one.ratio} for one in self.savings],
        }

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(self.to_plain(), indent=2)

    def __str__(self) -> str:
        header = ("layer", "operator", "result", "parameters", "MB", "MACs", "activations", "MB", "FLOP/byte")
        rows = [(layer.name, layer.op, _text(layer.shape), *_numbers(layer.cost)) for layer in self.layers]
        total = Cost(self.macs, self.parameters, 0, 0, self.activations)
        totals = ("total", f"{len(self.layers)} nodes", "", *_numbers(total)[:-1], f"{self.intensity:.1f}")
        inputs = ", ".join(f"{name} {_text(shape)}" for name, shape in self.inputs.items())
        lines = [f"{self.name}, {inputs}", *_aligned([header, *rows, totals], left=3), *self._savings_lines()]
        return "\n".join(lines)

    def _savings_lines(self) -> list[str]:
        if not self.savings:
            return []
        header = ("lightweight convolution", "MACs", "standard", "ratio", "weights", "standard", "ratio")
        rows = [
            (_kind(one.kind, one.nodes), *_compared(one.macs, one.weights, one.standard_macs, one.standard_weights))
            for one in self.savings
        ]
        rows += [(f"all {count} {kind}", *_compared(*numbers)) for kind, (count, *numbers) in self.saved().items()]
        formulas = [f"{kind}: {FORMULAS[kind]} multiply-adds" for kind in self.saved()]
        return ["", *_aligned([header, *rows], left=1), *formulas]


def profile(
    net: Network | nn.Module | str | os.PathLike[str], *, shape: Sequence[int] | None = None, batch: int = 1
) -> Profile:
    """What a network costs, layer by layer.

    net: a Network; a torch module; a name from `lissome list models`; the path of a .liss or .onnx file; or
    "module:function" or "file.py:function", a function without arguments that makes a torch module. Running statistics
    are not counted as parameters, and of a name only shapes are made, so that the largest network takes seconds.
    shape: of one input without its batch, for a module that has no attribute `input_shape`.
    batch: inputs at a time; all numbers but the parameters grow with it.
    Raises what loading or tracing raises; LissomeError where a module's input shape is not known.
    """
    if isinstance(net, Network):
        return _profiled("network", net.graph, {name: tuple(w.shape) for name, w in net.weights.items()}, batch)
    if isinstance(net, str | os.PathLike):
        name = os.fspath(net)
        if name.endswith((".liss", ".onnx")):
            loaded = read(name)
            return _profiled(name, loaded.graph, {n: tuple(w.shape) for n, w in loaded.weights.items()}, batch)
        return _profiled(name, *named(name, shape), batch)
    return _profiled(type(net).__name__, *_traced(net, shape), batch)


def read(path: str) -> Network:
    """The network of a .liss or .onnx file."""
    if path.endswith(".onnx"):
        from lissome.interchange.onnx import from_onnx

        return from_onnx(path)
    from lissome.pack.container import load

    return load(path)


def named(name: str, shape: Sequence[int] | None = None) -> tuple[Graph, Mapping[str, Shape]]:
    """Graph and shapes of weights of a network by name, or of a user's function; see `profile`."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtra.of("torch", extra="train", needed_by=f"ls.profile({name!r})") from error
    from lissome import models
    from lissome.models.user import resolve

    if name not in models.names():
        return _traced(resolve(name), shape)
    with torch.device("meta"):
        return _traced(models.build(name), shape)


def _traced(model: nn.Module, shape: Sequence[int] | None) -> tuple[Graph, Mapping[str, Shape]]:
    import copy

    import torch

    from lissome.graph.trace import export

    wanted = shape if shape is not None else getattr(model, "input_shape", None)
    if wanted is None:
        raise LissomeError(f"{type(model).__name__} has no input_shape; give the shape of one input, without the batch")
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    traced = export(copy.deepcopy(model), torch.zeros(1, *wanted, device=device))
    return traced.graph, {name: tuple(value.shape) for name, value in traced.values.items()}


def _profiled(name: str, graph: Graph, weights: Mapping[str, Shape], batch: int) -> Profile:
    known = shapes.infer(graph, weights, batch)
    extents = {tensor: tuple(int(extent) for extent in spec.shape) for tensor, spec in known.items()}
    found = costs(graph, weights, batch)
    return Profile(
        name=name,
        inputs={spec.name: extents[spec.name] for spec in graph.inputs},
        layers=tuple(Layer(n.name, n.op, extents[n.outputs[0]], found[n.name]) for n in graph.nodes),
        savings=savings(graph, weights, batch),
    )


def _numbers(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.parameters:,}",
        f"{FLOAT_BYTES * cost.parameters / _MB:.3f}",
        f"{cost.macs:,}",
        f"{cost.activations:,}",
        f"{FLOAT_BYTES * cost.activations / _MB:.3f}",
        f"{cost.intensity:.1f}",
    )


def _compared(macs: int, weights: int, standard_macs: int, standard_weights: int) -> tuple[str, ...]:
    return (
        f"{macs:,}",
        f"{standard_macs:,}",
        f"{standard_macs / macs:.2f}×",
        f"{weights:,}",
        f"{standard_weights:,}",
        f"{standard_weights / weights:.2f}×",
    )


def _kind(kind: str, nodes: tuple[str, ...]) -> str:
    return f"{kind}: {' + '.join(nodes)}"


def _text(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows as lines of aligned columns, the first `left` of them flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
