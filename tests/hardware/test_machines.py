"""Whole networks on every machine: in seconds, and with every node accounted for."""

import time

import pytest

from lissome import hardware
from lissome.errors import HardwareError
from lissome.hardware.eie import random_inputs, random_places
from lissome.hardware.published import EIE_BENCHMARKS
from lissome.hardware.workload import shapes_only


@pytest.mark.slow
@pytest.mark.parametrize("net", ["vgg-16", "resnet-50"])
def test_a_whole_network_takes_seconds_on_any_machine(net):
    """Under 10 s of processor time each; what a machine does and what it leaves out are every node, none twice."""
    pytest.importorskip("torch")
    from lissome.report.profile import named

    work = hardware.count(shapes_only(*named(net)), title=net)
    for name in hardware.names():
        began = time.process_time()
        estimate = hardware.machine(name).estimate(work)
        assert time.process_time() - began < 10, name
        told = [layer.name for layer in (*estimate.layers, *estimate.left_out)]
        assert sorted(told) == sorted(layer.name for layer in work.layers)
        assert all(layer.why for layer in estimate.left_out)


@pytest.mark.slow
def test_event_level_eie_takes_less_than_a_minute_for_the_largest_layer():
    """VGG's FC6, 25,088 × 4096 at 4 %: its 18 % of inputs, one by one through the queues of 64 PEs."""
    layer = next(b for b in EIE_BENCHMARKS if b.name == "VGG-6")
    began = time.process_time()
    places = random_places(layer.outputs, layer.inputs, layer.weight_percent / 100, 0)
    found = hardware.EIE().time(layer.outputs, layer.inputs, places, random_inputs(layer.inputs, 0.183))
    assert time.process_time() - began < 60
    assert found.columns == round(0.183 * layer.inputs)
    assert found.cycles > found.theoretical_cycles


def test_unknown_machines_name_the_known():
    """A name that no machine has is an error that lists those there are."""
    with pytest.raises(HardwareError, match="energy, eie, tpu"):
        hardware.machine("abacus")
    with pytest.raises(HardwareError, match="weight-stationary, output-stationary"):
        hardware.mapped("abacus")
    assert all(hardware.machine(name) for name in hardware.names())
