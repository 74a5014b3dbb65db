"""The header of a .liss file: graph, tensor table and recipe as one short text (docs/format.md, "Header").

The text is one line of canonical JSON, a line feed, and the recipe as it is. The JSON is
``[inputs, nodes, tensors, outputs?, parameters?, dropped?]``: whatever can be derived is left out. It is then coded by
the text coder, primed with prime.HEADER: what headers look like, so that the usual costs next to nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lissome.errors import FormatError, GraphError, WeightError
from lissome.graph.ir import Graph, Node
from lissome.pack.coder import IndexSpec
from lissome.weights.codebook import MAX_ENTRIES
from lissome.weights.coded import check_shape

FORMAT_LETTERS: Final = {"float32": "f", "bfloat16": "b", "float16": "h", "float8_e4m3": "e", "float8_e5m2": "w"}
_FORMATS: Final = {letter: name for name, letter in FORMAT_LETTERS.items()}
_FORM: Final = re.compile(r"(s?)([1-9][0-9]{0,4})?([fbhew])")


@dataclass(frozen=True, slots=True)
class TensorForm:
    """What the header says of one weight: enough to rebuild it from codes, positions and reals.

    entries: of its codebook; None when values are not shared. format: storage format of its reals.
    """

    name: str
    shape: tuple[int, ...]
    sparse: bool
    entries: int | None
    format: str

    @property
    def spec(self) -> IndexSpec:
        return IndexSpec(self.shape, self.sparse, self.entries or 1)

    @property
    def indexed(self) -> bool:
        """Whether an index stream holds anything of this tensor: positions, codes or both."""
        return self.sparse or (self.entries or 1) > 1

    def to_plain(self) -> list[Any]:
        """The extents, then the form: ``s`` when sparse, the entries of a codebook, a letter for the format."""
        return [*self.shape, f"{'s' * self.sparse}{self.entries or ''}{FORMAT_LETTERS[self.format]}"]

    @classmethod
    def from_plain(cls, name: str, plain: Any) -> TensorForm:
        """The inverse of `to_plain` for untrusted data; raises FormatError naming the tensor."""
        if not isinstance(plain, list) or not plain or not all(type(extent) is int for extent in plain[:-1]):
            raise FormatError(f"tensor {name!r}: expected its extents and its form")
        form = _FORM.fullmatch(plain[-1]) if isinstance(plain[-1], str) else None
        if form is None:
            raise FormatError(f"tensor {name!r}: unknown form {str(plain[-1])[:20]!r}")
        entries = int(form[2]) if form[2] else None
        if entries is not None and entries > MAX_ENTRIES:
            raise FormatError(f"tensor {name!r}: a codebook of {entries} entries; at most {MAX_ENTRIES} are allowed")
        try:
            shape = check_shape(tuple(plain[:-1]), f"tensor {name!r}")
        except WeightError as error:
            raise FormatError(str(error)) from None
        return cls(name, shape, bool(form[1]), entries, _FORMATS[form[3]])


def to_text(graph: Graph, forms: Sequence[TensorForm], recipe: str, dropped: int = 0) -> bytes:
    """The header's text, UTF-8; `forms` as in graph.parameters, `dropped` as in Network.

    Raises GraphError for what JSON cannot say.
    """
    plain: list[Any] = [_inputs(graph), _nodes(graph), [form.to_plain() for form in forms]]
    made, parameters = _names(graph)
    if list(graph.parameters) != parameters:
        plain += [list(graph.outputs), list(graph.parameters)]
    elif graph.outputs != (made[-1],):
        plain.append(list(graph.outputs))
    if dropped:
        plain.append(dropped)
    try:
        line = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        return f"{line}\n{recipe}".encode()
    except ValueError as error:
        raise GraphError(f"an attribute, name or recipe that a file cannot hold: {error}") from None


def from_text(text: bytes) -> tuple[Graph, tuple[TensorForm, ...], str, int]:
    """The inverse of `to_text` for untrusted text. Raises FormatError, also for any text but the canonical one."""
    try:
        line, separator, recipe = text.decode().partition("\n")
        plain = json.loads(line)
        dropped = plain.pop() if isinstance(plain, list) and len(plain) > 3 and type(plain[-1]) is int else 0
        if not separator or not isinstance(plain, list) or not 3 <= len(plain) <= 5:
            raise FormatError("expected a list of inputs, nodes, tensors and perhaps outputs and parameters")
        if not 0 <= dropped < 2**48:
            raise FormatError("the number of dropped parameters is not below 2^48")
        graph = _graph(*plain)
        if len(plain[2]) != len(graph.parameters):
            raise FormatError(f"{len(plain[2])} tensors are described, but the graph has {len(graph.parameters)}")
        named = zip(graph.parameters, plain[2], strict=True)
        forms = tuple(TensorForm.from_plain(name, form) for name, form in named)
        again = to_text(graph, forms, recipe, dropped)
    except FormatError as error:
        raise FormatError(f"header: {error}") from None
    except GraphError as error:
        raise FormatError(f"header: the graph contradicts itself: {error}") from None
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"header: not the text of a header ({str(error)[:100]})") from None
    if again != text:
        raise FormatError("header: its text is not in the one canonical form")
    return graph, forms, recipe, dropped


def _inputs(graph: Graph) -> list[Any]:
    return [[spec.name, list(spec.shape)] + ([] if spec.dtype == "float32" else [spec.dtype]) for spec in graph.inputs]


def _names(graph: Graph) -> tuple[list[str], list[str]]:
    """Tensors fed or made, in order; and the other names that nodes read, in the order of first use."""
    made = [spec.name for spec in graph.inputs]
    for node in graph.nodes:
        made.extend(node.outputs)
    known = set(made)
    read = (name for node in graph.nodes for name in node.inputs)
    return made, list(dict.fromkeys(name for name in read if name and name not in known))


def _nodes(graph: Graph) -> list[Any]:
    """``[op, name, inputs, attributes?, outputs?]`` a node.

    An input is a number k: the tensor made k-th last; ``.rest``: the node's name and this; ``[name]``: a name that
    begins with a full stop; or a name. Outputs are left out when they are just the node's name.
    """
    place = {spec.name: i for i, spec in enumerate(graph.inputs)}
    rows = []
    for node in graph.nodes:
        row: list[Any] = [node.op, node.name, [_reference(name, node, place) for name in node.inputs]]
        attributes = {k: list(v) if isinstance(v, tuple) else v for k, v in node.attributes.items()}
        if node.outputs != (node.name,):
            row += [attributes, list(node.outputs)]
        elif attributes:
            row.append(attributes)
        rows.append(row)
        for name in node.outputs:
            place[name] = len(place)
    return rows


def _reference(name: str, node: Node, place: dict[str, int]) -> Any:
    if name in place:
        return len(place) - place[name]
    if name.startswith(f"{node.name}."):
        return name[len(node.name) :]
    return [name] if name.startswith(".") else name


def _graph(inputs: Any, nodes: Any, _tensors: Any, outputs: Any = None, parameters: Any = None) -> Graph:
    """Undo `_inputs` and `_nodes`. The data are untrusted: wrong types end as TypeError, LookupError or GraphError."""
    inputs = [[*spec, "float32"] if len(spec) == 2 else spec for spec in inputs]
    made = [name for name, _shape, _dtype in inputs]
    known, used, rows = set(made), dict[str, None](), list[Any]()
    for row in nodes:
        op, name, tokens = row[:3]
        attributes, writes = row[3:] + [{}, [name]][len(row) - 3 :]
        reads = [_resolve(token, name, made) for token in tokens]
        used.update(dict.fromkeys(token for token in reads if token and token not in known))
        made.extend(writes)
        known.update(writes)
        rows.append([op, name, reads, writes, attributes])
    return Graph.from_plain(
        {
            "inputs": inputs,
            "nodes": rows,
            "outputs": made[-1:] if outputs is None else outputs,
            "parameters": list(used) if parameters is None else parameters,
        }
    )


def _resolve(token: Any, node: str, made: list[str]) -> str:
    if type(token) is int:
        if not 0 < token <= len(made):
            raise FormatError(f"node {node!r} reads the tensor made {token} before it; there are {len(made)}")
        return made[-token]
    if isinstance(token, list):
        (token,) = token
    elif isinstance(token, str) and token.startswith("."):
        return f"{node}{token}"
    if not isinstance(token, str):
        raise FormatError(f"node {node!r} reads {str(token)[:20]!r}, which is no name")
    return token
