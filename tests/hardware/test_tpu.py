"""Systolic arrays and the TPU: cycles of a stepped array, counters that add up, limits that are said."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_problems import small
from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware import TPU, Layer, Systolic, Workload, count
from lissome.hardware.tpu import Counters

SCALESIM = json.loads((Path(__file__).parents[2] / "bench/results/scalesim.json").read_text())


def product(m, n, k):
    """A layer that multiplies m × k by k × n."""
    return Layer("fc", "Gemm", m * k, m * n, product=ConvShape(m, k, 1, 1, n, 1, 1))


def stepped(x, w):
    """One fold with weights in place, register by register: the product, and the cycles until the last sum is out.

    Inputs enter row r of the array r cycles late and go right; partial sums go down.
    """
    (m, rows), columns = x.shape, w.shape[1]
    inputs, sums = np.zeros((rows, columns + 1), np.int64), np.zeros((rows + 1, columns), np.int64)
    y, seen, cycle = np.zeros((m, columns), np.int64), 0, 0
    while seen < m * columns:
        for r in range(rows):
            inputs[r, 0] = x[cycle - r, r] if 0 <= cycle - r < m else 0
        made = sums[:-1] + inputs[:, :-1] * w
        inputs[:, 1:] = inputs[:, :-1].copy()
        sums[1:] = made
        cycle += 1
        for c in range(columns):
            index = cycle - rows - c
            if 0 <= index < m:
                y[index, c] = sums[-1, c]
                seen += 1
    return y, cycle


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_a_fold_takes_as_long_as_a_stepped_array(m, columns, rows, seed):
    """Loading takes `rows` cycles, and the stream as many as an array of registers stepped cycle by cycle."""
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-9, 9, (m, rows)), rng.integers(-9, 9, (rows, columns))
    y, cycles = stepped(x, w)
    np.testing.assert_array_equal(y, x @ w)
    assert Systolic(rows, columns).cycles(m, columns, rows) == rows + cycles


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.sampled_from(["weight", "input", "output"]))
def test_folds_cover_the_product(m, n, k, dataflow):
    """No array is used above 100 %, and a product of one fold has one."""
    array = Systolic(16, 8, dataflow)
    assert 0 < array.utilisation(m, n, k) <= 1
    rows, columns, _ = array.mapped(m, n, k)
    assert (array.folds(m, n, k) == 1) == (rows <= 16 and columns <= 8)


def test_dataflows_are_each_others_mirror():
    """Stationary inputs are stationary weights with the product transposed."""
    for m, n, k in itertools.product((1, 7, 40), repeat=3):
        assert Systolic(8, 4, "input").cycles(m, n, k) == Systolic(8, 4, "weight").cycles(n, m, k)


def test_a_bound_layer_waits_for_the_weights():
    """A tile of 64 KiB at 34 GB/s takes 1349 cycles; with 200 inputs the array is active for 200 of them."""
    found = TPU(activation_cycles=0.0).counters(product(200, 256 * 8, 256 * 8))
    assert found.active / 64 == 200
    assert found.weight_shift / 64 == 256
    assert (found.active + found.weight_stall + found.weight_shift) / 64 == pytest.approx(65536 / 34e9 * 700e6)


def test_enough_inputs_hide_the_weights():
    """From 1350 inputs a tile on there is no stall and no visible shift; a faster memory moves that point."""
    assert TPU().counters(product(2048, 2048, 2048)).weight_stall == 0
    assert TPU().counters(product(2048, 2048, 2048)).weight_shift == 0
    assert TPU().counters(product(300, 2048, 2048)).weight_stall > 0
    assert TPU(dram=340e9).counters(product(300, 2048, 2048)).weight_stall == 0


@given(st.integers(1, 5000), st.integers(1, 3000), st.integers(1, 3000))
def test_counters_add_up_and_none_is_negative(m, n, k):
    """Every kind of cycle is at least 0, useful ones are at most the active ones, and the array never outruns DRAM."""
    found = TPU().counters(product(m, n, k))
    assert min(found.active, found.weight_stall, found.weight_shift, found.non_matrix) >= 0
    assert found.useful_macs <= found.active
    assert found.total >= n * k / 34e9 * 700e6 * 0.999


def test_every_layer_is_estimated_or_left_out():
    """Element-wise layers take the activation unit; an image that outgrows the unified buffer is left out by size."""
    estimate = TPU().estimate(count(small(), batch=4))
    assert [layer.name for layer in estimate.layers] == ["conv", "relu", "pool", "flatten", "fc", "softmax"]
    assert estimate.seconds == pytest.approx(estimate.cycles / 700e6, rel=1e-12)
    big = Layer("big", "Conv", 3 * 4000**2, 8 * 4000**2, product=ConvShape(1, 3, 4000, 4000, 8, 1, 1))
    (out,) = TPU().estimate(Workload((big,))).left_out
    assert out.macs == big.macs
    assert "unified buffer has 25,165,824" in out.why


def test_impossible_arrays_are_refused():
    """No bandwidth, no rows, an unknown dataflow, a TPU of another dataflow: each says what is wrong."""
    with pytest.raises(HardwareError, match="weight memory of the TPU is 0 B/s"):
        TPU(dram=0.0)
    with pytest.raises(HardwareError, match="rows of a systolic array is 0"):
        Systolic(rows=0)
    with pytest.raises(HardwareError, match="not 'row'"):
        Systolic(dataflow="row")
    with pytest.raises(HardwareError, match="keeps weights in place"):
        TPU(array=Systolic(dataflow="output"))
    with pytest.raises(HardwareError, match="extent of a product"):
        Systolic().cycles(0, 1, 1)
    assert (Counters(1, 2, 3, 4, 5) + Counters(1, 1, 1, 1, 1)).total == 14


@pytest.mark.parametrize("row", SCALESIM, ids=lambda row: f"{row['dataflow']}-{row['array']}-{row['mnk']}")
def test_cycles_are_scalesims(row):
    """SCALE-Sim's cycles, with the one that it leaves out (issue 125), in every dataflow, on ResNet-18 too."""
    assert Systolic(*row["array"], row["dataflow"]).cycles(*row["mnk"]) == row["scalesim"]
