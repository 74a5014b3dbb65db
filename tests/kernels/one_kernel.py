"""One kernel on one problem, through the native Builder: what the kernel tests run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lissome.graph.conv_shape import ConvShape, GemmShape, PoolShape
from lissome.runtime import algorithms, kernels, layout
from lissome.runtime.kernels import Choice
from lissome.runtime.native import native
from lissome.runtime.step import NONE, Activation
from lissome.weights import CodedWeight


def names(prefix: str) -> list[str]:
    """Full names of the kernels that this machine runs and that begin with `prefix`."""
    return [name for name, *_ in native.kernels() if name.startswith(prefix)]


def choice(kernel: str) -> Choice:
    """A forced choice of this kernel."""
    return Choice(kernel, "forced by a test", "sparse" in kernel or "coded" in kernel)


def step(builder: native.Builder, kernel: str, ends: tuple[int, int], ints: tuple[int, ...], **options: Any) -> None:
    """One step from ends[0] to ends[1]. options: weights, bias, and relu."""
    activation = ("relu" if options.pop("relu", False) else "none", 0.0, 0.0)
    builder.step(kernel, [ends[0]], [ends[1]], ints, activation=activation, **options)


def run(builder: native.Builder, inputs: list[np.ndarray], shape: tuple[int, ...], workers: int) -> np.ndarray:
    """Build the one-step program and run it; memory around the output must stay as it was."""
    guard, count = 64, math.prod(shape)
    memory = np.full(count + 2 * guard, np.float32(12345.5))
    program = builder.build([workers])
    program.run([np.ascontiguousarray(x).reshape(-1) for x in inputs], [memory[guard:-guard]], None)
    assert (memory[:guard] == 12345.5).all()
    assert (memory[-guard:] == 12345.5).all()
    return memory[guard:-guard].reshape(shape)


def gemm(
    kernel: str, x: np.ndarray, weight: CodedWeight, bias: np.ndarray | None, *, relu: bool = False, workers: int = 1
) -> np.ndarray:
    """The product x · weightᵀ + bias by `kernel`."""
    shape = GemmShape(x.shape[0], *weight.shape)
    packed = kernels.pack_gemm(weight, shape, choice(kernel), transposed=True)
    builder = native.Builder()
    ends = builder.input(x.size, 0), builder.output(shape.m * shape.n, 0)
    step(builder, kernel, ends, shape.values(), weights=packed, bias=bias, relu=relu)
    return run(builder, [x], (shape.m, shape.n), workers)


def conv(
    kernel: str,
    x: np.ndarray,
    weight: CodedWeight,
    bias: np.ndarray | None,
    shape: ConvShape,
    *,
    residual: np.ndarray | None = None,
    activation: Activation = NONE,
    workers: int = 1,
) -> np.ndarray:
    """The convolution of x with weight, plus bias and residual, by `kernel`. Plain arrays in and out."""
    algorithm, layer = algorithms.of_kernel(kernel), algorithms.Layer(shape, 1.0, kernel.rpartition("_")[2])
    block_in, block_out = kernels.blocks(kernel)
    packed = algorithm.pack(weight, shape, kernel)
    out = layout.extents(shape.n, shape.k, shape.p, shape.q, block_out)
    inputs = [layout.to_blocked(x, block_in)]
    if residual is not None:
        inputs.append(layout.to_blocked(residual, block_out))
    builder = native.Builder()
    numbers = [builder.input(array.size, i) for i, array in enumerate(inputs)]
    y = builder.output(math.prod(out), 0)
    builder.step(kernel, numbers, [y], algorithm.ints(layer), (), packed, bias, activation)
    result = run(builder, inputs, out, workers)
    if block_out > 1 and np.isfinite(x).all():
        assert not result[:, -1, :, :, (shape.k - 1) % block_out + 1 :].any(), "zeros behind the last channel"
    return layout.to_plain(result, shape.k, block_out)


def pool(kernel: str, x: np.ndarray, shape: PoolShape, *, workers: int = 1) -> np.ndarray:
    """The pooling of x by `kernel`, in its layout."""
    block, _ = kernels.blocks(kernel)
    x, out = layout.to_blocked(x, block), (shape.n, shape.c, shape.p, shape.q)
    written = layout.extents(*out, block)
    builder = native.Builder()
    ends = builder.input(x.size, 0), builder.output(math.prod(written), 0)
    step(builder, kernel, ends, shape.values())
    return layout.to_plain(run(builder, [x], written, workers), shape.c, block)
