"""EIE's tables (Han et al., ISCA 2016), reproduced by the model; `bench/hardware.py` prints the errors."""

import functools
import math

import numpy as np
import pytest

from lissome.hardware import EIE
from lissome.hardware.eie import random_inputs, random_places
from lissome.hardware.eie_pack import Places
from lissome.hardware.energy import sram_read_pj
from lissome.hardware.published import (
    EIE_AREA_MM2,
    EIE_BENCHMARKS,
    EIE_ENERGY_RATIOS,
    EIE_FITTED_PERCENT,
    EIE_SPEEDUPS,
    EIE_WATTS,
)

pytestmark = [pytest.mark.paper, pytest.mark.slow]


@functools.cache
def timing(benchmark):
    """The benchmark's layer, at the density fitted to its theoretical time."""
    places = random_places(benchmark.outputs, benchmark.inputs, EIE_FITTED_PERCENT[benchmark.name] / 100, 0)
    active = random_inputs(benchmark.inputs, benchmark.input_percent / 100)
    return EIE().time(benchmark.outputs, benchmark.inputs, places, active)


def microseconds(cycles):
    """At EIE's clock."""
    return cycles / EIE().clock_hz * 1e6


@pytest.mark.parametrize("benchmark", EIE_BENCHMARKS, ids=lambda b: b.name)
def test_actual_time(benchmark):
    """Table IV: the theoretical time (fitted) within 1 %, the actual one, predicted from it, within 15 %."""
    found = timing(benchmark)
    assert microseconds(found.theoretical_cycles) == pytest.approx(benchmark.theoretical_us, rel=0.01)
    assert microseconds(found.cycles) == pytest.approx(benchmark.actual_us, rel=0.15)


def test_means():
    """Times within 10 % in the mean; speed and energy over CPU, GPU and mobile GPU likewise, as geometric means."""
    errors = [microseconds(timing(b).cycles) / b.actual_us - 1 for b in EIE_BENCHMARKS]
    assert np.mean(np.abs(errors)) < 0.10
    for machine, published in EIE_SPEEDUPS.items():
        ratios = [getattr(b, f"{machine}_us") / microseconds(timing(b).cycles) for b in EIE_BENCHMARKS]
        mean = math.exp(np.mean(np.log(ratios)))
        assert mean == pytest.approx(published, rel=0.10)
        assert mean * EIE_WATTS[machine] / EIE().watts == pytest.approx(EIE_ENERGY_RATIOS[machine], rel=0.10)


def test_power_and_area():
    """Table V's 0.59 W and 40.8 mm² are 64 of table II's PEs."""
    assert EIE().watts == pytest.approx(EIE_WATTS["eie"], rel=0.01)
    assert EIE().area_mm2 == pytest.approx(EIE_AREA_MM2, rel=0.002)


def test_queue_of_eight_is_enough():
    """Figure 8: most is won by a depth of 8, little beyond it; NT-We stays below 80 %."""
    by_name = {b.name: b for b in EIE_BENCHMARKS}
    for name, ceiling in (("VGG-7", 1.0), ("NT-We", 0.8)):
        b = by_name[name]
        places = random_places(b.outputs, b.inputs, b.weight_percent / 100, 0)
        active = random_inputs(b.inputs, b.input_percent / 100)
        one, eight, most = (EIE(queue_depth=d).time(b.outputs, b.inputs, places, active) for d in (1, 8, 256))
        assert eight.load_efficiency - one.load_efficiency > 4 * (most.load_efficiency - eight.load_efficiency)
        assert most.load_efficiency < ceiling


def test_an_sram_of_64_bits_is_the_best_for_alexnet():
    """Figure 9: fewer reads and dearer ones as words widen; their product is least at 64 bits (half of it assumed)."""
    spent = dict.fromkeys((32, 64, 128, 256, 512), 0.0)
    for b in EIE_BENCHMARKS[:3]:
        places = random_places(b.outputs, b.inputs, b.weight_percent / 100, 0)
        entries = Places.of(b.outputs, b.inputs, places, 64).entries()
        active = random_inputs(b.inputs, b.input_percent / 100)
        reads = [EIE().matrix_reads(entries, active, width) for width in spent]
        assert reads == sorted(reads, reverse=True)
        for width, count in zip(spent, reads, strict=True):
            spent[width] += count * sram_read_pj(EIE().weight_bytes, width)
    assert min(spent, key=lambda width: spent[width]) == 64


def test_balanced_pruning_is_faster():
    """Equal shares of non-zeros for all PEs (ESE's) take less time than as many drawn freely, most where PEs wait."""
    gains = {}
    for b in EIE_BENCHMARKS[6::2]:
        active = random_inputs(b.inputs, b.input_percent / 100)
        free, even = (
            EIE().time(
                b.outputs, b.inputs, random_places(b.outputs, b.inputs, b.weight_percent / 100, 0, **how), active
            )
            for how in ({}, {"balanced_over": 64})
        )
        assert even.busy == pytest.approx(free.busy, rel=0.08)  # fillers fall differently
        gains[b.name] = free.cycles / even.cycles
    assert gains["NT-We"] > gains["NT-LSTM"] > 1.0
