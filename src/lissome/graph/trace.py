"""nn.Module → Graph through torch.export: the one place where torch becomes a graph.

torch.export records the operators that the module's forward calls, made functional (functional.py) but not
decomposed; aten/ gives each its ONNX name. Everything that has no counterpart is reported at once.
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
from lissome.graph import functional, local_response_norm
from lissome.graph.aten import OPERATORS, Call, Derived, Onnx, Operand, Output, Tensor, Unsupported
from lissome.graph.ir import Extent, Graph, Node, TensorSpec
from lissome.graph.passes import remove_dead

_WEIGHTS: Final = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
#: operators that read parameters and are not what a layer is named for
UNWEIGHTED: Final = ("DequantizeLinear", "Mul", "QuantizeLinear")
_TORCH: Final = str(Path(torch.__file__).parent)
_FRAME: Final = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+), in .*\n\s*(?P<code>.*)')


@dataclass(frozen=True)
class Traced:
    """A graph, and the float32 tensor of each of its parameters (they share memory with the module).

    sources: for a parameter that is not one of the module's own, the names of those that it was computed from.
    """

    graph: Graph
    values: Mapping[str, torch.Tensor]
    sources: Mapping[str, tuple[str, ...]]


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
    return _Translation(_program(plain, tuple(tensor.contiguous() for tensor in examples), always=False)).result()


def program(model: nn.Module, examples: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """Export with a free batch, made functional: no call writes to a tensor."""
    return _program(model, examples, always=True)


def _program(model: nn.Module, examples: tuple[torch.Tensor, ...], *, always: bool) -> ExportedProgram:
    """Export with a free batch. A batch of two, because torch.export takes extents of 0 and 1 for constants.

    Making it functional takes torch longer than exporting: unless `always`, it is left out where our own rule will do.
    """
    pairs = tuple(torch.cat([tensor[:1], tensor[:1]]) for tensor in examples)
    shapes = tuple({0: Dim.DYNAMIC} for _ in pairs)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own deprecations; they are not about the user's model
            exported = torch.export.export(model, pairs, dynamic_shapes=shapes, strict=False)
            if not always and functional.rewrite_(exported.graph, OPERATORS):
                return exported
            decomposed: ExportedProgram = exported.run_decompositions({})
            return decomposed
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
        self.norms, self.absorbed = local_response_norm.find(program.graph)
        self.tensors: dict[str, Tensor] = {}  # by torch.fx's name
        self.results: dict[str, tuple[Operand, ...]] = {}  # of calls with several results, by torch.fx's name
        self.made: dict[Onnx, tuple[str, ...]] = {}
        self.constants: dict[float, str] = {}
        self.values: dict[str, torch.Tensor] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
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
        # Dead nodes: those that only a folded call read.
        graph = remove_dead(Graph(tuple(self.nodes), tuple(self.inputs), outputs, tuple(self.values)))
        values = {name: self.values[name] for name in graph.parameters}
        for name, value in values.items():
            if value.dtype != torch.float32:
                raise TraceError(f"{name} is {value.dtype}; a graph computes in float32: call model.float() first")
        return Traced(graph, values, self.sources)

    def _placeholders(self, examples: Mapping[str, Any]) -> None:
        for spec in self.program.graph_signature.input_specs:
            name, target = str(spec.arg.name), spec.target or ""
            if spec.kind in _WEIGHTS:
                held: Any = self.program.state_dict.get(target)
                value: torch.Tensor = self.program.constants[target] if held is None else held
                self.tensors[name] = self._weight(target, value)
            elif isinstance(examples[name], torch.Tensor):
                self.batch = self.batch or str(examples[name].shape[0])
                self.tensors[name] = Tensor(name, self._shape(examples[name]))
                self.inputs.append(TensorSpec(name, self.tensors[name].shape))
                self.taken.add(name)

    def _shape(self, value: torch.Tensor) -> tuple[Extent, ...]:
        """Extents as ints, the batch as "N", and whatever else depends on the batch as torch prints it."""
        texts = {str(extent): extent for extent in value.shape if isinstance(extent, int)}
        return tuple(texts.get(text, "N" if text == self.batch else text) for text in map(str, value.shape))

    def _weight(self, name: str, value: torch.Tensor) -> Tensor:
        """A new weight of the graph, under this name or one like it."""
        name = self._fresh(name)
        self.values[name] = value.detach()
        indices = value.dtype in (torch.int32, torch.int64) and not value.is_meta
        integers = tuple(value.flatten().tolist()) if indices else None
        return Tensor(name, tuple(value.shape), parameter=True, integers=integers)

    def _call(self, node: torch.fx.Node) -> None:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt | int) or node in self.absorbed:
            return  # arithmetic on the batch size, which shapes already say; or part of an operator that comes later
        read = [self.tensors.get(each.name) for each in node.all_input_nodes]
        if isinstance(value, torch.Tensor) and any(x and x.name and not x.parameter and not _batched(x) for x in read):
            self.tensors[node.name] = Tensor(node.name, self._shape(value))  # what it reads has been complained of
            return
        first = node.args[0] if node.args else None
        try:
            if node.target is operator.getitem and isinstance(first, torch.fx.Node):
                if first.name in self.results:  # else its operator has been complained of
                    result = self.results[first.name][int(node.args[1])]  # type: ignore[arg-type]
                    self.tensors[node.name] = self._tensor(result, self._shape(value), node)  # type: ignore[arg-type]
                return
            self._convert(node, value)
        except Unsupported as reason:
            self.complaints.append(f"{node.target}, {_where(node)}: {reason}")
            if isinstance(value, torch.Tensor):  # so that what follows is judged on its own
                self.tensors[node.name] = Tensor(node.name, self._shape(value))

    def _convert(self, node: torch.fx.Node, value: Any) -> None:
        """Enter the result of a call: folded when it is constant, else as nodes of the graph."""
        arguments = self._arguments(node)
        constant = self._constant(node)
        if constant is not None:
            self.tensors[node.name] = self._weight(node.name, constant)
            return
        shapes = tuple(self._shape(each) for each in ([value] if isinstance(value, torch.Tensor) else value))
        converted = self._norm(node) or OPERATORS[str(node.target)](Call(arguments, shapes))
        if isinstance(converted, tuple):
            self.results[node.name] = converted
        elif isinstance(converted, Tensor):
            self.tensors[node.name] = converted
        else:
            self.tensors[node.name] = self._tensor(converted, shapes[0], node)

    def _arguments(self, node: torch.fx.Node) -> dict[str, Any]:
        """The arguments of a call by the names of its schema, with our tensors for torch's."""
        if str(node.target) not in OPERATORS and not self._is_constant(node):
            raise Unsupported("no such operator in a graph")
        schema = node.target._schema.arguments  # type: ignore[union-attr]
        arguments = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
        arguments.update(zip((argument.name for argument in schema), node.args, strict=False))
        arguments.update(node.kwargs)
        return {
            name: [self._resolved(each) for each in value] if isinstance(value, list | tuple) else self._resolved(value)
            for name, value in arguments.items()
        }

    def _resolved(self, value: Any) -> Any:
        return self.tensors.get(value.name) if isinstance(value, torch.fx.Node) else value

    def _is_constant(self, node: torch.fx.Node) -> bool:
        """Whether a call reads weights only, nothing that depends on the input or the batch."""
        read = [self.tensors.get(each.name) for each in node.all_input_nodes]
        return isinstance(node.meta.get("val"), torch.Tensor) and all(x is not None and x.parameter for x in read)

    def _constant(self, node: torch.fx.Node) -> torch.Tensor | None:
        """The value of a call that reads weights only."""
        if not self._is_constant(node):
            return None

        def value(each: torch.fx.Node) -> torch.Tensor:
            return self.values[self.tensors[each.name].name]

        arguments = torch.fx.map_arg(node.args, value)
        options = torch.fx.map_arg(node.kwargs, value)
        with torch.no_grad():
            result: torch.Tensor = node.target(*arguments, **options)  # type: ignore[operator]
        return result

    def _norm(self, node: torch.fx.Node) -> Onnx | None:
        """LRN, where the call is the division that ends one."""
        norm = self.norms.get(node)
        if norm is None:
            return None
        attributes = {"size": norm.size, "alpha": norm.alpha, "beta": norm.beta, "bias": norm.bias}
        return Onnx("LRN", (self.tensors[norm.x.name].name,), attributes)

    def _tensor(self, result: Operand, shape: tuple[Extent, ...], node: torch.fx.Node) -> Tensor:
        """The tensor that an expression gives."""
        tensor = Tensor(self._enter(result, node), shape)
        if not _batched(tensor):
            raise Unsupported(f"its result has shape {shape}; the batch must stay one axis, and that axis only")
        return tensor

    def _enter(self, operand: Operand, node: torch.fx.Node, *, inner: bool = False) -> str:
        """The name of an operand, the nodes of an expression entered into the graph on the way."""
        if isinstance(operand, str):
            return operand
        if isinstance(operand, float):
            if operand not in self.constants:
                self.constants[operand] = self._weight("constant", torch.tensor([operand])).name
                self.sources[self.constants[operand]] = ()
            return self.constants[operand]
        if isinstance(operand, Derived):
            arrays = [self.values[name].cpu().numpy() for name in operand.weights]
            name = self._weight(operand.name, torch.from_numpy(operand.compute(*arrays).copy())).name
            self.sources[name] = operand.weights
            return name
        made, index = (operand.node, operand.index) if isinstance(operand, Output) else (operand, 0)
        if made not in self.made:
            before = len(self.nodes)
            inputs = tuple(self._enter(each, node, inner=True) for each in made.inputs)
            # Of the nodes that a layer becomes, the one with its weights has its name.
            weighted = any(name in self.values for name in inputs) and made.op not in UNWEIGHTED
            alone = not inner and len(self.nodes) == before
            name = self._fresh((_leaf(node) if weighted or alone else "") or made.op.lower())
            outputs = (name, *(self._fresh(f"{name}.{i}") for i in range(1, made.outputs)))
            self.nodes.append(Node(made.op, name, inputs, outputs, made.attributes))
            self.made[made] = outputs
        return self.made[made][index]

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
            if self.tensors[name].shape[:1] != ("N",):
                raise TraceError(f"forward returns a tensor of shape {self.tensors[name].shape}; the batch comes first")
        made = {name for node in self.nodes for name in node.outputs}
        if len(names) == 1 and names[0] in made:
            new = "output" if "y" in self.taken else "y"
            self.nodes = [_renamed(node, names[0], new) for node in self.nodes]
            return (new,)
        return tuple(names)


def _batched(x: Tensor) -> bool:
    """Whether the batch is one axis of x, and no other extent depends on it."""
    return x.shape.count("N") == 1 and all(isinstance(extent, int) for extent in x.shape if extent != "N")


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
