"""ONNX in and out (docs/onnx.md). Needs the package onnx, which is imported when a function is called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lissome.errors import MissingExtra
from lissome.graph.ir import Extent
from lissome.network import Network

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["export_onnx", "from_onnx"]


def from_onnx(
    path_or_bytes: str | os.PathLike[str] | bytes,
    *,
    shapes: Mapping[str, Sequence[Extent]] | None = None,
    constants: Mapping[str, ArrayLike] | None = None,
) -> Network:
    """Read an ONNX model (operator sets 11 to 28) from its file, or from bytes when it has no external data.

    shapes: the shape of each input that the model leaves open, or is to have another, by name: ``{"x": ("N", 3, 224,
    224)}``; "N" is the batch, which only the first extent can be. An open first extent is the batch without being told.
    constants: values of inputs that do not change, by name; every input of integers is one, since at run time every
    tensor is float32. Double weights become float32, half and bfloat16 ones are stored as they are, and int8 and uint8
    ones behind a DequantizeLinear of one scale stay codes.

    Raises UnsupportedShape naming every node that has no counterpart, GraphError for a model that contradicts itself,
    FormatError for a damaged or hostile file, WeightError for weights that are not finite, OSError for a file that
    cannot be read, and MissingExtra without the package onnx.
    """
    try:
        from lissome.interchange.onnx.load import load
    except ModuleNotFoundError as error:
        raise _missing(error, "ls.from_onnx") from error
    given = {name: tuple(shape) for name, shape in (shapes or {}).items()}
    return load(path_or_bytes, given, constants or {})


def export_onnx(net: Network, path: str | os.PathLike[str], *, external: bool | None = None) -> int:
    """Write `net` as an ONNX model of operator set 20 and return how many bytes that took.

    Inputs and outputs keep their names, and the batch stays open. Weights whose values lie on a grid of int8 codes are
    written as these codes behind a DequantizeLinear; all others are dense float32. external: whether weights go to a
    file beside the model, ``path.data``; when None, only where they are too many for one file (2 GiB). Each file
    appears whole or not at all, the weights first.

    Raises UnsupportedShape for a graph that operator set 20 cannot say, OSError when the disk refuses, and MissingExtra
    without the package onnx.
    """
    try:
        from lissome.interchange.onnx.save import save
    except ModuleNotFoundError as error:
        raise _missing(error, "ls.export_onnx") from error
    return save(net, path, external=external)


def _missing(error: ModuleNotFoundError, needed_by: str) -> ImportError:
    """The error that says how to install the package onnx, where that is what is missing."""
    return MissingExtra.of("onnx", extra="onnx", needed_by=needed_by) if error.name == "onnx" else error
