"""Where the bytes of a .liss file went: per tensor, and per section, adding up to the file's size exactly."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from lissome.errors import FormatError, LimitError
from lissome.pack import prime, reals, text
from lissome.pack.coder import Coder, Indices
from lissome.pack.container import Contents, Limits, decode, explain, open_contents, pack, read, reals_spec
from lissome.pack.header import to_text
from lissome.pack.split import Parts, take_apart

# Sharing out a stream codes every prefix of its group; past this many elements in all, a group is reported as a whole.
MAX_PREFIX_ELEMENTS: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class TensorBytes:
    """One weight in the file.

    stored: entries kept. density: stored / elements (1 when there are none). alphabet: entries of the codebook, None
    when values are not shared. index_bytes, reals_bytes: its share of those streams, by how much longer they get when
    it is added after the tensors before it; index_bytes is None where a group is too large to be shared out.
    bits_per_weight: 8 · (index_bytes + reals_bytes) / elements, None where that is unknown.
    """

    name: str
    shape: tuple[int, ...]
    elements: int
    stored: int
    density: float
    sparse: bool
    alphabet: int | None
    format: str
    group: int | None
    index_bytes: int | None
    reals_bytes: int
    bits_per_weight: float | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """Sections add up: total = framing + header + recipe + reals + sum(groups).

    groups: bytes of each index stream. framing: magic, version, profile, lengths and checksums. canonical: whether
    packing the network again gives the same bytes; None when not verified.
    """

    file: str
    version: int
    coder: str
    total_bytes: int
    framing_bytes: int
    header_bytes: int
    recipe_bytes: int
    reals_bytes: int
    group_bytes: tuple[int, ...]
    dense_bytes: int
    parameters: int
    tensors: tuple[TensorBytes, ...]
    canonical: bool | None

    @property
    def ratio(self) -> float:
        """Bytes of the dense float32 parameters over bytes of the whole file."""
        return self.dense_bytes / self.total_bytes

    def table(self) -> str:
        """The inspection as text for a terminal."""
        rows: list[tuple[str, ...]] = [
            ("tensor", "shape", "stored", "density", "values", "format", "index B", "reals B", "bits/weight")
        ]
        rows += [_row(tensor) for tensor in self.tensors]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(pairs))
            for pairs in (list(zip(row, widths, strict=True)) for row in rows)
        ]
        sections = [("framing", self.framing_bytes), ("graph and shapes", self.header_bytes)]
        sections += [("recipe", self.recipe_bytes), ("codebooks, biases", self.reals_bytes)]
        sections += [(f"index stream {i}", size) for i, size in enumerate(self.group_bytes)]
        sections += [("file", self.total_bytes)]
        lines += ["", *(f"{name:<17}  {size:>12,} bytes" for name, size in sections)]
        lines.append(
            f"{self.file}: version {self.version}, coder {self.coder}, {self.parameters:,} parameters, "
            f"{self.dense_bytes:,} bytes as dense float32: {self.ratio:.1f}×"
        )
        if self.canonical is not None:
            lines.append("verified: " + ("as lissome writes it" if self.canonical else "valid, of another writer"))
        return "\n".join(line.rstrip() for line in lines)

    def to_plain(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {**asdict(self), "ratio": self.ratio}

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(self.to_plain(), indent=2)


def inspect(
    source: str | os.PathLike[str] | bytes, *, limits: Limits | None = None, verify: bool = False
) -> Inspection:
    """Decode a .liss file and account for each of its bytes. Raises what `load` raises.

    verify: also pack the network again with the same coder and say whether the same bytes come out.
    """
    limits = limits or Limits()
    name, data = read(source, limits)
    try:
        contents = open_contents(data)
        net = decode(contents, limits)
    except (FormatError, LimitError) as error:
        raise explain(name, error) from None
    coder = contents.profile.load()
    parts = [take_apart(name, weight) for name, weight in net.weights.items()]
    bare = len(text.encode_text(to_text(contents.graph, contents.forms, "", contents.dropped), prime.HEADER))
    header_bytes = min(bare, len(contents.frame.header)) if contents.recipe else len(contents.frame.header)
    return Inspection(
        file=name,
        version=data[4],
        coder=contents.profile.name,
        total_bytes=len(data),
        framing_bytes=contents.frame.overhead,
        header_bytes=header_bytes,
        recipe_bytes=len(contents.frame.header) - header_bytes,
        reals_bytes=len(contents.frame.reals),
        group_bytes=tuple(map(len, contents.frame.groups)),
        dense_bytes=net.dense_bytes,
        parameters=net.parameters,
        tensors=_tensors(contents, parts, coder),
        canonical=pack(net, contents.profile.name) == data if verify else None,
    )


def _tensors(contents: Contents, parts: list[Parts], coder: Coder) -> tuple[TensorBytes, ...]:
    group_of: dict[int, int] = {}
    index_bytes: dict[int, int | None] = {}
    for number, group in enumerate(contents.groups):
        group_of.update(dict.fromkeys(group, number))
        shares = _index_shares([parts[i].indices for i in group], len(contents.frame.groups[number]), coder)
        index_bytes.update(zip(group, shares, strict=True))
    reals_bytes = _reals_shares(parts, len(contents.frame.reals), coder)
    return tuple(_tensor(part, group_of.get(i), index_bytes.get(i, 0), reals_bytes[i]) for i, part in enumerate(parts))


def _tensor(part: Parts, group: int | None, index_bytes: int | None, reals_bytes: int) -> TensorBytes:
    form, elements = part.form, part.form.spec.size
    positions = part.indices.positions
    stored = elements if positions is None else positions.size
    bits = None if index_bytes is None or not elements else 8 * (index_bytes + reals_bytes) / elements
    return TensorBytes(
        form.name,
        form.shape,
        elements,
        stored,
        stored / elements if elements else 1.0,
        form.sparse,
        form.entries,
        form.format,
        group,
        index_bytes,
        reals_bytes,
        bits,
    )


def _index_shares(group: list[Indices], total: int, coder: Coder) -> list[int] | list[None]:
    sizes = [one.spec.size for one in group]
    if sum(sum(sizes[: i + 1]) for i in range(len(sizes))) > MAX_PREFIX_ELEMENTS and len(group) > 1:
        return [None] * len(group)
    return _shares(lambda count: len(coder.encode(group[:count])), len(group), total)


def _reals_shares(parts: list[Parts], total: int, coder: Coder) -> list[int]:
    specs = [reals_spec(part.form, part.reals.size) for part in parts]
    arrays = [part.reals for part in parts]
    if sum(array.size for array in arrays) * len(arrays) > MAX_PREFIX_ELEMENTS:
        sizes = [array.size for array in arrays]
        return _shares(lambda count: total * sum(sizes[:count]) // max(1, sum(sizes)), len(parts), total)
    return _shares(lambda count: len(reals.encode(arrays[:count], specs[:count], coder)), len(parts), total)


def _shares(cost: Callable[[int], int], count: int, total: int) -> list[int]:
    """What each of `count` things adds to the cost of those before it; they sum to `total`, the cost of all."""
    costs = [0, *(cost(i) for i in range(1, count)), total]
    return [after - before for before, after in itertools.pairwise(costs)] if count else []


def _row(tensor: TensorBytes) -> tuple[str, ...]:
    return (
        tensor.name,
        "×".join(map(str, tensor.shape)) or "scalar",
        f"{tensor.stored:,}",
        f"{100 * tensor.density:.2f} %",
        "own" if tensor.alphabet is None else str(tensor.alphabet),
        tensor.format,
        f"group {tensor.group}" if tensor.index_bytes is None else f"{tensor.index_bytes:,}",
        f"{tensor.reals_bytes:,}",
        "-" if tensor.bits_per_weight is None else f"{tensor.bits_per_weight:.3f}",
    )
