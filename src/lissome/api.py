"""What needs parts that do not import each other: `compile` knows packer and engine, `to_int8` methods and engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lissome.errors import RecipeError
from lissome.network import Network

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


def to_int8(
    net: Network,
    samples: NDArray[np.float32],
    *,
    bits: int = 8,
    weights: str = "mse",
    activations: str = "mse",
    batch: int = 8,
    threads: int | None = None,
) -> Network:
    """The network on 8-bit integers: int8 weights with a scale a filter, uint8 activations with a scale a tensor.

    samples: inputs of a network of one input, (N, …), some tens of typical ones, without labels; they run through the
    engine twice, `batch` at once. bits: of a weight, 2 to 8. weights, activations: how ranges are found, "mse" (the
    least squared error), "minmax" or, of activations, "percentile". Batch norms should be folded, as `freeze` and
    `from_onnx` do. The result packs, exports to ONNX, and runs on integers from layer to layer.
    Raises RecipeError for no samples, for activations that are not finite, for options that are none, and when there
    is no layer to quantize; what `compile` raises.
    """
    from lissome.compress.quantize import PostTraining, affine
    from lissome.compress.quantize.ranges import Observed

    chosen, seen = PostTraining(bits, weights, activations), dict[str, Observed]()
    if len(net.graph.inputs) != 1:
        raise RecipeError(f"samples are of one input, but the network has {[spec.name for spec in net.graph.inputs]}")
    engine, name = compile(affine.observing(net), threads=threads), net.graph.inputs[0].name
    for ends in (True, False):
        for part in affine.batches(samples, batch):
            affine.observe(seen, engine.run({name: part}), ends=ends)
    return affine.quantized(net, seen, chosen)


def _read(path: str | os.PathLike[str]) -> Network:
    if os.fspath(path).endswith(".onnx"):
        from lissome.interchange.onnx import from_onnx

        return from_onnx(path)
    from lissome.pack.container import load

    return load(path)
