"""`compile`: the one function that knows both the packer and the engine, which do not import each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lissome.network import Network

if TYPE_CHECKING:
    from lissome.runtime.engine import Engine


def compile(
    net: Network | str | os.PathLike[str],
    *,
    threads: int | None = None,
    isa: str | None = None,
    kernels: Mapping[str, str] | None = None,
    tune: str = "off",
    memory: float | None = None,
) -> Engine:
    """Make an Engine from a network or from the path of a `.liss` or `.onnx` file.

    threads: at most this many, one a processor core when None; small layers use fewer. isa: "scalar", "avx2",
    "avx512" or "neon" instead of the widest that this machine has. kernels: the algorithm of a convolution by its
    node's name (`{"conv1": "im2col"}`; see docs/kernels.md), instead of the one that the cost model prefers.
    tune: how else algorithms are chosen. "off": by the cost model, the same on every machine but a calibrated one
    (`lissome tune --calibrate`). "quick": by what was measured on this machine before, and by measuring for some
    milliseconds the layers that never were. "full": by measuring every layer anew, seconds each at most. What is
    measured is kept in `lissome.runtime.tune.default_path()`.
    memory: packed weights take at most this many times the memory of the dense float32 ones, 1 or more; None: whatever
    makes the network fastest, which is several times where Winograd's filters are. Not with `tune`.
    Raises UnsupportedShape listing every operator the engine does not have, or for an algorithm that cannot do its
    layer; ValueError for another `tune` or `memory`; OSError when measurements cannot be kept; what `load` and
    `from_onnx` raise for a bad file.
    """
    from lissome.runtime.engine import Engine
    from lissome.runtime.held import Held

    held = Held.of(net if isinstance(net, Network) else _read(net))
    del net  # a network that nobody else keeps goes weight by weight
    return Engine(held, threads=threads, isa=isa, kernels=kernels, tune=tune, memory=memory)


def _read(path: str | os.PathLike[str]) -> Network:
    if os.fspath(path).endswith(".onnx"):
        from lissome.interchange.onnx import from_onnx

        return from_onnx(path)
    from lissome.pack.container import load

    return load(path)
