"""Every published number that the hardware models reproduce: published / lissome / error.

    python bench/hardware.py [--quick] [--json PATH]

A row marked "fitted" was used to set a constant, and its error says nothing. --quick leaves out EIE's large layers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lissome.graph.conv_shape import ConvShape
from lissome.hardware import EIE, TPU, DaDianNao, Eyeriss, Layer, energy, published
from lissome.hardware.eie import Timing, random_inputs, random_places
from lissome.hardware.eie_pack import Places
from lissome.hardware.published import EieBenchmark
from lissome.hardware.roofline import MACHINES
from lissome.hardware.tpu import Counters


@dataclass(frozen=True)
class Row:
    """One figure. points: the error is a difference in percentage points instead of a share."""

    machine: str
    figure: str
    unit: str
    published: float
    lissome: float
    fitted: bool = False
    points: bool = False

    @property
    def error(self) -> float:
        """Relative to the published figure, or in points."""
        return self.lissome - self.published if self.points else self.lissome / self.published - 1

    def __str__(self) -> str:
        error = f"{self.error:+7.1f} points" if self.points else f"{100 * self.error:+7.1f} %"
        mark = "  fitted" if self.fitted else ""
        values = f"{self.published:12,.4g} {self.lissome:12,.4g}"
        return f"{self.machine:9} {self.figure:44} {values} {self.unit:9} {error}{mark}"


def energy_rows() -> Iterator[Row]:
    """Horowitz's operations, and the ratios quoted from them."""
    for figure, value, own in (
        ("32-bit int add", 0.1, energy.ADD_PJ["int32"]),
        ("32-bit float add", 0.9, energy.ADD_PJ["float32"]),
        ("32-bit register", 1.0, energy.REGISTER_PJ),
        ("32-bit int multiply", 3.1, energy.MULTIPLY_PJ["int32"]),
        ("32-bit float multiply", 3.7, energy.MULTIPLY_PJ["float32"]),
        ("32-bit SRAM, 8 KiB", 5.0, energy.sram_pj(8192)),
        ("32-bit DRAM", 640.0, energy.DRAM_PJ),
    ):
        yield Row("energy", figure, "pJ", value, own, fitted=True)
    add, multiply = energy.ADD_PJ["float32"] / energy.ADD_PJ["int8"], energy.MULTIPLY_PJ["float32"]
    yield Row("energy", "add, float32 over int8", "×", 30, add)
    yield Row("energy", "multiply, float32 over int8", "×", 18.5, multiply / energy.MULTIPLY_PJ["int8"])
    yield Row("energy", "area of add", "×", 116, energy.ADD_UM2["float32"] / energy.ADD_UM2["int8"])
    yield Row("energy", "area of multiply", "×", 27.5, energy.MULTIPLY_UM2["float32"] / energy.MULTIPLY_UM2["int8"])


def eie_timing(benchmark: EieBenchmark, percent: float, machine: EIE) -> Timing:
    """The benchmark's layer, its weights drawn at this density in per cent."""
    places = random_places(benchmark.outputs, benchmark.inputs, percent / 100, 0)
    active = random_inputs(benchmark.inputs, benchmark.input_percent / 100)
    return machine.time(benchmark.outputs, benchmark.inputs, places, active)


def eie_rows(quick: bool) -> Iterator[Row]:
    """Tables IV and V."""
    machine, micro = EIE(), 1e6 / EIE().clock_hz
    benchmarks = [b for b in published.EIE_BENCHMARKS if not quick or b.inputs * b.outputs < 5_000_000]
    times: dict[str, float] = {}
    for b in benchmarks:
        fitted = eie_timing(b, published.EIE_FITTED_PERCENT[b.name], machine)
        plain = eie_timing(b, b.weight_percent, machine)
        times[b.name] = fitted.cycles * micro
        yield Row(
            "eie", f"{b.name} theoretical", "µs", b.theoretical_us, fitted.theoretical_cycles * micro, fitted=True
        )
        yield Row("eie", f"{b.name} actual", "µs", b.actual_us, times[b.name])
        yield Row("eie", f"{b.name} actual, densities of table III", "µs", b.actual_us, plain.cycles * micro)
    yield Row("eie", "power of 64 PEs", "W", published.EIE_WATTS["eie"], machine.watts)
    yield Row("eie", "area of 64 PEs", "mm²", published.EIE_AREA_MM2, machine.area_mm2)
    if quick:
        return
    for other, speedup in published.EIE_SPEEDUPS.items():
        mean = math.exp(np.mean([math.log(getattr(b, f"{other}_us") / times[b.name]) for b in benchmarks]))
        saving = mean * published.EIE_WATTS[other] / machine.watts
        yield Row("eie", f"speed over {other}, geometric mean", "×", speedup, mean)
        yield Row("eie", f"energy over {other}, geometric mean", "×", published.EIE_ENERGY_RATIOS[other], saving)
    frames = 1e6 / sum(times[name] for name in ("Alex-6", "Alex-7", "Alex-8"))
    yield Row("eie", "AlexNet, fully connected layers", "frames/s", 18_800, frames)


def eie_studies() -> None:
    """Load efficiency by queue depth and by balance; speed and fillers by number of PEs. The paper draws them."""
    by_name = {b.name: b for b in published.EIE_BENCHMARKS}
    depths, counts = (1, 2, 4, 8, 16, 64, 256), (1, 4, 16, 64, 256)
    print("\nEIE: share of PE cycles with work, by queue depth")
    print(f"{'':10}" + "".join(f"{depth:>8}" for depth in depths))
    for name in ("Alex-7", "VGG-7", "NT-We", "NT-LSTM"):
        b = by_name[name]
        row = [eie_timing(b, b.weight_percent, EIE(queue_depth=depth)).load_efficiency for depth in depths]
        print(f"{name:10}" + "".join(f"{100 * value:7.1f}%" for value in row))
    print("\nEIE: speed over one PE, and entries for each non-zero, by PEs")
    print(f"{'':10}" + "".join(f"{count:>16}" for count in counts))
    for name in ("VGG-7", "NT-We", "NT-LSTM"):
        b = by_name[name]
        places = random_places(b.outputs, b.inputs, b.weight_percent / 100, 0)
        active = random_inputs(b.inputs, b.input_percent / 100)
        cells, base = [], 0
        for pes in counts:
            # As many registers and as much SRAM as the layer needs: the study is of balance, not of capacity.
            machine = EIE(pes=pes, register_words=-(-4096 // pes), weight_bytes=2**24)
            cycles = machine.time(b.outputs, b.inputs, places, active).cycles
            base = base or cycles
            each = Places.of(b.outputs, b.inputs, places, pes).entries().sum() / places.size
            cells.append(f"{base / cycles:9.1f}, {each:5.2f}")
        print(f"{name:10}" + "".join(f"{cell:>16}" for cell in cells))
    print("\nEIE: pruning with equal shares for the PEs (ESE's) against free pruning, time at the same density")
    for name in ("VGG-7", "NT-LSTM", "NT-We"):
        b = by_name[name]
        active = random_inputs(b.inputs, b.input_percent / 100)
        free, even = (
            EIE().time(
                b.outputs, b.inputs, random_places(b.outputs, b.inputs, b.weight_percent / 100, 0, **how), active
            )
            for how in ({}, {"balanced_over": 64})
        )
        gain = free.cycles / even.cycles
        print(f"{name:10} {gain:.2f}× (work {100 * free.load_efficiency:.0f} → {100 * even.load_efficiency:.0f} %)")


def roofline_rows() -> Iterator[Row]:
    """The TPU paper's points and ridges; NVIDIA's peaks."""
    tpu = MACHINES["tpu-roofline"]
    for w in published.TPU_WORKLOADS:
        bound = published.TPU_ATTAINABLE_TOPS[w.name]
        yield Row("roofline", f"TPU, {w.name} attainable", "Top/s", bound, tpu.attainable(w.macs_per_weight) / 1e12)
    for name, ridge in published.TPU_RIDGES.items():
        yield Row("roofline", f"{name}, ridge", "MAC/B", ridge, MACHINES[name].ridge)


def tpu_rows() -> Iterator[Row]:
    """Table 3 of the TPU paper: shares of cycles in points."""
    for w in published.TPU_WORKLOADS:
        found = sum((TPU().counters(layer) for layer in published.tpu_layers(w.name)), Counters())
        share = {
            "active": found.active,
            "useful": found.useful_macs,
            "weight_stall": found.weight_stall,
            "weight_shift": found.weight_shift,
            "non_matrix": found.non_matrix,
        }
        for kind, cycles in share.items():
            # ACTIVATION_CYCLES is set by CNN0's non-matrix cycles, the channels of CNN1 by its unused multiply-adds.
            fitted = w.name == "CNN0" or (w.name == "CNN1" and kind == "useful")
            figure = f"{w.name} {kind.replace('_', ' ')}"
            yield Row("tpu", figure, "% cycles", getattr(w, kind), 100 * cycles / found.total, fitted, points=True)


def eyeriss_rows() -> Iterator[Row]:
    """Tables V and VI: AlexNet at batch 4, VGG-16 at batch 3."""
    for net, layers in (("AlexNet", published.EYERISS_ALEXNET), ("VGG-16", published.EYERISS_VGG)):
        total = 0.0
        for each in layers:
            layer = dataclasses.replace(each.layer, input_density=1 - each.zeros / 100)
            cost = Eyeriss().cost(layer, each.mapping, 1 - each.next_zeros / 100)
            time_ms = cost.cycles / Eyeriss().clock_hz * 1e3
            total += time_ms
            # FILTER_WORDS is set by AlexNet's latencies; VGG's channels in a pass by its buffer's accesses.
            yield Row("eyeriss", f"{net} {each.name} latency", "ms", each.latency_ms, time_ms, fitted=net == "AlexNet")
            yield Row("eyeriss", f"{net} {each.name} active PEs", "PEs", each.active, cost.active)
            yield Row("eyeriss", f"{net} {each.name} DRAM", "MB", each.dram_mb, cost.dram_words * 2 / 1e6)
        yield Row("eyeriss", f"{net} latency", "ms", sum(each.latency_ms for each in layers), total, net == "AlexNet")


def dadiannao_rows() -> Iterator[Row]:
    """AlexNet's FC7 as EIE's table V has it."""
    machine = DaDianNao()
    fc7 = Layer("fc7", "Gemm", 4096, 4096, product=ConvShape(1, 4096, 1, 1, 4096, 1, 1))
    frames = machine.clock_hz / machine.cycles(fc7)
    yield Row("dadiannao", "AlexNet FC7", "frames/s", 147_938, frames)
    yield Row("dadiannao", "AlexNet FC7", "frames/J", 9_263, frames / (machine.chip_mw / 1000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    began = time.monotonic()
    rows: list[Row] = []
    print(f"{'machine':9} {'figure':44} {'published':>12} {'lissome':>12} {'':9} {'error':>9}")
    for family in (
        energy_rows(),
        roofline_rows(),
        tpu_rows(),
        eyeriss_rows(),
        dadiannao_rows(),
        eie_rows(arguments.quick),
    ):
        for row in family:
            rows.append(row)
            print(row, flush=True)
    if not arguments.quick:
        eie_studies()
    print(f"{time.monotonic() - began:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) | {"error": row.error} for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
