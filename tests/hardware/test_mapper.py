"""The mapper: as good as trying everything, equal to ZigZag's costs, and clear about what does not fit."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import pytest

from hardware_problems import small
from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware import Mapped, count
from lissome.hardware.array import DIMS, OPERANDS, UNBOUNDED, Array, Memory, output_stationary, weight_stationary
from lissome.hardware.dataflows import DATAFLOWS, cheapest
from lissome.hardware.mapper import best, primes
from lissome.hardware.nest import Nest, extents, steps
from lissome.hardware.published import MAPPER_ARRAYS, RESNET18

ZIGZAG = json.loads((Path(__file__).parents[2] / "bench/results/zigzag.json").read_text())
MAPPED = [(array, layer) for array, layers in ZIGZAG["arrays"].items() for layer in layers]


def tiny(buffer_bits, *, shared=True):
    """Two filters by two channels; weights of two values in a unit; inputs and outputs in one buffer or in two."""
    buffers = [("buffer", ("inputs", "outputs"))] if shared else [("in", ("inputs",)), ("out", ("outputs",))]
    return Array(
        "tiny",
        (("k", 2), ("c", 2)),
        (
            Memory("registers", ("weights",), 16, 0.1, 0.2),
            Memory("sums", ("outputs",), 32, 0.1, 0.1, across="c"),
            *(Memory(name, holds, buffer_bits, 1.0, 1.5, 64, across="kc") for name, holds in buffers),
            Memory("DRAM", OPERANDS, UNBOUNDED, 20.0, 20.0, 16, across="kc"),
        ),
        0.5,
    )


def every_nest(array, shape):
    """All orders of the prime factors of the loops, with all cuts."""
    factors = [(d, p) for d, size in steps(array, shape).items() for p, power in primes(size) for _ in range(power)]
    for loops in set(itertools.permutations(factors)):
        places = range(len(loops) + 1)
        for w, i, o1, o2 in itertools.product(places, repeat=4):
            if o1 <= o2:
                yield Nest(array, shape, loops, {"weights": (0, w), "inputs": (0, i), "outputs": (0, o1, o2)})


def fits(nest):
    """Whether the nest passes its check."""
    try:
        nest.check()
    except HardwareError:
        return False
    return True


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("buffer_bits", [128, 400, 4000])
@pytest.mark.parametrize(
    "shape", [ConvShape(1, 4, 2, 1, 4, 1, 1), ConvShape(1, 4, 4, 1, 2, 3, 1), ConvShape(2, 2, 2, 2, 2, 1, 1)]
)
def test_the_search_finds_the_least_of_all_nests(shape, buffer_bits, shared):
    """Its energy is the least of every order and every cut that fits, and its cycles for least delay the fewest."""
    array = tiny(buffer_bits, shared=shared)
    costs = [nest.cost() for nest in every_nest(array, shape) if fits(nest)]
    found = best(array, shape)
    found.check()
    assert found.cost().total_pj == pytest.approx(min(cost.total_pj for cost in costs), rel=1e-12)
    assert best(array, shape, "delay").cost().cycles == pytest.approx(min(cost.cycles for cost in costs), rel=0.05)


@pytest.mark.parametrize(("array", "layer"), MAPPED)
def test_zigzag_agrees(array, layer):
    """ZigZag's nest costs here what it costs there, to 0.1 %; the mapper's is never dearer, and within 10 %."""
    theirs, machine, shape = ZIGZAG["arrays"][array][layer], MAPPER_ARRAYS[array], RESNET18[layer]
    cuts = {operand: tuple(found) for operand, found in theirs["cuts"].items()}
    nest = Nest(machine, shape, tuple((dim, size) for dim, size in theirs["loops"]), cuts)
    nest.check()
    assert nest.cost().total_pj == pytest.approx(theirs["energy_pj"], rel=1e-3)
    own = best(machine, shape)
    own.check()
    assert 0.9 * theirs["energy_pj"] <= own.cost().total_pj <= 1.0001 * nest.cost().total_pj


def test_least_delay_is_no_slower_than_least_energy():
    """Where a port is what limits, mapping for delay spends energy on time."""
    narrow = weight_stationary()
    slow = dataclasses.replace(narrow.memories[2], bits_per_cycle=32)
    machine = dataclasses.replace(narrow, memories=(*narrow.memories[:2], slow, narrow.memories[3]))
    energy, delay = (best(machine, ConvShape(1, 32, 18, 18, 32, 5, 5), goal).cost() for goal in ("energy", "delay"))
    assert delay.cycles < 0.95 * energy.cycles
    assert delay.total_pj > energy.total_pj


def test_costs_of_a_nest_worked_out_by_hand():
    """Weights stay, inputs stream: bits by memory, multicast along filters and sums along channels."""
    array, shape = tiny(10_000), ConvShape(1, 2, 4, 1, 2, 1, 1)
    nest = Nest(array, shape, (("p", 4),), {"weights": (1, 1), "inputs": (0, 1), "outputs": (0, 1, 1)})
    moved = nest.cost().moved
    assert (moved["registers"].read, moved["registers"].written) == (4 * 8, 4 * 8)  # four units, one weight each
    assert (moved["sums"].read, moved["sums"].written) == (8 * 8, 8 * 8)  # outputs are finished at once
    assert (moved["buffer"].read, moved["buffer"].written) == (8 * 8 + 8 * 8, 8 * 8 + 8 * 8)  # inputs, outputs
    assert (moved["DRAM"].read, moved["DRAM"].written) == (4 * 8 + 8 * 8, 8 * 8)
    assert nest.cost().compute_cycles == 4
    assert nest.cost().memory_cycles["DRAM"] == (4 * 8 + 2 * 8 * 8) / 16


def test_the_nest_is_shown():
    """Its print has every loop once, outermost first, each memory of each operand, and what runs side by side."""
    nest = best(weight_stationary(), RESNET18["layer3"])
    text = str(nest)
    assert [line.split()[1] for line in text.splitlines() if line.strip().startswith("for")] == [
        dim for dim, _ in reversed(nest.loops)
    ]
    assert all(part in text for part in ("weights in weight registers", "inputs in buffer", "outputs in sum registers"))
    assert text.endswith("side by side: k by 16, c by 16")
    wanted = steps(nest.array, nest.shape)
    assert {d: math.prod(size for name, size in nest.loops if name == d) for d in DIMS} == wanted


def test_what_fits_no_buffer_is_refused_and_left_out():
    """A memory smaller than one step is named; an estimate leaves the layer out with that reason."""
    little = weight_stationary(buffer_bytes=8)
    with pytest.raises(HardwareError, match=r"buffer of weight-stationary 16×16, 64 bits"):
        best(little, RESNET18["layer1"])
    estimate = Mapped(little).estimate(count(small()))
    assert [layer.name for layer in estimate.left_out] == ["conv", "pool", "fc", "softmax"]
    assert "fits the memories of weight-stationary 16×16" in estimate.left_out[0].why
    assert "does products only" in estimate.left_out[1].why


def test_wrong_nests_and_arrays_are_refused():
    """Missing loops, cuts out of order, tiles that are too large, memories that hold nothing: each is told."""
    array, shape = weight_stationary(), RESNET18["layer1"]
    good = best(array, shape)
    for wrong, message in (
        ({"loops": good.loops[:-1]}, "the layer needs"),
        ({"cuts": dict(good.cuts) | {"outputs": (0, 2, 1)}}, "cuts in order"),
        ({"cuts": dict(good.cuts) | {"weights": (0, len(good.loops))}}, "weight registers .* would hold"),
        ({"cuts": dict(good.cuts) | {"outputs": (1, 2, 3)}}, "keeps one element"),
    ):
        with pytest.raises(HardwareError, match=message):
            dataclasses.replace(good, **wrong).check()
    with pytest.raises(HardwareError, match="least energy or delay"):
        best(array, shape, "beauty")
    for wrong, message in (
        ({"holds": ()}, "holds some of"),
        ({"bits_per_cycle": 0.0}, "bits_per_cycle .* is 0.0; it is positive"),
        ({"across": "kx"}, "shared across loops"),
        ({"read_pj_per_bit": -1.0}, "is 0 or more"),
    ):
        with pytest.raises(HardwareError, match=message):
            dataclasses.replace(array.memories[0], **wrong)
    with pytest.raises(HardwareError, match="last memory"):
        dataclasses.replace(array, memories=array.memories[:-1])
    with pytest.raises(HardwareError, match="clock of weight"):
        dataclasses.replace(array, clock_hz=500.0)


def test_grouped_layers_are_mapped():
    """A depthwise convolution has a loop of groups, and no channels to put side by side."""
    shape = ConvShape(1, 32, 9, 9, 32, 3, 3, groups=32)
    assert extents(shape)["g"] == 32
    cost = best(output_stationary(), shape).cost()
    assert cost.energy_pj["compute"] == pytest.approx(shape.macs * output_stationary().mac_pj)
    assert cost.moved["DRAM"].read >= 8 * 32 * (9 + 81)


def test_row_stationary_needs_the_least_energy_under_one_area():
    """AlexNet's CONV3 and FC7 on the dataflows of ISCA 2016: each other one needs more, no local reuse by far."""
    for shape, least, most in (
        (ConvShape(1, 256, 15, 15, 384, 3, 3), 1.1, 2.6),
        (ConvShape(16, 4096, 1, 1, 4096, 1, 1), 1.0, 4),
    ):
        found = {flow.name: cheapest(flow, shape).total_pj for flow in DATAFLOWS}
        ratios = [found[name] / found["RS"] for name in ("WS", "OSA", "OSB", "OSC", "NLR")]
        assert min(ratios) > least
        assert max(ratios) < most
    assert {flow.name: flow.buffer_bytes // 1024 for flow in DATAFLOWS}["NLR"] == 332
