"""EIE: its coding loses nothing, its arithmetic is a slow reference's, its cycles are a slow simulation's."""

import dataclasses
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lissome as ls
from hardware_problems import pruned, small
from lissome.errors import HardwareError
from lissome.graph import Graph, Node, TensorSpec
from lissome.hardware import EIE, count
from lissome.hardware.eie import random_inputs, random_places
from lissome.hardware.eie_pack import Places, fixed_point, pack
from lissome.hardware.workload import Workload, fully_connected
from lissome.network import Network
from lissome.weights import Codebook, Dense

matrices = st.tuples(st.integers(1, 90), st.integers(1, 12), st.floats(0.02, 1.0), st.integers(0, 999))


def decoded(packed):
    """The integer matrix that entries stand for, one PE, column and entry at a time."""
    matrix = np.zeros((packed.rows, packed.columns), np.int64)
    for column in range(packed.columns):
        for pe in range(packed.pes):
            begin, end = packed.pointers[column * packed.pes + pe : column * packed.pes + pe + 2]
            row = -1
            for entry in range(begin, end):
                row += int(packed.runs[entry]) + 1
                if packed.codes[entry]:
                    matrix[row * packed.pes + pe, column] = packed.table[packed.codes[entry]]
    return matrix


@settings(max_examples=40)
@given(matrices, st.sampled_from([1, 3, 4]))
def test_coding_loses_nothing(problem, pes):
    """Decoding the entries gives the fixed-point matrix; runs keep to 4 bits; fillers are those that runs need."""
    rows, columns, density, seed = problem
    weight = pruned((rows, columns), density, seed)
    packed = pack(weight, pes)
    whole = np.rint(weight.to_dense().astype(np.float64) * 2**packed.weight_fraction)
    np.testing.assert_array_equal(decoded(packed), whole)
    assert packed.runs.max(initial=0) <= 15
    stored = int(np.count_nonzero(weight.to_dense()))
    assert packed.codes.size == stored + packed.fillers
    places = Places.of(rows, columns, np.flatnonzero(weight.to_dense()), pes)
    assert int((places.runs() // 16).sum()) == packed.fillers
    assert int(places.entries().sum()) == packed.codes.size


@settings(max_examples=40)
@given(matrices, st.sampled_from([1, 3, 4]))
def test_arithmetic_is_the_references_bit_for_bit(problem, pes):
    """W · x equals a dense loop in 16-bit fixed point with rounding and saturation, overflow included."""
    rows, columns, density, seed = problem
    weight = pruned((rows, columns), density, seed)
    rng = np.random.default_rng(seed)
    x = rng.integers(-32768, 32768, columns).astype(np.int16) * (rng.random(columns) < 0.7)
    packed = pack(weight, pes)
    table = np.rint(weight.to_dense().astype(np.float64) * 2**packed.weight_fraction).astype(int)
    expected = []
    for row in table.tolist():
        total = 0
        for w, value in zip(row, x.tolist(), strict=True):
            if value:
                total += (w * value + 2**packed.weight_fraction // 2) // 2**packed.weight_fraction
                total = max(-32768, min(32767, total))
        expected.append(total)
    assert packed.multiply(x.astype(np.int16)).tolist() == expected


def test_a_layer_from_a_packed_file_runs_bit_true(tmp_path):
    """A layer saved and loaded as .liss gives on EIE what float arithmetic gives, to the rounding of fixed point."""
    weight = pruned((60, 200), 0.1)
    gemm = Node("Gemm", "fc", ("x", "w"), ("y",), {"transB": 1})
    net = Network(Graph((gemm,), (TensorSpec("x", ("N", 200)),), ("y",), ("w",)), {"w": weight})
    ls.save(net, tmp_path / "fc.liss")
    packed = EIE().pack(count(ls.load(tmp_path / "fc.liss")).layers[0])
    x = np.random.default_rng(1).integers(-900, 900, 200).astype(np.int16)
    exact = weight.to_dense().astype(np.float64) @ x
    most = int(np.count_nonzero(weight.to_dense(), axis=1).max())
    # Each product is rounded by at most 1/2, and each weight by 2^-(fraction + 1) times an input below 900.
    bound = most * (0.5 + 900 * 2.0 ** -(packed.weight_fraction + 1))
    assert np.abs(packed.multiply(x) - exact).max() <= bound


def simulated(entries, depth):
    """Cycles by stepping one cycle at a time: queues as queues, PEs as counters; an empty queue passes its input on."""
    pes = len(entries[0])
    queues, left, sent, cycle = [deque() for _ in range(pes)], [0] * pes, 0, 0

    def take():
        for pe in range(pes):
            if not left[pe] and queues[pe]:
                left[pe] = queues[pe].popleft()

    while sent < len(entries) or any(queues) or any(left):
        left[:] = [max(0, cycles - 1) for cycles in left]
        take()
        if sent < len(entries) and all(len(queue) < depth for queue in queues):
            for queue, count_ in zip(queues, entries[sent], strict=True):
                queue.append(max(1, count_))
            sent += 1
        take()
        cycle += 1
    return cycle


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 9), st.integers(0, 999))
def test_cycles_are_those_of_stepping(pes, columns, depth, seed):
    """The event-level recurrence takes as many cycles as a simulation that steps through every one of them."""
    entries = np.random.default_rng(seed).integers(0, 6, (columns, pes))
    assert EIE(pes=pes, queue_depth=depth)._drain(entries) == simulated(entries.tolist(), depth)


def test_deeper_queues_and_balance_never_hurt():
    """Cycles fall with the queue's depth, towards the theoretical; equal shares for the PEs get there at once."""
    rows, columns, active = 512, 400, np.arange(400)
    places = random_places(rows, columns, 0.1, 0)
    cycles = [EIE(queue_depth=depth).time(rows, columns, places, active).cycles for depth in (1, 2, 4, 8, 64)]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > 1.2 * cycles[-1]
    even = EIE().time(rows, columns, random_places(rows, columns, 0.125, 0, balanced_over=64), active)
    plain = EIE().time(rows, columns, random_places(rows, columns, 0.125, 0), active)
    assert even.load_efficiency > 0.95 > plain.load_efficiency


def test_more_pes_have_fewer_fillers():
    """A PE's part of a column is shorter the more PEs there are, so that fewer runs pass 15."""
    positions = random_places(4096, 64, 0.04, 0)
    entries = [int(Places.of(4096, 64, positions, pes).entries().sum()) for pes in (1, 16, 64, 256)]
    assert entries == sorted(entries, reverse=True)
    assert entries[0] > entries[-1] == positions.size


@given(st.integers(1, 5), st.integers(1, 9), st.sampled_from([8, 16, 64, 256]), st.integers(0, 99))
def test_reads_are_those_of_stepping(pes, columns, width, seed):
    """Words touched by each active column of each PE, its entries one after another, counted one by one."""
    rng = np.random.default_rng(seed)
    entries = rng.integers(0, 12, (columns, pes))
    active = np.flatnonzero(rng.random(columns) < 0.7)
    wanted = 0
    for pe in range(pes):
        begin = 0
        for column in range(columns):
            end = begin + int(entries[column, pe])
            if column in active:
                wanted += len({place // (width // 8) for place in range(begin, end)})
            begin = end
    assert EIE().matrix_reads(entries, active, width) == wanted


def test_what_eie_cannot_do_is_left_out_with_its_reason():
    """Convolution, pooling, softmax and unshared weights are listed; the shared layer and ReLU are done."""
    estimate = EIE().estimate(count(small(), batch=3))
    assert [layer.name for layer in estimate.layers] == ["relu", "flatten", "fc"]
    assert {layer.name for layer in estimate.left_out} == {"conv", "pool", "softmax"}
    assert estimate.layers[2].cycles % 3 == 0
    work = Workload((fully_connected("fc", Dense(np.ones((4, 4), np.float32))),))
    assert "share.KMeans" in EIE().estimate(work).left_out[0].why
    many = fully_connected("fc", Codebook(np.zeros((4, 4), np.uint8), np.arange(1, 17, dtype=np.float32)))
    assert "has 16 others" in EIE().estimate(Workload((many,))).left_out[0].why


@pytest.mark.parametrize("shape", [(70, 40), (40, 40)])
def test_a_transposed_weight_costs_the_same(shape):
    """A weight kept as (inputs, outputs) is the same matrix to the machine, a square one too."""
    weight = pruned(shape, 0.2)
    turned = np.ascontiguousarray(weight.to_dense().T)
    shared = Codebook(np.searchsorted(weight.values.codebook, turned), weight.values.codebook)
    edge = (TensorSpec("x", ("N", 40)),)
    nets = [
        Network(Graph((Node("Gemm", "fc", ("x", "w"), ("y",), {"transB": 1}),), edge, ("y",), ("w",)), {"w": weight}),
        Network(Graph((Node("MatMul", "fc", ("x", "w"), ("y",)),), edge, ("y",), ("w",)), {"w": shared}),
    ]
    machine = EIE(pes=4)
    assert machine.estimate(count(nets[0])).cycles == machine.estimate(count(nets[1])).cycles > 0
    entries = [machine.pack(count(net).layers[0]) for net in nets]
    np.testing.assert_array_equal(decoded(entries[0]), decoded(entries[1]))


def test_a_layer_too_large_for_the_memories_is_refused():
    """More entries than a PE's SRAM has bytes is an error that says both numbers."""
    eie = EIE(pes=2, weight_bytes=100)
    with pytest.raises(HardwareError, match="SRAM has 100 bytes"):
        eie.time(64, 64, random_places(64, 64, 0.5, 0), np.arange(64))


def test_impossible_machines_and_inputs_are_refused():
    """No PEs, no queue, a clock in megahertz, an input of another type: each is refused by name."""
    for wrong, message in (({"pes": 0}, "pes"), ({"queue_depth": 0}, "queue_depth"), ({"clock_hz": 800.0}, "mhz")):
        with pytest.raises(HardwareError, match=message):
            dataclasses.replace(EIE(), **wrong)
    with pytest.raises(HardwareError, match="int16 inputs"):
        pack(pruned((8, 8), 0.5), 4).multiply(np.zeros(8))
    with pytest.raises(HardwareError, match="does not fit 16-bit"):
        fixed_point(np.array([1e6], np.float32))
    with pytest.raises(HardwareError, match="at most 1"):
        random_places(4, 4, 1.5, 0)
    assert random_inputs(10, 0.35).size == 4
