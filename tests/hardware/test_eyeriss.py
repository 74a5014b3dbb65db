"""Eyeriss: mappings keep to the chip, their search to its own model, and what the chip lacks is left out."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_problems import small
from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware import Eyeriss, Layer, Workload, count
from lissome.hardware.eyeriss import Mapping
from lissome.hardware.published import EYERISS_ALEXNET, EYERISS_VGG
from lissome.hardware.run_length import coded_words, decode, encode


def conv(batch, channels, side, filters, window, *, density=1.0):
    """A square convolution without padding."""
    shape = ConvShape(batch, channels, side, side, filters, window, window)
    inputs, outputs = batch * channels * side**2, batch * filters * shape.p * shape.q
    return Layer("conv", "Conv", inputs, outputs, product=shape, input_density=density)


def test_cycles_of_a_layer_worked_out_by_hand():
    """One pass: n · F · S · p · q cycles, all filters loaded at two words a cycle."""
    cost = Eyeriss().cost(conv(1, 2, 8, 4, 3), Mapping(4, 1, 6, 4, 2, 1, 1))
    assert cost.compute_cycles == 6 * 3 * 4 * 2
    assert cost.filter_cycles == 4 * 2 * 9 / 2
    assert cost.sum_cycles == 4 * 36 / 4
    assert cost.dram_words == 72 + 128 + 144
    assert cost.active == 18


@pytest.mark.parametrize("each", [*EYERISS_ALEXNET, *EYERISS_VGG], ids=lambda e: e.name)
def test_the_search_is_at_least_as_fast_as_the_chip(each):
    """The best mapping fits and needs no more cycles than the published one, which fits too."""
    machine = Eyeriss()
    machine.check(each.layer.product, each.mapping)
    best = machine.best(each.layer)
    machine.check(each.layer.product, best)
    assert machine.cost(each.layer, best).cycles <= 1.001 * machine.cost(each.layer, each.mapping).cycles


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(5, 40), st.integers(1, 70), st.sampled_from([1, 3, 5]))
def test_no_mapping_outruns_the_array(batch, channels, side, filters, window):
    """A best mapping exists for ordinary layers, and computes no more than one multiply-add a PE and cycle."""
    layer = conv(batch, channels, side, filters, window)
    machine = Eyeriss()
    cost = machine.cost(layer, machine.best(layer))
    assert layer.macs <= cost.compute_cycles * 168
    assert cost.active <= 168
    assert cost.dram_words >= filters * channels * window**2


def test_zero_inputs_save_energy_and_dram_but_no_time():
    """Gating keeps the cycle; run-length coding shrinks what comes from DRAM."""
    mapping = Mapping(4, 1, 6, 4, 2, 1, 1)
    dense, sparse = (Eyeriss().cost(conv(1, 2, 8, 4, 3, density=density), mapping) for density in (1.0, 0.3))
    assert sparse.compute_cycles == dense.compute_cycles
    assert sparse.dram_words < dense.dram_words
    one, other = (Eyeriss().estimate(Workload((conv(1, 2, 8, 4, 3, density=density),))) for density in (1.0, 0.3))
    assert other.energy_pj["compute"] == pytest.approx(0.3 * one.energy_pj["compute"], rel=1e-12)


def test_what_the_chip_does_not_do_is_left_out():
    """Pooling and softmax, more than 1024 filters, windows of more than 12 rows: each with its reason."""
    estimate = Eyeriss().estimate(count(small()))
    assert [layer.name for layer in estimate.layers] == ["conv", "relu", "flatten", "fc"]
    assert [layer.name for layer in estimate.left_out] == ["pool", "softmax"]
    for layer in (conv(1, 2000, 9, 8, 3), conv(1, 3, 20, 8, 13)):
        (out,) = Eyeriss().estimate(Workload((layer,))).left_out
        assert "up to 1024 filters and channels, 12 rows" in out.why


def test_mappings_that_do_not_fit_say_what_overflows():
    """Too many sets, filters, inputs, sums or bytes: the message has what is needed and what is there."""
    layer, good = conv(4, 16, 15, 64, 3), Mapping(64, 4, 13, 16, 4, 1, 4)
    Eyeriss().check(layer.product, good)
    for change, message in (
        ({"t": 5}, "needs 5 sets; Eyeriss has 4"),
        ({"p": 24}, "288 words of filters in a PE; Eyeriss has 224"),
        ({"q": 5, "p": 8}, "15 words of inputs"),
        ({"p": 32, "q": 1}, "32 sums"),
        ({"m": 128}, "bytes of the buffer; Eyeriss has 102,400"),
    ):
        with pytest.raises(HardwareError, match=message):
            Eyeriss().cost(layer, dataclasses.replace(good, **change))
    with pytest.raises(HardwareError, match="outgrows the buffer"):
        Eyeriss(buffer_bytes=64).best(layer)
    with pytest.raises(HardwareError, match="clock of Eyeriss is 200 Hz"):
        Eyeriss(clock_hz=200.0)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(-(2**15), 2**15 - 1)), max_size=40), st.integers(0, 100))
def test_run_length_codes_return_what_they_were_given(pairs, tail):
    """Any values, long runs and zeros at the end included, come back; the code is never longer than its rule says."""
    values = np.array([v for run, value in pairs for v in [0] * run + [value]] + [0] * tail, np.int16)
    words = encode(values)
    np.testing.assert_array_equal(decode(words, values.size), values)
    assert 3 * words.size <= np.count_nonzero(values) + values.size // 32 + 3


def test_run_length_of_random_zeros_is_as_estimated():
    """Coded words of a long feature map are those that its density alone predicts, and never more than plain ones."""
    rng = np.random.default_rng(0)
    for density in (0.005, 0.1, 0.4):
        values = np.where(rng.random(200_000) < density, 7, 0).astype(np.int16)
        share = np.count_nonzero(values) / values.size
        assert 4 * encode(values).size == pytest.approx(coded_words(values.size, share), rel=0.02)
    assert coded_words(1000, 1.0) == 1000
    assert coded_words(3200, 0.0) == pytest.approx(100 * 4 / 3)


def test_a_code_that_is_cut_off_is_refused():
    """Words without the mark of the last, of another count or another type are errors."""
    words = encode(np.arange(10, dtype=np.int16))
    for wrong, values in ((words[:-1], 10), (words, 99), (words[:0], 10), (words.astype(np.int64), 10)):
        with pytest.raises(HardwareError):
            decode(wrong, values)
    with pytest.raises(HardwareError, match="int16"):
        encode(np.ones(3, np.int32))


def test_a_whole_network_is_mapped_in_seconds():
    """A search tries all its mappings at once: a layer of ResNet-50 takes milliseconds."""
    began = time.process_time()
    for _ in range(10):
        Eyeriss().best(conv(1, 256, 14, 1024, 1))
    assert time.process_time() - began < 10 / 53 * 10
