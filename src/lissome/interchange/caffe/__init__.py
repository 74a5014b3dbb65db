"""Caffe's network descriptions with Deep Compression's coded weights, as their authors published them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lissome.errors import FormatError
from lissome.interchange.caffe import layers, prototxt, streams
from lissome.network import Network

MAX_BYTES: Final = 2**31


def from_caffe(description: str | os.PathLike[str], weights: str | os.PathLike[str]) -> Network:
    """The Network of a Caffe description (.prototxt) and a file of Deep Compression's streams (.net).

    Codes, codebooks and the places of what was not pruned stay exactly as they are in the file: each weight is a
    Sparse of a Codebook, `<layer>.weight`, each bias a Dense, `<layer>.bias`. The network takes what Caffe's takes: for
    SqueezeNet images (N, 3, 227, 227), blue first, 0 to 255, less the means (104, 117, 123).
    Both files are untrusted. Raises FormatError naming the file and the line or layer, UnsupportedShape listing every
    layer whose type is not supported, OSError.
    """
    text = _read(description, prototxt.MAX_CHARACTERS)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{os.fspath(description)}: not UTF-8 text ({error})") from None
    graph, weighted = layers.build(prototxt.parse(decoded, os.fspath(description)))
    return Network(graph, streams.read(_read(weights, MAX_BYTES), weighted, os.fspath(weights)))


def _read(path: str | os.PathLike[str], limit: int) -> bytes:
    size = Path(path).stat().st_size
    if size > limit:
        raise FormatError(f"{os.fspath(path)}: {size:,} bytes; at most {limit:,} are read")
    return Path(path).read_bytes()
