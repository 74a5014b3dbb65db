"""DaDianNao's figures in EIE's table V (Han et al., ISCA 2016)."""

import pytest

from lissome.graph.conv_shape import ConvShape
from lissome.hardware import DaDianNao, Layer

pytestmark = pytest.mark.paper


def test_fully_connected_layer_of_alexnet():
    """FC7: 147,938 frames a second, 9,263 a joule, 2,185 a second and mm²; 18 M weights fit."""
    machine = DaDianNao()
    cycles = machine.cycles(Layer("fc7", "Gemm", 4096, 4096, product=ConvShape(1, 4096, 1, 1, 4096, 1, 1)))
    frames = machine.clock_hz / cycles
    assert frames == pytest.approx(147_938, rel=1e-3)
    assert frames / (machine.chip_mw / 1000) == pytest.approx(9_263, rel=1e-3)
    assert frames / machine.area_mm2 == pytest.approx(2_185, rel=1e-3)
    assert machine.weight_bytes / 2 == pytest.approx(18e6, rel=0.05)
