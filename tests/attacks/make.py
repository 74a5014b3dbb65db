"""Write the corpus of hostile files and its index: python tests/attacks/make.py. Deterministic: same code, same bytes.

Each case is one way to be wrong, in a file that is right in all else (checksums included), with the error it must give.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lissome.errors import FormatError
from lissome.pack import choose, framing, prime, text
from lissome.pack.coder import IndexSpec, Indices
from lissome.pack.framing import MAGIC, varint

HERE = Path(__file__).parent
CORPUS, INDEX = HERE / "corpus", HERE / "index.tsv"
PROFILES = {profile.identifier: profile for profile in sorted(choose.PROFILES, key=lambda p: p.identifier)}

INPUTS = [["x", ["N", 6]]]
NODES = [["Gemm", "fc1", [1, ".weight", ".bias"], {"transB": 1}], ["Relu", "relu", [1]]]
TENSORS = [[5, 6, "s3h"], [5, "e"]]
LINE = [INPUTS, NODES, TENSORS]
RECIPE = "seed = 0\n"
SPEC = IndexSpec((5, 6), sparse=True, alphabet=3)
WEIGHTS = Indices(SPEC, np.array([0, 3, 7, 8, 15, 21, 29]), np.array([0, 2, 1, 1, 0, 2, 1], np.uint8))
# Planes of the codebook (−1, 0, 1 as float16) and of five float8 biases of 1.0.
PLANES = bytes.fromhex("43 3c 3c 38 38 38 38 38 ff 01 00")
REALS = bytes([0]) + PLANES


@dataclass(frozen=True)
class Case:
    """One hostile file. fragment: what the message must contain. idea: group in the README's table of verdicts."""

    name: str
    data: bytes
    fragment: str
    idea: str
    error: str = "FormatError"


def line(*parts: object, recipe: str = RECIPE) -> bytes:
    """A header text of these parts."""
    return f"{json.dumps(parts, ensure_ascii=False, separators=(',', ':'))}\n{recipe}".encode()


def index(profile: int, group: list[Indices] | None = None) -> bytes:
    """The index stream of a group under a profile."""
    return PROFILES[profile].load().encode([WEIGHTS] if group is None else group)


def build(
    profile: int = 1,
    head: bytes | None = None,
    reals: bytes = REALS,
    groups: list[bytes] | None = None,
    coded: bytes | None = None,
) -> bytes:
    """A file with these parts in place of the good ones, and good checksums. coded: the header stream itself."""
    stream = text.encode_text(head or line(*LINE), prime.HEADER) if coded is None else coded
    return framing.join(profile, stream, reals, [index(profile)] if groups is None else groups)


GOOD = build()
END = 6 + 1 + len(framing.split(GOOD).header) + 4  # of the header's section


def section(length: bytes, stream: bytes, before: bytes = b"") -> bytes:
    """A section whose length field is given as bytes, with the checksum that fits it."""
    body = before + length + stream
    return body + zlib.crc32(body).to_bytes(4, "little")


def truncations() -> Iterator[Case]:
    """The file cut off after every length up to its preamble, and at steps after that."""
    what = {0: "the file is empty", **dict.fromkeys(range(1, 6), "inside its preamble")}
    header_end, reals_end = END, END + 1 + len(REALS) + 4
    for size in [*range(header_end - 4), *range(header_end - 4, len(GOOD))]:
        if size < 6:
            fragment = what[size]
        elif size < header_end:
            fragment = "header: "
        elif size < reals_end:
            fragment = "reals: "
        elif size == reals_end:
            fragment = "holds 0 index streams; its header tells of 1"
        else:
            fragment = "index stream 0: "
        yield Case(f"cut-{size}", GOOD[:size], fragment, "truncated")


def foreign() -> Iterator[Case]:
    """Files of other kinds, and what text-mode transfers make of ours."""
    others = {
        "zip": b"PK\x03\x04",
        "gzip": b"\x1f\x8b\x08\x00",
        "png": b"\x89PNG\r\n\x1a\n",
        "gguf": b"GGUF\x03\x00\x00\x00",
        "pickle": b"\x80\x04\x95\x00",
        "safetensors": (8).to_bytes(8, "little") + b'{"a": 1}',
        "onnx": b"\x08\x07\x12\x07pytorch",
        "tflite": b"\x1c\x00\x00\x00TFL3",
        "elf": b"\x7fELF\x02\x01",
        "html": b"<!DOCTYPE html><title>404 Not Found</title>",
        "git-lfs": b"version https://git-lfs.github.com/spec/v1\n",
        "json": b'{"a": 1}',
        "zeros": bytes(64),
        "ones": b"\xff" * 64,
    }
    for name, data in others.items():
        yield Case(f"foreign-{name}", data, "this is not a .liss file", "another kind of file")
    damaged = {
        "crlf": GOOD.replace(b"\n", b"\r\n"),
        "cr": GOOD.replace(b"\n", b"\r"),
        "seven-bit": bytes(byte & 0x7F for byte in GOOD),
        "latin1-as-utf8": GOOD.decode("latin-1").encode(),
        "utf16": b"\xff\xfe" + GOOD,
        "bom": b"\xef\xbb\xbf" + GOOD,
        "reversed": GOOD[::-1],
        "swapped-pairs": bytes(GOOD[i ^ 1] for i in range(len(GOOD) & ~1)),
        "leading-zero": b"\x00" + GOOD,
        "leading-newline": b"\n" + GOOD,
        "shebang": b"#!/bin/sh\n" + GOOD,
        "base64": b"jGxzCgEB",
    }
    for name, data in damaged.items():
        yield Case(f"transfer-{name}", data, "this is not a .liss file", "text-mode transfer, polyglot prefix")


def preamble() -> Iterator[Case]:
    """Versions and profiles that do not exist; the checksum fits."""

    def with_preamble(version: int, profile: int) -> bytes:
        stream = bytes(framing.split(GOOD).header)
        return section(varint(len(stream)), stream, MAGIC + bytes([version, profile])) + GOOD[END:]

    for version in (0, 2, 3, 127, 128, 255):
        yield Case(f"version-{version}", with_preamble(version, 1), f"is of version {version}, and", "wrong version")
    for profile in (0, 4, 5, 64, 128, 255):
        yield Case(f"profile-{profile}", with_preamble(1, profile), f"unknown coder {profile}", "unknown coder")


def lengths() -> Iterator[Case]:
    """Length fields that lie, are not shortest, or do not end, in each of the three streams."""
    head, reals, group = (bytes(s) for s in (framing.split(GOOD).header, REALS, index(1)))
    start = MAGIC + b"\x01\x01"
    good = [
        section(varint(len(head)), head, start),
        section(varint(len(reals)), reals),
        section(varint(len(group)), group),
    ]
    for place, (stream, name) in enumerate(((head, "header"), (reals, "reals"), (group, "index stream 0"))):
        size = len(stream)
        odd = {
            "padded": (bytes([size | 0x80, 0]), "is not in the shortest form"),
            "padded-twice": (bytes([size | 0x80, 0x80, 0]), "is not in the shortest form"),
            "endless": (b"\xff" * 8, "is longer than 7 bytes"),
            "eight": (b"\x80" * 7 + b"\x01", "is longer than 7 bytes"),
            "one-more": (varint(size + 1), "checksum" if place < 2 else "claims"),
            "one-less": (varint(size - 1), "checksum"),
            "none": (varint(0), "checksum"),
            "2^31": (varint(1 << 31), f"claims {1 << 31} bytes"),
            "2^32": (varint(1 << 32), f"claims {1 << 32} bytes"),
            "2^32-1": (varint((1 << 32) - 1), f"claims {(1 << 32) - 1} bytes"),
            "2^48": (varint(1 << 48), f"claims {1 << 48} bytes"),
            "2^49-1": (varint((1 << 49) - 1), f"claims {(1 << 49) - 1} bytes"),
        }
        for kind, (length, fragment) in odd.items():
            sections = list(good)
            sections[place] = section(length, stream, start if place == 0 else b"")
            where = f"{name}: " if fragment.startswith(("claims", "checksum")) else ""
            yield Case(f"length-{name.split()[0]}-{kind}", b"".join(sections), where + fragment, "a length that lies")


def checksums() -> Iterator[Case]:
    """Checksums that are absent in all but name, for each of the three streams."""
    ends = (END, END + 1 + len(REALS) + 4, len(GOOD))
    for end, name in zip(ends, ("header", "reals", "index stream 0"), strict=True):
        stored = GOOD[end - 4 : end]
        odd = {
            "zero": bytes(4),
            "ones": b"\xff" * 4,
            "inverted": bytes(byte ^ 0xFF for byte in stored),
            "big-endian": stored[::-1],
            "one-bit": bytes([stored[0] ^ 1]) + stored[1:],
            "adler": zlib.adler32(GOOD[: end - 4]).to_bytes(4, "little"),
        }
        for kind, value in odd.items():
            data = GOOD[: end - 4] + value + GOOD[end:]
            yield Case(f"crc-{name.split()[0]}-{kind}", data, f"{name}: checksum", "a checksum that does not fit")


def appendices() -> Iterator[Case]:
    """Something after the end."""
    stream = section(varint(1), b"\x00")
    extra = "holds 2 index streams; its header tells of 1"
    for name, tail, fragment in (
        ("zero", b"\x00", "index stream 1: "),
        ("newline", b"\n", "index stream 1: "),
        ("zeros", bytes(16), "index stream 1: checksum"),
        ("zip", b"PK\x05\x06" + bytes(18), "index stream 1: "),
        ("itself", GOOD, "index stream 1: "),
        ("empty-stream", section(varint(0), b""), extra),
        ("stream", stream, extra),
        ("same-stream", GOOD[END + 1 + len(REALS) + 4 :], extra),
        ("many-streams", stream * 20, "holds 21 index streams; its header tells of 1"),
    ):
        yield Case(f"tail-{name}", GOOD + tail, fragment, "bytes after the end, polyglot")


def streams_of_the_header() -> Iterator[Case]:
    """The header's coded stream itself is damaged, its checksum mended."""
    coded, idea = text.encode_text(line(*LINE), prime.HEADER), "a header stream that is none"
    yield Case("header-stream-empty", build(coded=b""), "header: ", idea)
    yield Case("header-stream-longer", build(coded=coded + b"\x00"), "header: ", idea)
    yield Case("header-stream-twice", build(coded=coded + coded), "header: ", idea)
    yield Case("header-stream-plain", build(coded=line(*LINE)), "header: ", idea)
    yield Case(
        "header-stream-zlib", build(coded=zlib.compress(line(*LINE))), "header: ", "a header stream that is none"
    )
    unprimed = text.encode_text(line(*LINE), b"")
    yield Case("header-stream-unprimed", build(coded=unprimed), "header: ", idea)
    for byte in (0x00, 0x55, 0xAA, 0xFF):
        data = build(coded=bytes([byte]) * 40)
        yield Case(f"header-stream-{byte:02x}", data, "header: ", idea)
    for size in range(1, len(coded), 3):
        yield Case(f"header-stream-cut-{size}", build(coded=coded[:size]), "header: ", idea)
    bomb = text.encode_text(b" " * (1 << 19), prime.HEADER)
    yield Case("header-stream-bomb", build(coded=bomb), "header: longer than the", "decompression bomb")


def headers() -> Iterator[Case]:
    """Header texts that say something wrong."""
    for name, head, fragment in hostile_headers():
        yield Case(f"header-{name}", build(head=head), fragment, "a header that says something wrong")


def hostile_headers() -> Iterator[tuple[str, bytes, str]]:
    """Name, header text and fragment."""
    good, canonical, odd = line(*LINE), "header: its text is not in the one canonical form", "header: not the text"
    graph = "header: the graph contradicts itself"
    yield "not-utf8", b"\xff\xfe" + good, odd
    yield "not-json", b"[[[" + good, odd
    yield "pickle", b"\x80\x04K\x01.\n", odd
    yield "no-newline", good.partition(b"\n")[0], "header: expected a list"
    yield "object", b'{"nodes":[]}\n', "header: expected a list"
    yield "two-parts", line(INPUTS, NODES), "header: expected a list"
    yield "six-parts", line(*LINE, ["relu"], [], []), "header: expected a list"
    yield "deep", b"[" * 5000 + b"]" * 5000 + b"\n", odd
    yield "digits", b"[1" + b"0" * 5000 + b"]\n", odd
    yield "nan", good.replace(b'"transB":1', b'"transB":NaN'), "header: "
    yield "infinity", good.replace(b'"transB":1', b'"transB":1e999'), "header: "
    yield "blank", good.replace(b",", b", ", 1), canonical
    yield "tab", good.replace(b"[", b"\t[", 1), canonical
    yield "bom", b"\xef\xbb\xbf" + good, "header: "
    yield "escape", good.replace(b"fc1", b"\\u0066c1"), canonical
    yield "key-twice", good.replace(b'"transB":1', b'"transB":0,"transB":1'), canonical
    yield "float-for-int", good.replace(b'"transB":1', b'"transB":1.00'), canonical
    yield "exponent", good.replace(b'"transB":1', b'"transB":1e0'), canonical
    yield "keys-unsorted", good.replace(b'{"transB":1}', b'{"transB":1,"alpha":1.0}'), canonical
    yield "default-outputs", line(*LINE, ["relu"]), canonical
    yield "default-parameters", line(*LINE, ["relu"], ["fc1.weight", "fc1.bias"]), canonical
    yield "default-dtype", line([["x", ["N", 6], "float32"]], NODES, TENSORS), canonical
    yield "default-attributes", line(INPUTS, [NODES[0], ["Relu", "relu", [1], {}]], TENSORS), canonical
    yield "default-node-outputs", line(INPUTS, [NODES[0], ["Relu", "relu", [1], {}, ["relu"]]], TENSORS), canonical
    yield (
        "name-for-number",
        line(INPUTS, [["Gemm", "fc1", ["x", ".weight", ".bias"], {"transB": 1}], NODES[1]], TENSORS),
        canonical,
    )
    yield (
        "name-for-suffix",
        line(INPUTS, [["Gemm", "fc1", [1, "fc1.weight", ".bias"], {"transB": 1}], NODES[1]], TENSORS),
        canonical,
    )
    yield "no-inputs", line([], NODES[:0], []), "header: "
    yield "input-no-shape", line([["x"]], NODES, TENSORS), odd
    yield "input-twice", line(INPUTS * 2, NODES, TENSORS), graph
    yield "extent-zero", line([["x", ["N", 0]]], NODES, TENSORS), graph
    yield "extent-negative", line([["x", ["N", -6]]], NODES, TENSORS), graph
    yield "extent-2^31", line([["x", ["N", 1 << 31]]], NODES, TENSORS), graph
    yield "extent-float", line([["x", ["N", 6.0]]], NODES, TENSORS), graph
    yield "extent-true", line([["x", ["N", True]]], NODES, TENSORS), graph
    yield "extent-name", line([["x", ["N", "M"]]], NODES, TENSORS), graph
    yield "inputs-number", line(7, NODES, TENSORS), odd
    yield "nodes-number", line(INPUTS, 7, TENSORS), odd
    yield "nodes-null", line(INPUTS, None, TENSORS), odd
    yield "node-short", line(INPUTS, [["Relu", "r"]], TENSORS), odd
    yield "node-long", line(INPUTS, [["Relu", "r", [1], {}, ["r"], 1]], TENSORS), odd
    yield "node-text", line(INPUTS, ["Relu"], TENSORS), odd
    yield "node-forward", line(INPUTS, [["Relu", "r", [2]]], []), "header: node 'r' reads the tensor made 2 before it"
    yield "node-zero", line(INPUTS, [["Relu", "r", [0]]], []), "header: node 'r' reads the tensor made 0 before it"
    yield "node-negative", line(INPUTS, [["Relu", "r", [-1]]], []), "header: node 'r' reads the tensor made -1 before"
    yield "node-huge", line(INPUTS, [["Relu", "r", [1 << 64]]], []), "header: node 'r' reads the tensor made"
    yield "node-reads-null", line(INPUTS, [["Relu", "r", [None]]], []), "header: node 'r' reads 'None'"
    yield "node-reads-list", line(INPUTS, [["Relu", "r", [["a", "b"]]]], []), odd
    yield "node-twice", line(INPUTS, [["Relu", "r", [1]], ["Relu", "r", [1]]], []), graph
    yield "node-makes-input", line(INPUTS, [["Relu", "x", [1]]], []), graph
    yield "node-control", line(INPUTS, [["Relu", "r\x07", [1]]], []), graph
    yield "node-long-name", line(INPUTS, [["Relu", "r" * 300, [1]]], []), graph
    yield "node-no-name", line(INPUTS, [["Relu", "", [1]]], []), graph
    yield "node-number-name", line(INPUTS, [["Relu", 5, [1]]], []), "header: "
    yield "node-attribute-nested", line(INPUTS, [["Relu", "r", [1], {"a": [[1]]}]], []), graph
    yield "node-attribute-null", line(INPUTS, [["Relu", "r", [1], {"a": None}]], []), graph
    yield "node-attribute-true", line(INPUTS, [["Relu", "r", [1], {"a": True}]], []), graph
    yield "node-attributes-list", line(INPUTS, [["Relu", "r", [1], [1]]], []), graph
    yield "surrogate", good.replace(b'"Relu"', b'"\\ud800"'), "header: "
    yield "output-unknown", line(*LINE, ["nowhere"]), graph
    yield "output-none", line(*LINE, []), graph
    yield "output-number", line(*LINE, [1]), graph
    yield "parameter-missing", line(*LINE, ["relu"], ["fc1.weight"]), graph
    yield "parameter-twice", line(*LINE, ["relu"], ["fc1.weight", "fc1.bias", "fc1.bias"]), graph
    yield "tensor-missing", line(INPUTS, NODES, TENSORS[:1]), "header: 1 tensors are described, but the graph has 2"
    yield "tensor-extra", line(INPUTS, NODES, [*TENSORS, [1, "f"]]), "header: 3 tensors are described, but"
    yield "tensors-number", line(INPUTS, NODES, 5), odd
    for name, row, fragment in hostile_tensors():
        yield f"tensor-{name}", line(INPUTS, NODES, [row, TENSORS[1]]), fragment


def hostile_tensors() -> Iterator[tuple[str, object, str]]:
    """Rows of the tensor table."""
    shape, form = "'fc1.weight' has impossible shape", "header: tensor 'fc1.weight': unknown form"
    row = "header: tensor 'fc1.weight': expected its extents and its form"
    yield "null", None, row
    yield "empty", [], row
    yield "text-extent", ["5", 6, "e"], row
    yield "float-extent", [5.0, 6, "e"], row
    yield "true-extent", [True, 6, "e"], row
    yield "negative", [-5, 6, "e"], shape
    yield "2^48", [1 << 24, 1 << 24, "e"], shape
    yield "2^64", [1 << 32, 1 << 32, "e"], shape
    yield "2^64+30", [(1 << 64) + 30, "e"], shape
    yield "overflow-to-zero", [1 << 32, 1 << 31, 2, "e"], shape
    yield "nine-axes", [1] * 9 + ["e"], shape
    yield "no-form", [5, 6], form
    yield "unknown-format", [5, 6, "s3x"], form
    yield "zero-entries", [5, 6, "s0h"], form
    yield "leading-zero", [5, 6, "s03h"], form
    yield "sparse-twice", [5, 6, "ss3h"], form
    yield "arabic-digits", [5, 6, "s٣h"], form
    yield "newline", [5, 6, "s3h\n"], form
    yield "entries-65537", [5, 6, "s65537h"], "header: tensor 'fc1.weight': a codebook of 65537 entries"
    yield "entries-99999", [5, 6, "s99999h"], "header: tensor 'fc1.weight': a codebook of 99999 entries"
    yield "entries-huge", [5, 6, "s999999h"], form


def claims() -> Iterator[Case]:
    """Well-formed headers that claim more than the file can hold."""
    for name, row in (
        ("dense-terabyte", [1 << 20, 1 << 20, "f"]),
        ("dense-gigabyte", [1 << 15, 1 << 15, "f"]),
        ("sparse-2^47", [1 << 47, "s3h"]),
        ("codes-2^40", [1 << 40, "3h"]),
        ("constant-2^30", [1 << 30, "1h"]),
        ("sparse-just-over", [1 << 23, "s3h"]),
    ):
        data = build(head=line(INPUTS, NODES, [row, TENSORS[1]]))
        yield Case(f"claim-{name}", data, "tensor 'fc1.weight' of shape", "claims far beyond the file's size")
    many = [["Custom", "c", [1, *(f"w{i}" for i in range(40))]]]
    head = line(INPUTS, many, [[1 << 18, "s3h"]] * 40)
    yield Case("claim-many-tensors", build(head=head), "tensor 'w", "claims far beyond the file's size")
    for name, row in (("one-row-less", [4, 6, "s3h"]), ("another-alphabet", [5, 6, "s4h"]), ("dense", [5, 6, "3h"])):
        data = build(2, head=line(INPUTS, NODES, [row, TENSORS[1]]))
        yield Case(f"claim-{name}", data, ": ", "a header that does not fit the streams")
    plain = build(head=line(INPUTS, NODES, [[5, 6, "h"], TENSORS[1]]))
    yield Case("claim-no-indices", plain, "holds 1 index streams; its header tells of 0", "a header that does not fit")
    both = build(head=line(INPUTS, NODES, [TENSORS[0], [5, "s2e"]]), groups=[index(1)] * 2)
    yield Case("claim-two-groups", both, "holds 2 index streams; its header tells of 1", "a header that does not fit")
    yield Case("claim-no-streams", build(groups=[]), "holds 0 index streams; its header tells of 1", "streams missing")


def reals_streams() -> Iterator[Case]:
    """Reals that are too short, too long, unknown, not numbers, or do not ascend."""
    idea = "numbers that no weight may hold"
    for size in range(len(REALS)):
        yield Case(f"reals-cut-{size}", build(reals=REALS[:size]), "reals: ", idea)
    for name, stream in (
        ("longer", REALS + b"\x00"),
        ("mode-3", b"\x03" + PLANES),
        ("mode-255", b"\xff" + PLANES),
        ("mode-text", b"\x02" + PLANES),
        ("text-short", b"\x02" + text.encode_text(PLANES[:-1], prime.REALS)),
        ("text-long", b"\x02" + text.encode_text(PLANES + b"\x00", prime.REALS)),
        ("text-bomb", b"\x02" + text.encode_text(bytes(1 << 16), prime.REALS)),
        ("not-ascending", bytes([0]) + bytes.fromhex("43 3c 00 38 38 38 38 38 ff 01 00")),
        ("equal-entries", bytes([0]) + bytes.fromhex("43 00 3c 38 38 38 38 38 ff 00 00")),
        ("wraps-round", bytes([0]) + bytes.fromhex("43 fc 3c 38 38 38 38 38 ff 01 00")),
    ):
        yield Case(f"reals-{name}", build(reals=stream), "reals: ", idea)
    for profile, entry in PROFILES.items():
        for name, tail in (("empty", b""), ("zeros", bytes(20)), ("ones", b"\xff" * 20)):
            data = build(profile, reals=b"\x01" + tail)
            yield Case(f"reals-coded-{entry.name}-{name}", data, "", idea)
    for name, planes, fragment in (
        ("nan-half", "43 3c 7f 38 38 38 38 38 ff 01 ff", "tensor 'fc1.weight': a codebook holds"),
        ("infinity-half", "03 7c 7c 38 38 38 38 38 ff 01 00", "tensor 'fc1.weight': a codebook holds"),
        ("nan-float8", "43 3c 3c 38 38 7f 38 38 ff 01 00", "tensor 'fc1.bias': a dense weight holds"),
        ("minus-nan-float8", "43 3c 3c 38 38 ff 38 38 ff 01 00", "tensor 'fc1.bias': a dense weight holds"),
    ):
        yield Case(f"reals-{name}", build(reals=bytes([0]) + bytes.fromhex(planes)), fragment, idea)
    for form, bits in (("f", "7fc00000"), ("f", "7f800000"), ("f", "ff800000"), ("b", "7fc0"), ("b", "ff80")):
        planes = b"".join(bytes([byte]) * 5 for byte in bytes.fromhex(bits))
        head = line(INPUTS, [["Custom", "fc1", [1, ".bias"]]], [[5, form]])
        data = build(head=head, reals=bytes([0]) + planes, groups=[])
        yield Case(f"reals-{form}-{bits}", data, "tensor 'fc1.bias': a dense weight holds 5 NaN or infinite", idea)


def index_streams() -> Iterator[Case]:
    """Index streams of each coder: cut, prolonged, of another coder, or noise."""
    rng = np.random.default_rng(0)
    for profile, entry in PROFILES.items():
        good = index(profile)
        odd = {"empty": b"", "longer": good + b"\x00", "twice": good + good}
        odd |= {f"cut-{size}": good[:size] for size in range(1, len(good))}
        odd |= {f"of-{PROFILES[other].name}": index(other) for other in PROFILES if other != profile}
        odd |= {f"noise-{i}": rng.bytes(24) for i in range(8)}
        odd |= {f"byte-{byte:02x}": bytes([byte]) * 16 for byte in (0x00, 0x7F, 0x80, 0xFF)}
        for name, stream in odd.items():
            if _is_another_valid_stream(entry, stream):
                continue
            data = build(profile, groups=[stream])
            yield Case(f"index-{entry.name}-{name}", data, "index stream 0 (tensor 'fc1.weight'): ", "hostile indices")


def _is_another_valid_stream(profile: choose.Profile, stream: bytes) -> bool:
    """Whether a cut or made-up stream happens to be exactly what some other indices are coded as."""
    try:
        found = profile.load().decode(stream, [SPEC], max_entries=SPEC.size)
    except FormatError:
        return False
    assert profile.load().encode(found) == stream, "accepted, but not what the coder would have written"
    return True


def cases() -> list[Case]:
    """Every case, in order."""
    families = (
        truncations, foreign, preamble, lengths, checksums, appendices,
        streams_of_the_header, headers, claims, reals_streams, index_streams,
    )  # fmt: skip
    return [case for family in families for case in family()]


def main() -> None:
    """Write every file and the index, and remove files that are no longer made."""
    CORPUS.mkdir(exist_ok=True)
    made = cases()
    names = [f"{case.name.replace('^', '')}.liss" for case in made]
    assert len(set(names)) == len(names), "two cases of one name"
    for old in CORPUS.iterdir():
        if old.name not in names:
            old.unlink()
    for name, case in zip(names, made, strict=True):
        (CORPUS / name).write_bytes(case.data)
    rows = [f"{name}\t{c.error}\t{c.fragment}\t{c.idea}" for name, c in zip(names, made, strict=True)]
    INDEX.write_text("\n".join(["file\terror\tmessage contains\tidea", *rows]) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(made)} files, {sum(len(c.data) for c in made):,} bytes\n")


if __name__ == "__main__":
    main()
