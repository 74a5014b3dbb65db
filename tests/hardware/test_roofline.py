"""Rooflines: the lower of two lines, for numbers, layers and a chart."""

import pytest

from hardware_problems import small
from lissome.errors import HardwareError
from lissome.hardware import Roofline, count
from lissome.hardware.roofline import MACHINES, chart, this_machine


def test_the_roof_is_the_lower_of_two_lines():
    """Below the ridge the bandwidth limits, above it the peak; at the ridge both."""
    for machine in MACHINES.values():
        assert machine.attainable(machine.ridge) == pytest.approx(machine.peak, rel=1e-12)
        assert machine.attainable(machine.ridge / 4) == pytest.approx(machine.peak / 4, rel=1e-12)
        assert machine.attainable(machine.ridge * 4) == machine.peak


def test_layers_are_bound_by_what_takes_longer():
    """A layer's time is the larger of its operations at the peak and its bytes at the bandwidth."""
    machine = Roofline("m", 1e12, 1e9, 8, "test")
    estimate = machine.estimate(count(small(), batch=2))
    assert [layer.name for layer in estimate.layers] == ["conv", "relu", "pool", "flatten", "fc", "softmax"]
    conv = estimate.layers[0]
    assert conv.bound_by == "bandwidth"
    assert conv.seconds == pytest.approx((8 * 27 + 8 + 2 * 300 + 2 * 512) / 1e9, rel=1e-12)
    fast = Roofline("m", 1e6, 1e15, 8, "test").estimate(count(small(), batch=2)).layers[0]
    assert (fast.bound_by, fast.seconds) == ("compute", pytest.approx(2 * 2 * 8 * 64 * 27 / 1e6, rel=1e-12))
    assert estimate.layers[3].seconds == 0


def test_only_a_coded_machine_gains_from_coding():
    """Pruning shortens the time of this machine, not that of one whose arithmetic is dense."""
    dense, sparse = count(small(1.0)), count(small(0.1))
    for machine, gains in ((MACHINES["v100"], False), (this_machine(100, 10), True)):
        before, after = (machine.estimate(work).layers[4].seconds for work in (dense, sparse))
        assert (after < before) == gains


def test_a_chart_shows_every_machine():
    """Each machine has its letter on the canvas and a line that names its peak, bandwidth and ridge."""
    text = chart(list(MACHINES.values()))
    for letter, name in zip("abcdef", MACHINES, strict=True):
        assert f" {letter} {name}: " in text
        assert letter in text.partition("+--")[0]
    with pytest.raises(HardwareError, match="at least one"):
        chart([])


def test_impossible_roofs_are_refused():
    """No bandwidth, a peak in the wrong unit, an intensity of nothing: each is an error that says which."""
    with pytest.raises(HardwareError, match="bandwidth of m is 0 B/s"):
        Roofline("m", 1e12, 0.0, 8, "test")
    with pytest.raises(HardwareError, match=r"peak of m is 92 op/s.*tops"):
        Roofline("m", 92, 34e9, 8, "test")
    with pytest.raises(HardwareError, match="intensity is positive"):
        MACHINES["v100"].attainable(0.0)
