"""The TPU paper's roofline and counters (Jouppi et al., ISCA 2017); `bench/hardware.py` prints the errors."""

import pytest

from lissome.hardware import TPU, Systolic
from lissome.hardware.published import TPU_ATTAINABLE_TOPS, TPU_RIDGES, TPU_WORKLOADS, tpu_layers
from lissome.hardware.roofline import MACHINES
from lissome.hardware.tpu import Counters

pytestmark = pytest.mark.paper


@pytest.mark.parametrize("workload", TPU_WORKLOADS, ids=lambda w: w.name)
def test_points_of_the_roofline(workload):
    """min(92, 2 · intensity · 0.034) Top/s, exactly, and at least what was measured (MLP0 to CNN1)."""
    bound = MACHINES["tpu-roofline"].attainable(workload.macs_per_weight) / 1e12
    assert bound == pytest.approx(TPU_ATTAINABLE_TOPS[workload.name], rel=1e-12)
    assert bound >= workload.measured_tops


@pytest.mark.parametrize("name", TPU_RIDGES)
def test_ridges(name):
    """1350, 13 and 9 multiply-adds a byte, as rounded in the paper."""
    assert MACHINES[name].ridge == pytest.approx(TPU_RIDGES[name], rel=0.03)


@pytest.mark.parametrize("workload", TPU_WORKLOADS, ids=lambda w: w.name)
def test_utilisation(workload):
    """Cycles in which the array is active, and its useful share, within 15 points of the counters (table 3)."""
    layers = tpu_layers(workload.name)
    found = sum((TPU().counters(layer) for layer in layers), Counters())
    assert 100 * found.active / found.total == pytest.approx(workload.active, abs=15)
    assert 100 * found.useful_macs / found.total == pytest.approx(workload.useful, abs=15)
    weights = sum(layer.product.k * layer.product.depth for layer in layers if layer.product)
    assert weights == pytest.approx(1e6 * workload.weights_m, rel=0.02)
    assert sum(layer.macs for layer in layers) / weights == pytest.approx(workload.macs_per_weight, rel=0.01)


@pytest.mark.parametrize(
    ("dataflow", "array", "product", "cycles"),
    [
        ("weight", (4, 4), (10, 4, 4), 19),
        ("weight", (4, 8), (10, 16, 9), 143),
        ("weight", (32, 32), (49, 256, 512), 18_303),
        ("output", (4, 4), (10, 4, 4), 29),
        ("output", (8, 4), (7, 5, 20), 59),
        ("output", (16, 32), (100, 30, 75), 846),
        ("input", (4, 4), (10, 4, 4), 41),
        ("input", (4, 8), (10, 16, 9), 179),
        ("input", (32, 32), (49, 256, 512), 11_199),
    ],
)
def test_scale_sim(dataflow, array, product, cycles):
    """SCALE-Sim 3.0.0 reports these: the index of the last cycle, one less than the number (its issue 125)."""
    assert Systolic(*array, dataflow).cycles(*product) == cycles + 1
