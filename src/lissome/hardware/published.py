"""Published figures that the models are judged by, and the layers they were measured on. Sources at each table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


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
