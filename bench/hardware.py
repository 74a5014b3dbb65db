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
from typing import Final

import numpy as np

from lissome.graph.conv_shape import ConvShape
from lissome.hardware import EIE, TPU, DaDianNao, Eyeriss, Layer, Systolic, energy, published
from lissome.hardware.dataflows import DATAFLOWS, cheapest
from lissome.hardware.eie import Timing, random_inputs, random_places
from lissome.hardware.eie_pack import Places
from lissome.hardware.mapper import best
from lissome.hardware.precision import UNITS, ScalableMac
from lissome.hardware.published import EieBenchmark
from lissome.hardware.roofline import MACHINES
from lissome.hardware.tpu import Counters

ROUNDING: Final = 0.5  # of the whole per cents in EIE's table III


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
        return f"{self.machine:9} {self.figure:56} {values} {self.unit:9} {error}{mark}"


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


def yang_rows() -> Iterator[Row]:
    """AlexNet by Yang's method, dense and pruned: figures of its table 2 that are recalled, not checked."""
    machine = energy.Hierarchy()
    for which, (macs, total) in published.YANG_ALEXNET.items():
        work = published.yang_alexnet(which)
        own = machine.estimate(work).total_pj / machine.mac_pj / work.batch
        yield Row(
            "yang", f"AlexNet {which}, non-zero multiply-adds", "10⁹", macs / 1e9, work.useful_macs / work.batch / 1e9
        )
        yield Row("yang", f"AlexNet {which}, energy", "10⁹ MACs", total / 1e9, own / 1e9)


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
        yield Row("eie", f"{b.name} actual, densities fitted to the theoretical row", "µs", b.actual_us, times[b.name])
        yield Row("eie", f"{b.name} actual, densities of table III", "µs", b.actual_us, plain.cycles * micro)
        low, high = (eie_timing(b, b.weight_percent + by, machine).cycles * micro for by in (-ROUNDING, ROUNDING))
        nearest = min(max(b.actual_us, low), high)
        yield Row("eie", f"{b.name} actual, nearest density that rounds to table III's", "µs", b.actual_us, nearest)
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
    print("\nEIE: energy of reading entries, µJ, by the width of their SRAM in bits (the paper chose 64)")
    widths = (32, 64, 128, 256, 512)
    print(f"{'':10}" + "".join(f"{width:>9}" for width in widths))
    for b in published.EIE_BENCHMARKS:
        places = random_places(b.outputs, b.inputs, b.weight_percent / 100, 0)
        entries = Places.of(b.outputs, b.inputs, places, EIE().pes).entries()
        active = random_inputs(b.inputs, b.input_percent / 100)
        spent = [EIE().matrix_reads(entries, active, w) * energy.sram_read_pj(EIE().weight_bytes, w) for w in widths]
        print(f"{b.name:10}" + "".join(f"{value / 1e6:9.2f}" for value in spent))
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
            # FILTER_WORDS and the powers are set by AlexNet's; VGG's channels in a pass by its buffer's accesses.
            yield Row("eyeriss", f"{net} {each.name} latency", "ms", each.latency_ms, time_ms, fitted=net == "AlexNet")
            yield Row("eyeriss", f"{net} {each.name} active PEs", "PEs", each.active, cost.active)
            yield Row("eyeriss", f"{net} {each.name} DRAM", "MB", each.dram_mb, cost.dram_words * 2 / 1e6)
            yield Row(
                "eyeriss",
                f"{net} {each.name} buffer",
                "MB",
                each.buffer_mb,
                cost.buffer_words * 2 / 1e6,
                net != "AlexNet",
            )
            yield Row(
                "eyeriss",
                f"{net} {each.name} power",
                "mW",
                each.power_mw,
                Eyeriss().power(layer, cost),
                net == "AlexNet",
            )
        yield Row("eyeriss", f"{net} latency", "ms", sum(each.latency_ms for each in layers), total, net == "AlexNet")


def dataflow_rows(quick: bool) -> Iterator[Row]:
    """Energy of the other dataflows over row stationary's, on AlexNet; the ISCA paper says 1.4 to 2.5 times.

    Convolutions at batch 4 (CONV3 alone when quick), fully connected layers at the paper's 16, where it says 1.3.
    """
    convs = {
        e.name: e.layer.product
        for e in published.EYERISS_ALEXNET
        if e.layer.product and (not quick or e.name == "CONV3")
    }
    fcs = {
        b.name: ConvShape(16, b.inputs, 1, 1, b.outputs, 1, 1) for b in published.EIE_BENCHMARKS[: 1 if quick else 3]
    }
    for kind, layers, low, high in (("convolutions", convs, 1.4, 2.5), ("fully connected layers", fcs, 1.3, None)):
        total = {flow.name: sum(cheapest(flow, shape).total_pj for shape in layers.values()) for flow in DATAFLOWS}
        ratios = {name: value / total["RS"] for name, value in total.items() if name != "RS"}
        print("  ".join(f"{name} {ratio:.2f}×" for name, ratio in ratios.items()), f"the energy of RS, {kind}")
        yield Row("eyeriss", f"RS against the best other dataflow, {kind}", "×", low, min(ratios.values()))
        if high:
            yield Row("eyeriss", f"RS against the worst other dataflow, {kind}", "×", high, max(ratios.values()))


def mapper_rows(quick: bool) -> Iterator[Row]:
    """Energy of the best mapping of ResNet-18's layers, beside ZigZag's."""
    results = json.loads((Path(__file__).parent / "results/zigzag.json").read_text())
    for array, layers in results["arrays"].items():
        for layer, theirs in layers.items():
            if not quick or layer.startswith("layer4"):
                own = best(published.MAPPER_ARRAYS[array], published.RESNET18[layer]).cost().total_pj
                yield Row(
                    "mapper", f"{array} stationary, {layer}, ZigZag's best", "µJ", theirs["energy_pj"] / 1e6, own / 1e6
                )


def systolic_rows() -> Iterator[Row]:
    """Cycles of products on systolic arrays, beside SCALE-Sim's with the one that it leaves out."""
    for row in json.loads((Path(__file__).parent / "results/scalesim.json").read_text()):
        (rows, columns), (m, n, k) = row["array"], row["mnk"]
        own = Systolic(rows, columns, row["dataflow"]).cycles(m, n, k)
        figure = f"{row['dataflow']} in place, {rows}×{columns}, {m}×{n}×{k}, SCALE-Sim"
        yield Row("systolic", figure, "cycles", row["scalesim"], own)


def precision_study() -> None:
    """Energy of one 8-bit multiply-add by the bits that are used, its overhead at 8, and its area."""
    print("\nMultiply-adds of 8 bits: pJ by the bits of both operands, overhead of scaling, area")
    print(f"{'':8}" + "".join(f"{bits:>8}" for bits in (1, 2, 4, 8)) + f"{'overhead':>10}{'µm²':>8}")
    for unit in UNITS:
        mac = ScalableMac(unit)
        cells = "".join(f"{mac.energy_pj(bits, bits):8.3f}" for bits in (1, 2, 4, 8))
        print(f"{unit:8}{cells}{100 * mac.overhead():8.0f} %{mac.area_um2:8.0f}")


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
    print(f"{'machine':9} {'figure':56} {'published':>12} {'lissome':>12} {'':9} {'error':>9}")
    for family in (
        energy_rows(),
        yang_rows(),
        roofline_rows(),
        systolic_rows(),
        tpu_rows(),
        eyeriss_rows(),
        dataflow_rows(arguments.quick),
        mapper_rows(arguments.quick),
        dadiannao_rows(),
        eie_rows(arguments.quick),
    ):
        for row in family:
            rows.append(row)
            print(row, flush=True)
    precision_study()
    if not arguments.quick:
        eie_studies()
    print(f"{time.monotonic() - began:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) | {"error": row.error} for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
