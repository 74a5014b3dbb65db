"""How fast is each algorithm on the layers of the field's networks, and against the peers?

    python bench/convolutions.py [--quick] [--shapes vgg ...] [--seconds S] [--threads N] [--json PATH]

Layers of bench/shapes/*.txt, batch 1, float32. Every algorithm of lissome that can do a layer runs on tensors in its
own layout, with weights packed beforehand, as within a network; torch (oneDNN) runs on plain tensors and on
channels_last, the faster of which counts, and ONNX Runtime a model of this one convolution. Outputs are compared first;
then all take turns in one process, and the least time of each counts: of one thread its processor time, which other
programs on the machine add little to, of more threads the time on the wall. GFLOP/s are those of the direct sum, two
for a multiply-add, so that algorithms that save multiplications can be above the machine's peak, of which the share is
printed. of L2, for depthwise layers: input, output and weight over the time, as a share of the measured reading from
the second cache. Workspace: memory besides input, output and weights; of lissome only, as the peers do not tell.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import functional, kernels, layout
from lissome.runtime.algorithms import ALGORITHMS, Layer
from lissome.runtime.machine import peak_gflops, read_gbps

SHAPES = Path(__file__).parent / "shapes"
QUICK = {"vgg": ("conv1_2", "conv3_2", "conv4_2"), "resnet": ("conv2_b", "conv4_b", "conv4_c"), "mobilenet": ("pw5",)}


@dataclass(frozen=True)
class Row:
    """One algorithm or peer on one layer. workspace_bytes: None where it is not known. of_l2: None but for depthwise
    layers, which a second cache limits as much as multiply-adds do.
    """

    network: str
    layer: str
    shape: str
    who: str
    seconds: float
    gflops: float
    of_peak: float
    of_l2: float | None
    workspace_bytes: int | None


def read_shapes(network: str) -> dict[str, ConvShape]:
    """The layers of bench/shapes/<network>.txt by name."""
    found = {}
    for line in (SHAPES / f"{network}.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, *values = line.split()
            c, h, w, k, r, s, stride, pad, *groups = map(int, values)
            found[name] = ConvShape(1, c, h, w, k, r, s, groups[0] if groups else 1, stride, stride, 1, 1, *(pad,) * 4)
    return found


def arrays(shape: ConvShape) -> tuple[np.ndarray, np.ndarray]:
    """A normal input and weight of this shape."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((shape.k, shape.c // shape.groups, shape.r, shape.s), dtype=np.float32)
    weight /= np.float32(np.sqrt(shape.depth))
    return rng.standard_normal((1, shape.c, shape.h, shape.w), dtype=np.float32), weight


def ours(shape: ConvShape, x: np.ndarray, w: np.ndarray, threads: int) -> dict[str, tuple[Callable[[], object], int]]:
    """A call and the workspace of every algorithm that can do the layer; each is compared with torch first."""
    isa = kernels.instruction_sets()[0]
    want = torch_call(shape, x, w, channels_last=False)().numpy()
    found = {}
    for algorithm in ALGORITHMS:
        if algorithm.sparse or algorithm.refuses(Layer(shape, 1.0, isa)):
            continue
        ready = functional.prepare(shape, w, None, kernel=algorithm.name, threads=threads, isa=isa)
        error = np.abs(ready(x) - want).max() / np.abs(want).max()
        if not error < 1e-4:
            raise SystemExit(f"{algorithm.name} is off by {error:.1e} on {shape}")
        blocked = layout.to_blocked(x, kernels.blocks(ready.kernel)[0]).reshape(-1)
        y = np.empty(int(np.prod(ready.writes)), np.float32)
        call = lambda ready=ready, blocked=blocked, y=y: ready.program.run([blocked], [y], None)  # noqa: E731
        found[algorithm.name] = (call, ready.workspace_bytes)
    return found


def torch_call(shape: ConvShape, x: np.ndarray, w: np.ndarray, *, channels_last: bool) -> Callable[[], torch.Tensor]:
    """The convolution of torch, which is oneDNN's."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    tensor, weight = (torch.from_numpy(array).contiguous(memory_format=form) for array in (x, w))
    stride, pads = (shape.stride_h, shape.stride_w), (shape.pad_top, shape.pad_left)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(tensor, weight, None, stride, pads, 1, shape.groups)

    return call


def onnxruntime_call(shape: ConvShape, x: np.ndarray, w: np.ndarray, threads: int) -> Callable[[], object]:
    """ONNX Runtime on a model of this convolution alone."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from peers.runtimes import open_onnxruntime

    pads = [shape.pad_top, shape.pad_left, shape.pad_bottom, shape.pad_right]
    strides = [shape.stride_h, shape.stride_w]
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads, strides=strides, group=shape.groups)
    ends = (
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, shape.k, shape.p, shape.q))],
    )
    graph = helper.make_graph([node], "conv", *ends, [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "conv.onnx")
        onnx.save(model, path)
        run = open_onnxruntime(path, x, threads)
    return lambda: run(x)


def least_seconds(
    calls: dict[str, Callable[[], object]], budget: float, clock: Callable[[], float]
) -> dict[str, float]:
    """The least time of each call, all taking turns for `budget` seconds each; five turns at least."""
    least, spent, turns = dict.fromkeys(calls, np.inf), 0.0, 0
    while turns < 6 or spent < budget * len(calls):
        for name, call in calls.items():
            start = clock()
            call()
            seconds = clock() - start
            spent += seconds
            if turns:  # the first turn warms up
                least[name] = min(least[name], seconds)
        turns += 1
    return least


def measure(network: str, name: str, shape: ConvShape, threads: int, budget: float) -> list[Row]:
    """Rows of one layer, the fastest first."""
    x, w = arrays(shape)
    mine = ours(shape, x, w, threads)
    calls = {f"lissome {algorithm}": call for algorithm, (call, _) in mine.items()}
    calls |= {f"torch {form}": torch_call(shape, x, w, channels_last=form == "nhwc") for form in ("nchw", "nhwc")}
    calls["onnxruntime"] = onnxruntime_call(shape, x, w, threads)
    times = least_seconds(calls, budget, time.thread_time if threads == 1 else time.perf_counter)
    peak = peak_gflops(threads)
    fastest = min(("torch nchw", "torch nhwc"), key=times.__getitem__)
    times = {who: t for who, t in times.items() if not who.startswith("torch") or who == fastest}
    text = f"{shape.c}x{shape.h}x{shape.w} {shape.r}x{shape.s}/{shape.stride_h} -> {shape.k}"
    rows = []
    for who, seconds in sorted(times.items(), key=lambda item: item[1]):
        gflops = 2 * shape.macs / seconds / 1e9
        space = mine[who.removeprefix("lissome ")][1] if who.startswith("lissome") else None
        rows.append(Row(network, name, text, who, seconds, gflops, gflops / peak, share_of_l2(shape, seconds), space))
    return rows


def share_of_l2(shape: ConvShape, seconds: float) -> float | None:
    """Input, output and weight read or written once, over what one thread reads from the second cache meanwhile."""
    if not shape.groups == shape.c == shape.k:
        return None
    floats = shape.c * (shape.h * shape.w + shape.p * shape.q + shape.r * shape.s)
    return 4 * floats / seconds / 1e9 / read_gbps(2)


def print_rows(rows: list[Row]) -> None:
    for number, row in enumerate(rows):
        layer = f"{row.network} {row.layer}: {row.shape}" if number == 0 else ""
        space = "" if row.workspace_bytes is None else f"{row.workspace_bytes / 1024:10,.0f} KiB"
        cache = "" if row.of_l2 is None else f"{row.of_l2:6.0%} of L2"
        print(
            f"{layer:48} {row.who:22} {row.seconds * 1e6:10.0f} us {row.gflops:8.1f} GFLOP/s {row.of_peak:6.0%}{cache}"
            f" {space}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.stem for path in SHAPES.glob("*.txt"))
    parser.add_argument("--shapes", nargs="+", choices=known, default=known)
    parser.add_argument("--quick", action="store_true", help="a few layers, 0.05 seconds each")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each algorithm and peer of a layer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    isa, budget = kernels.instruction_sets()[0], 0.05 if arguments.quick else arguments.seconds
    peak = peak_gflops(arguments.threads, isa)
    print(f"{isa}, {arguments.threads} thread(s), peak {peak:.1f} GFLOP/s, load {os.getloadavg()[0]:.1f}")
    rows: list[Row] = []
    for network in arguments.shapes:
        for name, shape in read_shapes(network).items():
            if not arguments.quick or name in QUICK.get(network, ()):
                rows += (found := measure(network, name, shape, arguments.threads, budget))
                print_rows(found)
    if arguments.json:
        about = {"isa": isa, "threads": arguments.threads, "peak_gflops": peak, "torch": torch.__version__}
        arguments.json.write_text(json.dumps(about | {"rows": [vars(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
