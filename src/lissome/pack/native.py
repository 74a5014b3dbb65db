"""The bridge to the native coders: Indices as plain arrays and back.

A coder NAME is two native functions, NAME_encode and NAME_decode (native/bindings/codec.h).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lissome.errors import FormatError, NativeMissing, WeightError
from lissome.pack.coder import Bytes, IndexSpec, Indices

MAX_SIZE = 1 << 48  # elements of one tensor; native/codec/indices.h
MAX_ALPHABET = 1 << 16


def encode_group(coder: str, group: Sequence[Indices]) -> bytes:
    """The group's bytes by the native coder; raises WeightError for indices that contradict themselves."""
    encode = native_function(f"{coder}_encode")
    result: bytes = encode([_plain(indices) for indices in group])
    return result


def decode_group(coder: str, data: Bytes, specs: Sequence[IndexSpec], max_entries: int) -> list[Indices]:
    """The inverse; raises FormatError and LimitError as the Coder contract says."""
    decode = native_function(f"{coder}_decode")
    for spec in specs:
        extents = (spec.size, *spec.shape)
        if not (all(0 <= n < MAX_SIZE for n in extents) and 1 <= spec.alphabet <= MAX_ALPHABET):
            raise FormatError(
                f"a tensor of shape {spec.shape} with {spec.alphabet} codes; a file allows fewer than 2^48 elements "
                f"and 1 to 65536 codes"
            )
    plain = [(spec.shape, spec.sparse, spec.alphabet) for spec in specs]
    parts = decode(np.frombuffer(data, np.uint8), plain, max(0, min(max_entries, 2**63 - 1)))
    return [Indices(spec, positions, codes) for spec, (positions, codes) in zip(specs, parts, strict=True)]


def decode_bytes(coder: str, data: Bytes, columns: Sequence[NDArray[np.uint8]]) -> int:
    """What fast.decode_bytes_into does."""
    taken: int = native_function(f"{coder}_decode_bytes")(np.frombuffer(data, np.uint8), list(columns))
    return taken


def _plain(indices: Indices) -> tuple[tuple[int, ...], bool, int, Any, Any]:
    spec = indices.spec
    if spec.sparse != (indices.positions is not None):
        raise WeightError(f"positions belong to sparse indices and to them only; sparse={spec.sparse}")
    if not (spec.size < MAX_SIZE and 1 <= spec.alphabet <= MAX_ALPHABET):
        raise WeightError(f"{spec.size} elements with {spec.alphabet} codes; at most 2^48 and 65536 can be coded")
    codes = np.asarray(indices.codes)
    if codes.size and int(codes.max()) >= spec.alphabet:
        raise WeightError(f"code {int(codes.max())} in an alphabet of {spec.alphabet}")
    positions = None if indices.positions is None else np.ascontiguousarray(indices.positions, dtype=np.int64)
    narrow = np.uint8 if spec.alphabet <= 256 else np.uint16
    return spec.shape, spec.sparse, spec.alphabet, positions, np.ascontiguousarray(codes, dtype=narrow)


def native_function(name: str) -> Any:
    """The function of the compiled part; raises NativeMissing when that is absent."""
    try:
        native = importlib.import_module("lissome._native")
    except ImportError as error:
        raise NativeMissing(
            f"{name} needs the compiled part of lissome, which cannot be imported ({error}): pip install ."
        ) from error
    return getattr(native, name)
