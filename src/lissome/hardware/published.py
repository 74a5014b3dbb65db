"""Published figures that the models are judged by, and the layers they were measured on. Sources at each table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware import array
from lissome.hardware.eyeriss import Mapping
from lissome.hardware.workload import Assumed, Layer, Workload


@dataclass(frozen=True)
class EieBenchmark:
    """One layer of EIE's tables III and IV (Han et al., ISCA 2016): sizes, densities in %, times in µs at batch 1."""

    name: str
    inputs: int
    outputs: int
    weight_percent: float
    input_percent: float
    cpu_us: float
    gpu_us: float
    mobile_gpu_us: float
    theoretical_us: float
    actual_us: float


EIE_BENCHMARKS: Final = (
    EieBenchmark("Alex-6", 9216, 4096, 9, 35.1, 7516.2, 541.5, 12437.2, 28.1, 30.3),
    EieBenchmark("Alex-7", 4096, 4096, 9, 35.3, 6187.1, 243.0, 5765.0, 11.7, 12.2),
    EieBenchmark("Alex-8", 4096, 1000, 25, 37.5, 1134.9, 80.5, 2252.1, 8.9, 9.9),
    EieBenchmark("VGG-6", 25088, 4096, 4, 18.3, 35022.8, 1467.8, 35427.0, 28.1, 34.4),
    EieBenchmark("VGG-7", 4096, 4096, 4, 37.5, 5372.8, 243.0, 5544.3, 7.9, 8.7),
    EieBenchmark("VGG-8", 4096, 1000, 23, 41.1, 774.2, 80.5, 2243.1, 7.3, 8.4),
    EieBenchmark("NT-We", 4096, 600, 10, 100, 605.0, 65.0, 1316.0, 5.2, 8.0),
    EieBenchmark("NT-Wd", 600, 8791, 11, 100, 1361.4, 90.1, 2565.5, 13.0, 13.9),
    EieBenchmark("NT-LSTM", 1201, 2400, 10, 100, 470.5, 51.9, 956.9, 6.5, 7.5),
)
# Table V: watts of the CPU (Core i7-5930K), GPU (Titan X), mobile GPU (Tegra K1) and EIE; area of 64 PEs.
EIE_WATTS: Final = {"cpu": 73.0, "gpu": 159.0, "mobile_gpu": 5.1, "eie": 0.59}
EIE_AREA_MM2: Final = 40.8
# Geometric means that table IV gives (the paper's headline: 189×, 13×, 307×), and of energy.
EIE_SPEEDUPS: Final = {"cpu": 193.9, "gpu": 13.2, "mobile_gpu": 314.0}
EIE_ENERGY_RATIOS: Final = {"cpu": 24_000.0, "gpu": 3_400.0, "mobile_gpu": 2_700.0}
# Density of the columns that meet a non-zero input, in %, at which `random_places(seed=0)` has the entries of table
# IV's theoretical row. FITTED to that row: table III's densities are rounded to a whole per cent and are averages over
# all columns. The actual row is then predicted.
EIE_FITTED_PERCENT: Final = {
    "Alex-6": 9.12, "Alex-7": 8.25, "Alex-8": 29.58, "VGG-6": 5.43, "VGG-7": 4.17,
    "VGG-8": 22.19, "NT-We": 10.75, "NT-Wd": 11.35, "NT-LSTM": 10.44,
}  # fmt: skip


@dataclass(frozen=True)
class TpuWorkload:
    """One of the six of Jouppi et al., ISCA 2017: table 1, and in % of cycles the rows of table 3."""

    name: str
    batch: int
    weights_m: float
    macs_per_weight: int
    active: float
    useful: float
    weight_stall: float
    weight_shift: float
    non_matrix: float
    measured_tops: float


TPU_WORKLOADS: Final = (
    TpuWorkload("MLP0", 200, 20, 200, 12.7, 12.5, 53.9, 15.9, 17.5, 12.3),
    TpuWorkload("MLP1", 168, 5, 168, 10.6, 9.4, 44.2, 13.4, 31.9, 9.7),
    TpuWorkload("LSTM0", 64, 52, 64, 8.2, 8.2, 58.1, 15.8, 17.9, 3.7),
    TpuWorkload("LSTM1", 96, 34, 96, 10.5, 6.3, 62.1, 17.1, 10.3, 2.8),
    TpuWorkload("CNN0", 8, 8, 2888, 78.2, 78.2, 0.0, 0.0, 21.8, 86.0),
    TpuWorkload("CNN1", 32, 100, 1750, 46.2, 22.5, 28.1, 7.0, 18.7, 14.1),
)
TPU_ATTAINABLE_TOPS: Final = {"MLP0": 13.6, "MLP1": 11.424, "LSTM0": 4.352, "LSTM1": 6.528, "CNN0": 92.0, "CNN1": 92.0}
TPU_RIDGES: Final = {"tpu-roofline": 1350.0, "haswell": 13.0, "k80": 9.0}


def tpu_layers(name: str) -> tuple[Layer, ...]:
    """Layers that have the published number of layers, weights, batch and multiply-adds a weight.

    Their sizes are not published, so that equal layers are ASSUMED. Fully connected ones are square, but for the 600
    inputs of LSTM1, which the paper mentions, and for LSTM0's multiples of 256: none of its array is unused. CNN0 works
    on boards of 19 × 19: 19 · 19 · 8 = 2888, its multiply-adds a weight. The channels of CNN1 are FITTED to its unused
    multiply-adds.
    """
    w = next(workload for workload in TPU_WORKLOADS if workload.name == name)
    match name:
        case "MLP0":
            return (_fc(w.batch, 2000, 2000),) * 5
        case "MLP1":
            return (_fc(w.batch, 1118, 1118),) * 4
        case "LSTM0":
            products = (_fc(w.batch, 1024, 2048),) * 18 + (_fc(w.batch, 1536, 1536),) * 6
            return products + (_vector(w.batch * 2048),) * 34
        case "LSTM1":
            return (_fc(w.batch, 600, 1532),) * 37 + (_vector(w.batch * 1532),) * 19
        case "CNN0":
            first = _conv(w.batch, 48, 256, 19, 5)
            return (first, *(_conv(w.batch, 256, 256, 19, 3),) * 13, *(_conv(w.batch, 256, 256, 19, 1),) * 2)
    convs, pools = (_conv(w.batch, 144, 144, 20, 3),) * 72, (_vector(w.batch * 144 * 100 * 4),) * 13
    return convs + pools + (_fc(w.batch, 4653, 4653),) * 4


def _fc(batch: int, inputs: int, outputs: int) -> Layer:
    return Layer("fc", "Gemm", batch * inputs, batch * outputs, product=ConvShape(batch, inputs, 1, 1, outputs, 1, 1))


def _conv(batch: int, channels: int, filters: int, side: int, window: int) -> Layer:
    pad = window // 2
    shape = ConvShape(
        batch, channels, side, side, filters, window, window,
        pad_top=pad, pad_left=pad, pad_bottom=pad, pad_right=pad,
    )  # fmt: skip
    return Layer("conv", "Conv", batch * channels * side**2, batch * filters * side**2, product=shape)


def _vector(elements: int) -> Layer:
    return Layer("vector", "Mul", elements, elements, operations=elements)


@dataclass(frozen=True)
class EyerissLayer:
    """One layer of the tables III, V and VI of Chen et al., JSSC 2017. zeros: of its inputs, in %, and of
    the next layer's: where pooling lies between there were more. 0 after the last.
    """

    name: str
    layer: Layer
    mapping: Mapping
    latency_ms: float
    active: float
    zeros: float
    next_zeros: float
    dram_mb: float
    power_mw: float
    buffer_mb: float


def _eyeriss(batch: int, sizes: tuple[int, int, int, int], pad: int, groups: int = 1, stride: int = 1) -> Layer:
    """sizes: channels, side, filters, window."""
    channels, side, filters, window = sizes
    pads = {"pad_top": pad, "pad_left": pad, "pad_bottom": pad, "pad_right": pad}
    shape = ConvShape(batch, channels, side, side, filters, window, window, groups, stride, stride, **pads)
    return Layer("conv", "Conv", batch * channels * side**2, batch * filters * shape.p**2, product=shape)


# Batch 4; mappings of table III.
EYERISS_ALEXNET: Final = (
    EyerissLayer(
        "CONV1",
        _eyeriss(4, (3, 227, 96, 11), 0, 1, 4),
        Mapping(96, 1, 7, 16, 1, 1, 2),
        16.5,
        154,
        0.01,
        38.7,
        5.0,
        332,
        18.5,
    ),
    EyerissLayer(
        "CONV2",
        _eyeriss(4, (96, 27, 256, 5), 2, 2),
        Mapping(64, 1, 27, 16, 2, 1, 1),
        39.2,
        135,
        38.7,
        72.5,
        4.0,
        288,
        77.6,
    ),
    EyerissLayer(
        "CONV3",
        _eyeriss(4, (256, 13, 384, 3), 1),
        Mapping(64, 4, 13, 16, 4, 1, 4),
        21.8,
        156,
        72.5,
        79.3,
        3.0,
        266,
        50.2,
    ),
    EyerissLayer(
        "CONV4",
        _eyeriss(4, (384, 13, 384, 3), 1, 2),
        Mapping(64, 4, 13, 16, 3, 2, 2),
        16.0,
        156,
        79.3,
        77.6,
        2.1,
        235,
        37.4,
    ),
    EyerissLayer(
        "CONV5",
        _eyeriss(4, (384, 13, 256, 3), 1, 2),
        Mapping(64, 4, 13, 16, 3, 2, 2),
        10.0,
        156,
        77.6,
        0,
        1.3,
        236,
        24.9,
    ),
)
# Batch 3. The paper gives no mappings: channels in a pass (q · r) are FITTED to table VI's accesses of the buffer, the
# rest follows from its active PEs and the capacities.
_VGG_MAPPINGS: Final = {
    224: Mapping(16, 1, 13, 4, 1, 1, 4),
    112: Mapping(32, 1, 13, 8, 1, 1, 4),
    56: Mapping(64, 1, 13, 16, 2, 1, 4),
    28: Mapping(64, 1, 14, 16, 4, 1, 4),
    14: Mapping(64, 3, 14, 16, 4, 2, 2),
}
_VGG: Final = (
    ("CONV1-1", 3, 224, 64, 38.0, 156, 1.6, 47.7, 15.4, 247, 112.6),
    ("CONV1-2", 64, 224, 64, 810.6, 156, 47.7, 24.8, 54.0, 218, 2402.8),
    ("CONV2-1", 64, 112, 128, 405.3, 156, 24.8, 38.7, 33.4, 242, 1201.4),
    ("CONV2-2", 128, 112, 128, 810.8, 156, 38.7, 39.7, 48.5, 231, 2402.8),
    ("CONV3-1", 128, 56, 256, 204.0, 156, 39.7, 58.1, 20.2, 254, 607.4),
    ("CONV3-2", 256, 56, 256, 408.1, 156, 58.1, 58.7, 32.2, 235, 1214.8),
    ("CONV3-3", 256, 56, 256, 408.1, 156, 58.7, 64.3, 30.8, 233, 1214.8),
    ("CONV4-1", 256, 28, 512, 105.1, 168, 64.3, 74.7, 17.8, 278, 321.8),
    ("CONV4-2", 512, 28, 512, 210.0, 168, 74.7, 85.4, 28.6, 261, 643.7),
    ("CONV4-3", 512, 28, 512, 210.0, 168, 85.4, 79.4, 22.8, 240, 643.7),
    ("CONV5-1", 512, 14, 512, 48.3, 168, 79.4, 87.4, 6.3, 258, 90.0),
    ("CONV5-2", 512, 14, 512, 48.5, 168, 87.4, 88.5, 5.7, 236, 90.0),
    ("CONV5-3", 512, 14, 512, 48.5, 168, 88.5, 0, 5.6, 230, 90.0),
)
EYERISS_VGG: Final = tuple(
    EyerissLayer(name, _eyeriss(3, (c, side, k, 3), 1), _VGG_MAPPINGS[side], *figures)
    for name, c, side, k, *figures in _VGG
)


def _square(channels: int, side: int, filters: int, window: int, stride: int = 1) -> ConvShape:
    """A square convolution of inputs that hold their padding."""
    return ConvShape(1, channels, side, side, filters, window, window, stride_h=stride, stride_w=stride)


# ResNet-18's layers that differ, on inputs with their padding; what `bench/peers/zigzag_mappings.py` maps.
RESNET18: Final = {
    "conv1": _square(3, 229, 64, 7, 2),
    "layer1": _square(64, 58, 64, 3),
    "layer2 first": _square(64, 57, 128, 3, 2),
    "layer2 shortcut": _square(64, 55, 128, 1, 2),
    "layer2": _square(128, 30, 128, 3),
    "layer3 first": _square(128, 29, 256, 3, 2),
    "layer3 shortcut": _square(128, 27, 256, 1, 2),
    "layer3": _square(256, 16, 256, 3),
    "layer4 first": _square(256, 15, 512, 3, 2),
    "layer4 shortcut": _square(256, 13, 512, 1, 2),
    "layer4": _square(512, 9, 512, 3),
    "fc": _square(512, 1, 1000, 1),
}
# The arrays on which mappings are compared with ZigZag's. Outputs keep the 16 bits of sums: ZigZag takes the room of
# finished outputs for sums that still grow.
MAPPER_ARRAYS: Final = {
    "weight": dataclasses.replace(array.weight_stationary(), output_bits=16),
    "output": dataclasses.replace(array.output_stationary(), output_bits=16),
}

# AlexNet in Yang et al., CVPR 2017, table 2, at batch 48: multiply-adds of values that are not zero, and energy in
# multiply-adds. RECALLED: our sheet of figures lacks them. Densities of weights are Deep Compression's, in %; zeros of
# inputs Eyeriss's (table V) and EIE's (table III).
YANG_BATCH: Final = 48
YANG_ALEXNET: Final = {"dense": (3.71e8, 3.97e9), "pruned": (1.79e8, 1.85e9)}
_PRUNED_PERCENT: Final = (84, 38, 35, 37, 37, 9, 9, 25)


def yang_alexnet(which: str) -> Workload:
    """AlexNet's convolutions and fully connected layers at batch 48, "dense" or "pruned", with 16-bit weights."""
    layers = [dataclasses.replace(e.layer, name=e.name, input_density=1 - e.zeros / 100) for e in EYERISS_ALEXNET]
    for name, benchmark in zip(("FC6", "FC7", "FC8"), EIE_BENCHMARKS, strict=False):
        fc = _fc(YANG_BATCH, benchmark.inputs, benchmark.outputs)
        layers.append(dataclasses.replace(fc, name=name, input_density=benchmark.input_percent / 100))
    found = []
    for layer, percent in zip(layers, _PRUNED_PERCENT, strict=True):
        if layer.product is None:
            raise HardwareError(f"{layer.name} has no product")
        shape = dataclasses.replace(layer.product, n=YANG_BATCH)
        weight = Assumed((shape.k, shape.depth), percent / 100 if which == "pruned" else 1.0, 16)
        inputs, outputs = shape.n * shape.c * shape.h * shape.w, shape.n * shape.k * shape.p * shape.q
        whole = dataclasses.replace(layer, product=shape, weight=weight, inputs=inputs, outputs=outputs)
        found.append(dataclasses.replace(whole, parameters=weight.nnz))
    return Workload(tuple(found), YANG_BATCH, f"AlexNet, {which}")
