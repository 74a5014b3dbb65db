"""How fast is each algorithm on the layers of the field's networks, and against the peers?

    python bench/convolutions.py [--quick] [--shapes vgg ...] [--isa avx2] [--seconds S] [--threads N] [--ours]
                                 [--add] [--json PATH]

Layers of bench/shapes/*.txt, batch 1, float32. Every algorithm of lissome that can do a layer runs on tensors in its
own layout, with weights packed beforehand, as within a network; torch (oneDNN) runs on plain tensors and on
channels_last, the faster of which counts, and ONNX Runtime a model of this one convolution. Outputs are compared first;
then all take turns in one process, and the least time of each counts: of one thread its processor time, which other
programs on the machine add little to, of more threads the time on the wall. GFLOP/s are those of the direct sum, two
for a multiply-add, so that algorithms that save multiplications can be above the machine's peak, of which the share is
printed, and leaving out what hangs over the edges counts too. "in L2": weights, input and output together fit the
second cache. For depthwise layers, which move many bytes for few operations, those of input, output and weights over
the time are set against what one thread reads from the second cache ("of L2") and copies within it ("of copying", the
same traffic: a stream read and one written). "of bound": the longer of the times for copying them and for the
multiply-adds at their peak, over the time. Workspace: memory besides input, output and weights; of lissome only, as the
peers do not tell. --isa is lissome's alone; --ours leaves the peers out; --add keeps what PATH has of other instruction
sets and layers.
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
from lissome.runtime.machine import cache_bytes, copy_gbps, peak_gflops, read_gbps

LIMIT_S = 0.5  # for each of the machine's limits
SHAPES = Path(__file__).parent / "shapes"
QUICK = {"vgg": ("conv1_2", "conv3_2", "conv4_2"), "resnet": ("conv2_b", "conv4_b", "conv4_c"), "mobilenet": ("pw5",)}


@dataclass(frozen=True)
class Row:
    """One algorithm or peer on one layer. in_l2: whether weights, input and output fit the second cache. of_l2,
    of_copying, of_bound: None but for depthwise layers. workspace_bytes: None where it is not known.
    """

    network: str
    layer: str
    shape: str
    isa: str
    who: str
    seconds: float
    gflops: float
    of_peak: float
    in_l2: bool
    of_l2: float | None
    of_copying: float | None
    of_bound: float | None
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


def aligned(count: int) -> np.ndarray:
    """Floats that begin at a cache line, as all tensors within a network do."""
    whole = np.zeros(count + 16, np.float32)
    first = -whole.ctypes.data // 4 % 16
    return whole[first : first + count]


def ours(
    shape: ConvShape, x: np.ndarray, w: np.ndarray, threads: int, isa: str
) -> dict[str, tuple[Callable[[], object], int]]:
    """A call and the workspace of every algorithm that can do the layer; each is compared with torch first."""
    want = torch_call(shape, x, w, channels_last=False)().numpy()
    found = {}
    for algorithm in ALGORITHMS:
        if algorithm.sparse or algorithm.refuses(Layer(shape, 1.0, isa)):
            continue
        ready = functional.prepare(shape, w, None, kernel=algorithm.name, threads=threads, isa=isa)
        error = np.abs(ready(x) - want).max() / np.abs(want).max()
        if not error < 1e-4:
            raise SystemExit(f"{algorithm.name} is off by {error:.1e} on {shape}")
        laid_out = layout.to_blocked(x, kernels.blocks(ready.kernel)[0]).reshape(-1)
        blocked, y = aligned(laid_out.size), aligned(int(np.prod(ready.writes)))
        blocked[:] = laid_out
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
    """The least time of each call, all taking turns for `budget` seconds each; five turns at least. A turn is as many
    calls as take a fifth of a millisecond, so that the clock does not count, after one that warms the caches up.
    """
    least, spent, turns, repeats = dict.fromkeys(calls, np.inf), 0.0, 0, dict.fromkeys(calls, 1)
    while turns < 6 or spent < budget * len(calls):
        for name, call in calls.items():
            call()
            start = clock()
            for _ in range(repeats[name]):
                call()
            seconds = (clock() - start) / repeats[name]
            spent += seconds * repeats[name]
            if turns == 0:
                repeats[name] = max(1, int(2e-4 / max(seconds, 1e-7)))
            else:
                least[name] = min(least[name], seconds)
        turns += 1
    return least


def measure(network: str, name: str, shape: ConvShape, arguments: argparse.Namespace) -> list[Row]:
    """Rows of one layer, the fastest first."""
    threads, isa, x, w = arguments.threads, arguments.isa, *arrays(shape)
    mine = ours(shape, x, w, threads, isa)
    calls = {f"lissome {algorithm}": call for algorithm, (call, _) in mine.items()}
    if not arguments.ours:
        calls |= {f"torch {form}": torch_call(shape, x, w, channels_last=form == "nhwc") for form in ("nchw", "nhwc")}
        calls["onnxruntime"] = onnxruntime_call(shape, x, w, threads)
    times = least_seconds(calls, arguments.seconds, time.thread_time if threads == 1 else time.perf_counter)
    torches = sorted((who for who in times if who.startswith("torch")), key=times.__getitem__)
    text = f"{shape.c}x{shape.h}x{shape.w} {shape.r}x{shape.s}/{shape.stride_h} -> {shape.k}"
    rows = []
    for who, seconds in sorted(times.items(), key=lambda item: item[1]):
        if who in torches[1:]:
            continue
        gflops = 2 * shape.macs / seconds / 1e9
        space = mine[who.removeprefix("lissome ")][1] if who.startswith("lissome") else None
        peak, fits = peak_gflops(threads, isa, LIMIT_S), traffic(shape) <= cache_bytes()[1]
        shares = depthwise_shares(shape, seconds, gflops / peak, isa)
        rows.append(Row(network, name, text, isa, who, seconds, gflops, gflops / peak, fits, *shares, space))
    return rows


def traffic(shape: ConvShape) -> int:
    """Bytes of input, output and weight."""
    return 4 * (shape.c * shape.h * shape.w + shape.k * (shape.p * shape.q + shape.depth))


def depthwise_shares(
    shape: ConvShape, seconds: float, of_peak: float, isa: str
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Of what one thread reads from the second cache, of what it copies there, and of the bound that copying and
    multiply-adds set together.
    """
    if not shape.groups == shape.c == shape.k:
        return None, None, None
    gbps = traffic(shape) / seconds / 1e9
    of_copying = gbps / copy_gbps(2, 1, isa, LIMIT_S)
    return gbps / read_gbps(2, 1, isa, LIMIT_S), of_copying, max(of_copying, of_peak)


def print_rows(rows: list[Row]) -> None:
    for number, row in enumerate(rows):
        layer = f"{row.network} {row.layer}: {row.shape}{' in L2' if row.in_l2 else ''}" if number == 0 else ""
        space = "" if row.workspace_bytes is None else f"{row.workspace_bytes / 1024:10,.0f} KiB"
        cache = "" if row.of_l2 is None else f"{row.of_l2:6.0%} of L2 {row.of_copying:6.0%} of copying"
        cache += "" if row.of_bound is None else f"{row.of_bound:6.0%} of bound"
        print(
            f"{layer:48} {row.who:22} {row.seconds * 1e6:10.1f} us {row.gflops:8.1f} GFLOP/s {row.of_peak:6.0%}{cache}"
            f" {space}"
        )


def save(path: Path, about: dict[str, object], rows: list[Row], *, add: bool) -> None:
    """Write rows; with `add` after those that the file has of other instruction sets and layers."""
    found = [vars(row) for row in rows]
    if add and path.exists():
        new = {(row.network, row.layer, row.isa) for row in rows}
        kept = json.loads(path.read_text(encoding="utf-8"))["rows"]
        found = [row for row in kept if (row["network"], row["layer"], row["isa"]) not in new] + found
    head = json.dumps(about, indent=1).removesuffix("\n}")
    lines = ",\n".join("  " + json.dumps(row) for row in found)
    path.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.stem for path in SHAPES.glob("*.txt"))
    parser.add_argument("--shapes", nargs="+", choices=known, default=known)
    parser.add_argument("--quick", action="store_true", help="a few layers, 0.05 seconds each")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each algorithm and peer of a layer")
    parser.add_argument("--isa", choices=kernels.instruction_sets(), default=kernels.instruction_sets()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ours", action="store_true", help="no peers")
    parser.add_argument("--add", action="store_true", help="to what the JSON file has")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.quick:
        arguments.seconds = 0.05
    isa, threads = arguments.isa, arguments.threads
    about = {"threads": threads, "peak_gflops": peak_gflops(threads, isa, LIMIT_S), "torch": torch.__version__}
    about |= {"l2_read_gbps": read_gbps(2, 1, isa, LIMIT_S), "l2_copy_gbps": copy_gbps(2, 1, isa, LIMIT_S)}
    print(f"{isa}, load {os.getloadavg()[0]:.1f}: " + ", ".join(f"{name} {value}" for name, value in about.items()))
    rows: list[Row] = []
    for network in arguments.shapes:
        for name, shape in read_shapes(network).items():
            if not arguments.quick or name in QUICK.get(network, ()):
                rows += (found := measure(network, name, shape, arguments))
                print_rows(found)
    if arguments.json:
        save(arguments.json, about, rows, add=arguments.add)


if __name__ == "__main__":
    main()
