"""ONNX files: from untrusted bytes to a parsed model and NumPy arrays.

External data is read only from regular files inside the model's own folder, and only where the tensor's shape, the
claimed place and the file's real size agree: nothing is allocated by a header's claim.
"""

from __future__ import annotations

import contextlib
import io
import math
import operator
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from lissome.errors import FormatError, GraphError
from lissome.interchange.onnx.stripped import Region, strip

OLDEST, NEWEST = 11, 28  # operator sets that are read
MAX_BYTES: Final = 2**31 - 1  # of a protobuf message
_ITEMSIZE: Final[Mapping[int, int]] = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT16: 2,
    TensorProto.UINT16: 2,
    TensorProto.INT32: 4,
    TensorProto.UINT32: 4,
    TensorProto.INT64: 8,
    TensorProto.UINT64: 8,
    TensorProto.BOOL: 1,
}
REALS: Final = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Model:
    """A model whose larger initialisers' numbers are still in its file. folder: where its external data may lie."""

    proto: ModelProto
    folder: Path | None
    file: BinaryIO
    regions: Mapping[int, Region]

    def initialisers(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Name and values of each, read as it is asked for."""
        for number, tensor in enumerate(self.proto.graph.initializer):
            region = self.regions.get(number)
            yield tensor.name, array(tensor, self.folder, None if region is None else (self.file, region))


@contextlib.contextmanager
def read(source: str | os.PathLike[str] | bytes) -> Iterator[Model]:
    """The model of a file or of bytes; what is left in the file can be read while the context lasts.

    Raises FormatError for what is no ONNX model, OSError for a file that cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield _parse("<bytes>", None, io.BytesIO(source), len(source))
        return
    path, name = Path(source), os.fspath(source)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise FormatError(f"{name}: a device or a pipe, not a regular file")
    if status.st_size > MAX_BYTES:
        raise FormatError(
            f"{name}: {status.st_size:,} bytes; a model of more than 2 GiB has its data in files beside it"
        )
    with path.open("rb") as file:
        yield _parse(name, path.resolve().parent, file, status.st_size)


def _parse(name: str, folder: Path | None, file: BinaryIO, size: int) -> Model:
    stripped = strip(file, size)
    data, regions = stripped or (b"", {})
    if stripped is None:
        file.seek(0)
        data = file.read(size)
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise FormatError(f"{name}: not an ONNX model, or cut off, or nested too deeply ({error})") from None
    if not model.HasField("graph") or not model.opset_import:
        raise FormatError(f"{name}: an ONNX model has a graph and says which operator set it uses; this has not")
    for text in _texts(model.graph):
        if not isinstance(text, str):  # protobuf gives bytes that are no UTF-8 as they are
            raise FormatError(f"{name}: a name in it is no UTF-8 text: {bytes(text[:40])!r}")
    return Model(model, folder, file, regions)


def _texts(graph: GraphProto) -> Iterator[Any]:
    """All names and words of a graph, those of its subgraphs included."""
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (extent.dim_param for extent in value.type.tensor_type.shape.dim)
    yield from map(operator.attrgetter("name"), graph.initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            if attribute.type == AttributeProto.GRAPH:
                yield from _texts(attribute.g)


def opset(model: ModelProto) -> int:
    """The version of ONNX's own operator set that the model uses. Raises FormatError where it is not read."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not OLDEST <= versions[0] <= NEWEST:
        raise FormatError(
            f"the model uses operator sets {versions}; {OLDEST} to {NEWEST} are read "
            "(onnx.version_converter.convert_version changes the version)"
        )
    return int(versions[0])


def array(tensor: TensorProto, folder: Path | None, region: tuple[BinaryIO, Region] | None = None) -> NDArray[Any]:
    """The values of a tensor. region: where its raw data are, when they are not in it.

    Raises FormatError for an unknown data type, or data that do not fit its shape.
    """
    what, shape = f"tensor {tensor.name!r}", tuple(tensor.dims)
    if tensor.data_type not in _ITEMSIZE:
        kind = next((name for name, value in TensorProto.DataType.items() if value == tensor.data_type), "unknown")
        raise FormatError(f"{what} has data type {tensor.data_type} ({kind}), which is not read")
    if len(shape) > 8 or any(extent < 0 for extent in shape):
        raise FormatError(f"{what} has shape {shape}; extents are not negative, and there are at most 8")
    wanted = math.prod(shape) * _ITEMSIZE[tensor.data_type]
    if tensor.data_location == TensorProto.EXTERNAL:
        with _external(tensor, folder, wanted) as (file, start):
            return _numbers(tensor, file, start)
    length = region[1].length if region else len(tensor.raw_data) if tensor.HasField("raw_data") else wanted
    if length != wanted:
        raise FormatError(f"{what} has {length:,} bytes of data, where shape {shape} needs {wanted:,}")
    if region:
        return _numbers(tensor, region[0], region[1].start)
    try:
        return np.asarray(numpy_helper.to_array(tensor)).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{what} of shape {shape} has other data than its type and shape say: {error}") from None


def _numbers(tensor: TensorProto, file: BinaryIO, start: int) -> NDArray[Any]:
    """As many values as the tensor's shape says, from `start` on in a file that has been found to have them."""
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    stored = dtype.newbyteorder("<")
    values = np.empty(tuple(tensor.dims), dtype if stored == dtype else stored)
    file.seek(start)
    if file.readinto(values.reshape(-1).view(np.uint8)) != values.nbytes:  # type: ignore[attr-defined]
        raise FormatError(f"tensor {tensor.name!r}: the file of its data became shorter while it was read")
    return values.astype(dtype, copy=False)


@contextlib.contextmanager
def _external(tensor: TensorProto, folder: Path | None, wanted: int) -> Iterator[tuple[BinaryIO, int]]:
    """The file of a tensor's data, and where in it they begin."""
    what = f"tensor {tensor.name!r}"
    entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise FormatError(f"{what} has its data in a file {location[:80]!r}; give the model's path, not its bytes")
    parts = Path(location).parts
    if not location or Path(location).is_absolute() or ".." in parts or "\0" in location or "\\" in location:
        raise FormatError(f"{what} has its data at {location[:80]!r}, which is not inside the model's folder")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise FormatError(f"{what} has its data at {location[:80]!r}, which is a symbolic link; copy the file")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", wanted))
    except ValueError:
        raise FormatError(f"{what}: the place of its data is not written in numbers") from None
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or length != wanted or not 0 <= offset <= status.st_size - wanted:
                raise FormatError(
                    f"{what} needs {wanted:,} bytes; its data are said to be {length:,} bytes from {offset:,} on of "
                    f"{location[:80]!r}, which has {status.st_size:,}"
                )
            yield file, offset
    except OSError as error:
        raise FormatError(f"{what} has its data in {location[:80]!r}: {error.strerror or error}") from None


def attributes(node: NodeProto, folder: Path | None) -> dict[str, Any]:
    """A node's attributes as ints, floats, strings, tuples of them, arrays, or graphs."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        where = f"node {node.name!r} ({node.op_type}): attribute {attribute.name!r}"
        if attribute.name in found:
            raise GraphError(f"{where} is given twice")
        match attribute.type:
            case AttributeProto.INT:
                found[attribute.name] = int(attribute.i)
            case AttributeProto.FLOAT:
                found[attribute.name] = float(attribute.f)
            case AttributeProto.STRING:
                found[attribute.name] = attribute.s.decode("utf-8", "replace")
            case AttributeProto.INTS:
                found[attribute.name] = tuple(int(value) for value in attribute.ints)
            case AttributeProto.FLOATS:
                found[attribute.name] = tuple(float(value) for value in attribute.floats)
            case AttributeProto.STRINGS:
                found[attribute.name] = tuple(value.decode("utf-8", "replace") for value in attribute.strings)
            case AttributeProto.TENSOR:
                found[attribute.name] = array(attribute.t, folder)
            case AttributeProto.GRAPH:
                found[attribute.name] = attribute.g
            case _:
                raise GraphError(f"{where} has a type that is not read")
    return found


def in_order(nodes: Any, known: set[str]) -> list[NodeProto]:
    """The nodes so that each follows those that make its inputs; `known`: tensors that are there before.

    Raises GraphError for a tensor that is made twice, never made, or made of itself.
    """
    nodes = list(nodes)
    maker: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in maker or name in known:
                raise GraphError(f"tensor {name!r} is defined twice, the second time by node {label(node)!r}")
            maker[name] = i
    reads = [set(_reads(node)) for node in nodes]
    for node, names in zip(nodes, reads, strict=True):
        for name in sorted(names):
            if name not in maker and name not in known:
                raise GraphError(
                    f"node {label(node)!r} ({node.op_type}) reads {name!r}, which is no input, has no initialiser and "
                    "is made by no node"
                )
    waiting = [sum(name in maker for name in names) for names in reads]
    readers: dict[str, list[int]] = {}
    for i, names in enumerate(reads):
        for name in names & maker.keys():
            readers.setdefault(name, []).append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    order: list[int] = []
    while ready:
        i = ready.pop()
        order.append(i)
        for name in filter(None, nodes[i].output):
            for reader in readers.get(name, ()):
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
    if len(order) < len(nodes):
        stuck = sorted(label(nodes[i]) for i in set(range(len(nodes))) - set(order))
        raise GraphError(f"the graph is cyclic: nodes {', '.join(map(repr, stuck[:8]))} need each other's results")
    return [nodes[i] for i in sorted(order)] if _sorted(reads, maker) else [nodes[i] for i in order]


def label(node: NodeProto) -> str:
    """What to call a node: its name, or else its first output's."""
    return node.name or next(filter(None, node.output), node.op_type)


def _sorted(reads: list[set[str]], maker: Mapping[str, int]) -> bool:
    """Whether every node already follows those that it needs."""
    return all(maker.get(name, -1) < i for i, names in enumerate(reads) for name in names)


def _reads(node: NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its subgraphs take from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _outer(attribute.g)


def _outer(graph: GraphProto) -> set[str]:
    inside = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    inside |= {name for node in graph.node for name in node.output}
    return {name for node in graph.node for name in _reads(node)} - inside
