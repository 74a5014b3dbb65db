"""Save a network to a .liss file, and load it again (docs/format.md).

Loading trusts nothing: the framing and every checksum are verified first, then the header, then what its tensors would
need against what a file of this size may ask for and what the caller allows; only then is anything decoded.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lissome.errors import FormatError, LimitError, LissomeError, WeightError
from lissome.files import give_back, write_atomic
from lissome.graph.ir import Graph
from lissome.network import Network
from lissome.pack import choose, framing, header, prime, reals, text
from lissome.pack.coder import Coder, Indices
from lissome.pack.header import TensorForm
from lissome.pack.reals import RealsSpec
from lissome.pack.split import Parts, canonical, groups_of, put_together, take_apart
from lissome.weights.formats import ITEMSIZE

# What a file may ask for, by its real size (normative: a writer keeps within them too).
HEADER_FLOOR, HEADER_RATIO, HEADER_LIMIT = 1 << 14, 256, 1 << 24  # bytes of header text, by bytes of its stream
ELEMENTS_FLOOR, ELEMENTS_RATIO = 1 << 22, 4096  # elements of all tensors, by bytes of the file
MAPPED: Final = 1 << 24  # bytes of a file that is mapped rather than read
# Peak memory of one stored entry while loading: a position and a value, each decoded and then kept as a frozen copy.
ENTRY_BYTES: Final = 24

_HOSTILE: Final = "The file is damaged or hostile; nothing was loaded."


@dataclass(frozen=True, slots=True)
class Limits:
    """What loading may use. max_bytes: memory for the file and everything decoded from it (default 4 GiB)."""

    max_bytes: int = 4 << 30


@dataclass(frozen=True, eq=False)
class Contents:
    """A file whose framing and header have been verified, and nothing else decoded."""

    frame: framing.Frame
    profile: choose.Profile
    graph: Graph
    forms: tuple[TensorForm, ...]
    recipe: str
    dropped: int
    groups: list[list[int]]


def save(net: Network, path: str | os.PathLike[str], coder: str = "auto") -> int:
    """Write `net` to `path`, whole or not at all, and return the file's size in bytes.

    coder: "small", "fast" or "huffman"; "auto" takes the one that makes the smallest file. Equal networks give equal
    bytes. Loading gives ``canonical(net)``: equal in every weight's value (see split.py).
    Raises OSError when the disk refuses, LimitError for a network that its file could not be allowed to claim.
    """
    data = pack(net, coder)
    write_atomic(path, data)
    return len(data)


def pack(net: Network, coder: str = "auto") -> bytes:
    """The bytes of the file that `save` would write."""
    profiles = choose.candidates(coder)
    net = canonical(net)
    parts = [take_apart(name, weight) for name, weight in net.weights.items()]
    head = header.to_text(net.graph, [part.form for part in parts], net.recipe, net.dropped)
    coded_head = text.encode_text(head, prime.HEADER)
    files = {profile.name: _pack_with(profile, coded_head, parts) for profile in profiles}
    data = files[choose.smallest({name: len(file) for name, file in files.items()})]
    _check_claims([part.form for part in parts], len(data))
    if len(head) > _header_limit(len(coded_head)):
        raise LimitError(f"a header of {len(head)} bytes is more than a file may have; shorten the recipe or the names")
    return data


def _pack_with(profile: choose.Profile, coded_head: bytes, parts: Sequence[Parts]) -> bytes:
    coder = profile.load()
    specs = [reals_spec(part.form, part.reals.size) for part in parts]
    numbers = reals.encode([part.reals for part in parts], specs, coder)
    groups = [coder.encode([parts[i].indices for i in group]) for group in groups_of([part.form for part in parts])]
    return framing.join(profile.identifier, coded_head, numbers, groups)


def load(source: str | os.PathLike[str] | bytes, limits: Limits | None = None) -> Network:
    """Read a network from a .liss file, or from the bytes of one.

    A file of more than 16 MiB is mapped while it is read: another process that cuts it off meanwhile ends this one.
    Raises FormatError for a damaged or hostile file and for one of another version, LimitError for one that needs more
    memory than `limits` allow, and OSError for one that cannot be read; each names the file and the place in it.
    """
    limits = limits or Limits()
    name, data = read(source, limits)
    try:
        return decode(open_contents(data), limits)
    except (FormatError, LimitError) as error:
        raise explain(name, error) from None


def read(source: str | os.PathLike[str] | bytes, limits: Limits) -> tuple[str, bytes | mmap.mmap]:
    """The name to use in errors, and the bytes; those of a large file are mapped, so that no more of them is in memory
    than is being read. Raises LimitError for a file larger than the memory allowed.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name, size = "<bytes>", len(source)
    else:
        name, status = os.fspath(source), Path(source).stat()
        size = status.st_size
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EINVAL, "a device or a pipe, not a regular file; read it and pass the bytes", name)
    if size > limits.max_bytes:
        raise LimitError(f"{name}: {size} bytes are more than the {limits.max_bytes} allowed; raise Limits.max_bytes")
    if isinstance(source, bytes | bytearray | memoryview):
        return name, bytes(source)
    if size <= MAPPED or not stat.S_ISREG(status.st_mode):
        return name, Path(source).read_bytes()
    with Path(source).open("rb") as file:
        return name, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def explain(name: str, error: FormatError | LimitError) -> LissomeError:
    """The same error with the file's name in front, and what it means behind."""
    if isinstance(error, LimitError):
        return LimitError(f"{name}: {error}")
    remedy = "" if isinstance(error, framing.ForeignFileError) else f". {_HOSTILE}"
    return FormatError(f"{name}: {error}{remedy}")


def open_contents(data: bytes | mmap.mmap) -> Contents:
    """Verify framing, checksums and header of a file, and that its claims fit its size. Decodes no weights."""
    frame = framing.split(data)
    give_back(memoryview(data))
    profile = choose.by_identifier(frame.profile)
    limit = _header_limit(len(frame.header))
    try:
        head = text.decode_text(bytes(frame.header), prime.HEADER, max_bytes=limit)
    except LimitError:
        raise FormatError(f"header: longer than the {limit} bytes that a stream of its size may hold") from None
    except FormatError as error:
        raise FormatError(f"header: {error}") from None
    graph, forms, recipe, dropped = header.from_text(head)
    try:
        _check_claims(forms, frame.total)
    except LimitError as error:
        raise FormatError(str(error)) from None
    groups = groups_of(forms)
    if len(frame.groups) != len(groups):
        raise FormatError(f"holds {len(frame.groups)} index streams; its header tells of {len(groups)}")
    return Contents(frame, profile, graph, forms, recipe, dropped, groups)


def _header_limit(coded: int) -> int:
    return min(HEADER_LIMIT, HEADER_FLOOR + HEADER_RATIO * coded)


def _check_claims(forms: Sequence[TensorForm], file_bytes: int) -> None:
    """Raise LimitError when tensors have more elements than a file of `file_bytes` may claim."""
    allowed = ELEMENTS_FLOOR + ELEMENTS_RATIO * file_bytes
    claimed = 0
    for form in forms:
        claimed += form.spec.size
        if claimed > allowed:
            raise LimitError(
                f"tensor {form.name!r} of shape {form.shape} brings the elements claimed to {claimed}; "
                f"a file of {file_bytes} bytes may hold {allowed}"
            )


def reals_spec(form: TensorForm, stored: int) -> RealsSpec:
    """What the reals stream holds of a tensor with `stored` entries."""
    if form.entries is not None:
        return RealsSpec(form.entries, form.format, ascending=True)
    return RealsSpec(stored, form.format, ascending=False)


def _fixed_bytes(form: TensorForm) -> int:
    """Memory that a tensor needs for certain, whatever its streams hold."""
    book = (form.entries or 0) * 2 * ITEMSIZE["float32"]
    if form.sparse:
        return book
    return book + form.spec.size * (2 * ITEMSIZE["float32"] if form.entries is None else 4)


def decode(contents: Contents, limits: Limits) -> Network:
    """Decode the weights of a verified file. Raises FormatError for hostile streams, LimitError past `limits`."""
    coder = contents.profile.load()
    left = _memory_left(contents, limits)
    indices = _decode_groups(contents, coder, left // ENTRY_BYTES, limits)
    specs = []
    for i, form in enumerate(contents.forms):
        found = indices.get(i)
        stored = form.spec.size if found is None or found.positions is None else found.positions.size
        specs.append(reals_spec(form, stored))
    try:
        numbers = reals.decode(contents.frame.reals, specs, coder)
    except (FormatError, LimitError) as error:
        raise FormatError(f"reals: {error}") from None
    weights = {}
    for i, (form, values) in enumerate(zip(contents.forms, numbers, strict=True)):
        try:
            weights[form.name] = put_together(form, indices.pop(i, None), values)
        except WeightError as error:
            raise FormatError(f"tensor {form.name!r}: {error}") from None
    return Network(contents.graph, weights, contents.recipe, contents.dropped)


def _memory_left(contents: Contents, limits: Limits) -> int:
    left = limits.max_bytes - contents.frame.total
    for form in contents.forms:
        left -= _fixed_bytes(form)
        if left < 0:
            raise LimitError(
                f"tensor {form.name!r} of shape {form.shape} needs more than the {limits.max_bytes} bytes of memory "
                "allowed; if you trust the file, raise Limits.max_bytes"
            )
    return left


def _decode_groups(contents: Contents, coder: Coder, budget: int, limits: Limits) -> dict[int, Indices]:
    """Indices by tensor. budget: entries of sparse tensors that memory allows."""
    forms, groups = contents.forms, contents.groups
    sizes = [sum(forms[i].spec.size for i in group) for group in groups]
    sparse = [sum(forms[i].spec.size for i in group if forms[i].sparse) for group in groups]

    def one(number: int, room: int) -> list[Indices]:
        group = groups[number]
        specs = [forms[i].spec for i in group]
        allowed = sizes[number] - sparse[number] + min(room, sparse[number])
        place = f"index stream {number} ({_names(forms, group)})"
        try:
            return coder.decode(contents.frame.groups[number], specs, max_entries=allowed)
        except FormatError as error:
            raise FormatError(f"{place}: {error}") from None
        except LimitError as error:
            if allowed == sizes[number]:
                raise FormatError(f"{place}: holds more entries than its tensors have elements") from None
            raise LimitError(
                f"{place}: {error}; {limits.max_bytes} bytes of memory are allowed: raise Limits.max_bytes"
            ) from None

    results: list[list[Indices]] = []
    if len(groups) > 1 and sum(sparse) <= budget:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda number: one(number, sparse[number]), range(len(groups))))
    else:
        for number in range(len(groups)):
            results.append(one(number, budget))
            budget -= sum(found.codes.size for found in results[-1] if found.spec.sparse)
    return {i: found for group, some in zip(groups, results, strict=True) for i, found in zip(group, some, strict=True)}


def _names(forms: Sequence[TensorForm], group: Sequence[int]) -> str:
    first, last = forms[group[0]].name, forms[group[-1]].name
    return f"tensor {first!r}" if len(group) == 1 else f"tensors {first!r} to {last!r}"
