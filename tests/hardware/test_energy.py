"""Energy: the table of operations, scaling, and Yang's method on layers whose answer is known."""

import dataclasses

import numpy as np
import pytest

from hardware_problems import pruned, small
from lissome.errors import HardwareError
from lissome.hardware import Hierarchy, count, energy
from lissome.hardware.workload import Workload, fully_connected
from lissome.weights import Dense


def of(layer, machine=None):
    """Energy of one layer by component."""
    return (machine or Hierarchy()).estimate(Workload((layer,))).energy_pj


def test_scaling_follows_dennard():
    """Halving the feature size halves delay, quarters area and leaves an eighth of the energy."""
    assert energy.scaled_pj(8.0, from_nm=90, to_nm=45) == 1.0
    assert energy.scaled_um2(8.0, from_nm=90, to_nm=45) == 2.0
    assert energy.scaled_seconds(8.0, from_nm=90, to_nm=45) == 4.0
    with pytest.raises(HardwareError, match="positive"):
        energy.scaled_pj(1.0, from_nm=0, to_nm=45)


def test_sram_goes_through_the_tables_sizes():
    """At 8 KiB, 32 KiB and 1 MiB the energy of 64 bits is the table's, and it never falls as a memory grows."""
    for size, read in energy.SRAM_64_BIT_PJ.items():
        assert energy.sram_pj(size, 64) == pytest.approx(read, rel=1e-12)
    sizes = [2**k for k in range(4, 26)]
    reads = [energy.sram_pj(size) for size in sizes]
    assert reads == sorted(reads)
    assert reads[0] == energy.REGISTER_PJ


def test_integer_multiply_adds_meet_the_table_at_both_ends():
    """8×8 bits cost 0.2 pJ and the adder, 32×32 bits 3.1 pJ and the adder; more bits never cost less."""
    assert energy.integer_mac_pj(8, 8) == pytest.approx(0.2 + 0.05, rel=1e-12)
    assert energy.integer_mac_pj(32, 32) == pytest.approx(3.1 + 0.2, rel=1e-12)
    assert energy.integer_mac_pj(4, 16) < energy.integer_mac_pj(8, 16) < energy.integer_mac_pj(16, 16)


def test_unknown_dtypes_name_the_known():
    """A dtype that the table lacks is an error that lists those it has."""
    with pytest.raises(HardwareError, match="int8, int16, int32, float16, float32"):
        energy.mac_pj("int4")


def test_every_saving_saves():
    """Fewer non-zero weights, fewer bits, sparser inputs: each lowers the energy of computing and of DRAM."""
    dense = of(fully_connected("fc", Dense(np.ones((512, 512), np.float32))))
    half = of(fully_connected("fc", Dense(np.ones((512, 512), np.float32), "float8_e4m3")))
    sparse = of(fully_connected("fc", pruned((512, 512), 0.1)))
    quiet = of(fully_connected("fc", pruned((512, 512), 0.1), input_density=0.3))
    for component in ("compute", "DRAM"):
        assert dense[component] > half[component] > sparse[component] > quiet[component]


def test_a_small_layer_crosses_dram_once():
    """With all in the buffer DRAM moves each coded weight, input and output once, at 200 multiply-adds a word."""
    layer = fully_connected("fc", Dense(np.ones((8, 8), np.float32), "float16"))
    assert of(layer)["DRAM"] == pytest.approx((64 + 8 + 8) * 200 * Hierarchy().mac_pj, rel=1e-12)


def test_a_smaller_buffer_never_saves():
    """Where neither weights nor inputs fit, one of them is read again for every buffer-full of the other."""
    layer = fully_connected("fc", Dense(np.ones((4096, 4096), np.float32)), batch=64)
    costs = [of(layer, Hierarchy(buffer_bytes=size))["DRAM"] for size in (2**10, 2**14, 2**18, 2**26)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 2 * costs[-1]


def test_all_layers_are_priced():
    """Element-wise layers cost their traffic, those that only rename cost nothing, and none is left out."""
    estimate = Hierarchy().estimate(count(small()))
    assert [layer.name for layer in estimate.layers] == ["conv", "relu", "pool", "flatten", "fc", "softmax"]
    assert not estimate.left_out
    total = {layer.name: sum(layer.energy_pj.values()) for layer in estimate.layers}
    assert total["flatten"] == 0
    assert min(total["relu"], total["pool"], total["softmax"]) > 0


def test_impossible_hierarchies_are_refused():
    """A buffer of no bytes or a negative energy is refused, by name."""
    with pytest.raises(HardwareError, match="buffer_bytes"):
        Hierarchy(buffer_bytes=0)
    with pytest.raises(HardwareError, match="dram_relative"):
        dataclasses.replace(Hierarchy(), dram_relative=0.0)
