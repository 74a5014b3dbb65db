"""DaDianNao: cycles by hand, and when a network fits."""

import numpy as np
import pytest

from hardware_problems import small
from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware import DaDianNao, Layer, Workload, count
from lissome.hardware.workload import fully_connected
from lissome.weights import Dense


def test_cycles_worked_out_by_hand():
    """A tile takes 16 inputs and 16 outputs a cycle: depth in 16ths, outputs in 256ths, once for each place."""
    layer = Layer("conv", "Conv", 1, 1, product=ConvShape(2, 20, 6, 6, 300, 3, 3))
    assert DaDianNao().cycles(layer) == 2 * 4 * 4 * 12 * 2
    assert DaDianNao(chips=4).cycles(layer) == 2 * 4 * 4 * 12
    assert DaDianNao().cycles(Layer("relu", "Relu", 1000, 1000, operations=1000)) == 4


def test_weights_decide_how_many_chips():
    """Above 36 MB at 16 bits one chip refuses every layer and names the mesh that would do."""
    weight = Dense(np.ones((4096, 5000), np.float32))
    work = Workload((fully_connected("fc", weight),))
    (out,) = DaDianNao().estimate(work).left_out
    assert "DaDianNao(chips=4)" in out.why
    (layer,) = DaDianNao(chips=4).estimate(work).layers
    assert layer.macs == 4096 * 5000
    assert 0 < layer.utilisation <= 1


def test_every_layer_is_estimated():
    """All nodes of a network that fits are there, those that only rename for nothing."""
    estimate = DaDianNao().estimate(count(small()))
    assert [layer.name for layer in estimate.layers] == ["conv", "relu", "pool", "flatten", "fc", "softmax"]
    assert estimate.layers[3].seconds == 0


def test_more_chips_wait_for_each_other():
    """Chips exchange all inputs: with slow links a small layer is bound by them, one chip never is."""
    work = Workload((fully_connected("fc", Dense(np.ones((256, 4096), np.float32))),))
    assert DaDianNao(chips=64, link=1e9).estimate(work).layers[0].bound_by == "links"
    assert DaDianNao(link=1e9).estimate(work).layers[0].bound_by == "compute"


def test_impossible_meshes_are_refused():
    """Three chips are no square; links without bandwidth are none."""
    with pytest.raises(HardwareError, match="square mesh"):
        DaDianNao(chips=3)
    with pytest.raises(HardwareError, match="link of DaDianNao is 0 B/s"):
        DaDianNao(link=0.0)
