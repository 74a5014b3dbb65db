"""Eyeriss's tables V and VI (Chen et al., JSSC 2017); `bench/hardware.py` prints the errors, DRAM's among them."""

import dataclasses

import pytest

from lissome.hardware import Eyeriss
from lissome.hardware.published import EYERISS_ALEXNET, EYERISS_VGG

pytestmark = pytest.mark.paper


def cost(each):
    """The layer's cost under its published mapping and zeros."""
    layer = dataclasses.replace(each.layer, input_density=1 - each.zeros / 100)
    return Eyeriss().cost(layer, each.mapping, 1 - each.next_zeros / 100)


@pytest.mark.parametrize("each", [*EYERISS_ALEXNET, *EYERISS_VGG], ids=lambda e: e.name)
def test_processing_latency(each):
    """Within 10 % on every layer (AlexNet's filter bandwidth and VGG's channels in a pass are fitted), PEs exactly."""
    assert cost(each).cycles / Eyeriss().clock_hz * 1e3 == pytest.approx(each.latency_ms, rel=0.10)
    assert cost(each).active == each.active


def test_dram_of_alexnet():
    """15.4 MB in all, within 10 %; each layer within 20 %."""
    found = [cost(each).dram_words * 2 / 1e6 for each in EYERISS_ALEXNET]
    assert sum(found) == pytest.approx(15.4, rel=0.10)
    for mb, each in zip(found, EYERISS_ALEXNET, strict=True):
        assert mb == pytest.approx(each.dram_mb, rel=0.20)
