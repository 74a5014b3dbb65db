"""nn.Module → Graph through torch.export: the one place where torch becomes a graph.

torch.export records the operators that the module's forward calls, made functional (in-place writes are gone) but not
decomposed; aten.py gives each its ONNX name. Everything that has no counterpart is reported at once.
"""

from __future__ import annotations

import copy
import itertools
import operator
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from lissome.errors import TraceError
from lissome.graph.aten import OPERATORS, Call, Onnx, Tensor, Unsupported
from lissome.graph.ir import Extent, Graph, Node, TensorSpec

_WEIGHTS: Final = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
_TORCH: Final = str(Path(torch.__file__).parent)
_FRAME: Final = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+), in .*\n\s*(?P<code>.*)')


@dataclass(frozen=True)
class Traced:
    """A graph, and the float32 tensor of each of its parameters (they share memory with the module)."""

    graph: Graph
    values: Mapping[str, torch.Tensor]


def trace(model: nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...]) -> Graph:
    """The graph of `model` in evaluation mode; the model itself is left as it is.

    example: the input, or a tuple of the inputs, float32 with the batch first; only shapes matter, and any batch size
    does: the graph has none. Parameters are named as in `model.state_dict()`, inputs as `forward` names them.
    Raises TraceError naming every operator that cannot be expressed, each with its layer and source line.
    """
    return export(copy.deepcopy(model), example).graph


def export(model: nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...]) -> Traced:
    """As `trace`, with the parameters' values. Switches `model` to evaluation mode: hand in a copy."""
    examples = example if isinstance(example, tuple) else (example,)
    for position, tensor in enumerate(examples):
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32 or not tensor.ndim or not len(tensor):
            what = (
                f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            )
            raise TraceError(f"example input {position} is {what}; a float32 tensor with the batch first is needed")
    # A module in channels_last would be exported with copies and views that say nothing about what it computes.
    plain = model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return _Translation(_program(plain, tuple(tensor.contiguous() for tensor in examples))).result()


def _program(model: nn.Module, examples: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """Export with a free batch. A batch of two, because torch.export takes extents of 0 and 1 for constants."""
    pairs = tuple(torch.cat([tensor[:1], tensor[:1]]) for tensor in examples)
    shapes = tuple({0: Dim.DYNAMIC} for _ in pairs)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own deprecations; they are not about the user's model
            exported = torch.export.export(model, pairs, dynamic_shapes=shapes, strict=False)
            functional: ExportedProgram = exported.run_decompositions({})
            return functional
    except Exception as error:  # whatever the module's forward or torch.export raises
        shape = " and ".join(str(("N", *tensor.shape[1:])).replace("'", "") for tensor in examples)
        reason = str(error).strip().partition("\n\n")[0]
        if "specialized it to be a constant" in reason:
            reason = "its forward fixes the batch size; use x.flatten(1) or x.view(x.size(0), -1)"
        if "aten.item" in reason or "data-dependent" in reason:  # which of torch's errors it is varies
            reason = "its forward is data-dependent: it reads a tensor's value to branch or to count; use tensors only"
        raise TraceError(f"{type(model).__name__} cannot be traced with an input of shape {shape}: {reason}") from error


class _Translation:
    """Walks an exported program once and collects nodes, parameters and complaints."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.tensors: dict[str, Tensor] = {}  # by torch.fx's name
        self.values: dict[str, torch.Tensor] = {}
        self.inputs: list[TensorSpec] = []
        self.nodes: list[Node] = []
        self.taken: set[str] = set()
        self.complaints: list[str] = []
        self.batch = ""

    def result(self) -> Traced:
        nodes = self.program.graph.nodes
        self._placeholders({node.name: node.meta.get("val") for node in nodes if node.op == "placeholder"})
        for node in nodes:
            if node.op == "call_function":
                self._call(node)
        if self.complaints:
            listing = "\n".join(f"  {line}" for line in self.complaints)
            raise TraceError(f"{len(self.complaints)} operator(s) cannot be expressed in a graph:\n{listing}")
        outputs = self._outputs()
        used = {name for node in self.nodes for name in node.inputs}
        values = {name: value for name, value in self.values.items() if name in used}
        for name, value in values.items():
            if value.dtype != torch.float32:
                raise TraceError(f"{name} is {value.dtype}; a graph computes in float32: call model.float() first")
        return Traced(Graph(tuple(self.nodes), tuple(self.inputs), outputs, tuple(values)), values)

    def _placeholders(self, examples: Mapping[str, Any]) -> None:
        for spec in self.program.graph_signature.input_specs:
            name, target = str(spec.arg.name), spec.target or ""
            if spec.kind in _WEIGHTS:
                held: Any = self.program.state_dict.get(target)
                value: torch.Tensor = self.program.constants[target] if held is None else held
                self.values[target] = value.detach()
                self.tensors[name] = Tensor(target, tuple(value.shape), parameter=True)
                self.taken.add(target)
            elif isinstance(examples[name], torch.Tensor):
                self.batch = self.batch or str(examples[name].shape[0])
                self.tensors[name] = Tensor(name, self._shape(examples[name]))
                self.inputs.append(TensorSpec(name, self.tensors[name].shape))
                self.taken.add(name)

    def _shape(self, value: torch.Tensor) -> tuple[Extent, ...]:
        """Extents as ints, the batch as "N", and whatever else depends on the batch as torch prints it."""
        texts = {str(extent): extent for extent in value.shape if isinstance(extent, int)}
        return tuple(texts.get(text, "N" if text == self.batch else text) for text in map(str, value.shape))

    def _call(self, node: torch.fx.Node) -> None:
        if isinstance(node.meta.get("val"), torch.SymInt | int):
            return  # arithmetic on the batch size: the shapes of tensors already say what it comes to
        if node.target is operator.getitem and isinstance(node.args[0], torch.fx.Node) and node.args[1] == 0:
            self.tensors[node.name] = self.tensors[node.args[0].name]  # first of several results, as of batch norm
            return
        value = node.meta["val"]
        shape = self._shape(value if isinstance(value, torch.Tensor) else value[0])
        try:
            converted = self._convert(node, shape)
        except Unsupported as reason:
            self.complaints.append(f"{node.target}, {_where(node)}: {reason}")
            self.tensors[node.name] = Tensor(node.name, shape)  # so that what follows is judged on its own
            return
        if isinstance(converted, Tensor):
            self.tensors[node.name] = converted
            return
        name = self._fresh(_leaf(node) or converted.op.lower())
        self.nodes.append(Node(converted.op, name, converted.inputs, (name,), converted.attributes))
        self.tensors[node.name] = Tensor(name, shape)

    def _convert(self, node: torch.fx.Node, shape: tuple[Extent, ...]) -> Onnx | Tensor:
        if str(node.target) not in OPERATORS:
            raise Unsupported("no such operator in a graph")
        schema = node.target._schema.arguments  # type: ignore[union-attr]
        arguments = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
        arguments.update(zip((argument.name for argument in schema), node.args, strict=False))
        arguments.update(node.kwargs)
        resolved = {
            name: self.tensors.get(value.name) if isinstance(value, torch.fx.Node) else value
            for name, value in arguments.items()
        }
        converted = OPERATORS[str(node.target)](Call(resolved, shape))
        if shape[:1] != ("N",) or not all(isinstance(extent, int) for extent in shape[1:]):
            raise Unsupported(f"its result has shape {shape}; the batch must stay the first axis and only there")
        return converted

    def _fresh(self, name: str) -> str:
        """`name`, or `name`_2, _3, … when it is taken (a layer called twice)."""
        candidates = (name if i == 1 else f"{name}_{i}" for i in itertools.count(1))
        name = next(candidate for candidate in candidates if candidate not in self.taken)
        self.taken.add(name)
        return name

    def _outputs(self) -> tuple[str, ...]:
        """Names of the results. A lone one is called "y" ("output" when "y" is taken), as a caller would guess."""
        names = []
        for spec in self.program.graph_signature.output_specs:
            name = getattr(spec.arg, "name", None)
            if spec.kind is not OutputKind.USER_OUTPUT or name not in self.tensors or self.tensors[name].parameter:
                raise TraceError(
                    f"forward returns or changes something that is no tensor computed from its input: {spec}"
                )
            names.append(self.tensors[name].name)
        made = {node.name for node in self.nodes}
        if len(names) == 1 and names[0] in made:
            new = "output" if "y" in self.taken else "y"
            self.nodes = [_renamed(node, names[0], new) for node in self.nodes]
            return (new,)
        return tuple(names)


def _renamed(node: Node, old: str, new: str) -> Node:
    def swap(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new if name == old else name for name in names)

    return Node(node.op, node.name, swap(node.inputs), swap(node.outputs), node.attributes)


def _stack(node: torch.fx.Node) -> tuple[str, str]:
    """Path and class of the innermost module whose forward made this call."""
    stack: Mapping[str, tuple[str, str]] = node.meta.get("nn_module_stack") or {"": ("", "the module")}
    path, kind = list(stack.values())[-1]
    return path, str(kind)


def _leaf(node: torch.fx.Node) -> str:
    """Path of the torch.nn layer that made this call; empty for a functional call in the user's forward."""
    path, kind = _stack(node)
    return path if kind.startswith("torch.nn.modules.") else ""


def _where(node: torch.fx.Node) -> str:
    """The layer, and the innermost source line outside torch.nn that led to this call."""
    path, kind = _stack(node)
    frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
    mine = [frame for frame in frames if _TORCH not in frame["file"]] or frames
    line = f", {Path(mine[-1]['file']).name}:{mine[-1]['line']}: {mine[-1]['code'].strip()}" if mine else ""
    return f"layer {path!r}{line}" if path else f"{kind.rpartition('.')[2]}.forward{line}"
