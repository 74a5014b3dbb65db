"""Workloads and estimates: nothing of a network is lost between its graph and its cost."""

import json
from pathlib import Path

import numpy as np
import pytest

from hardware_problems import pruned, small
from lissome.errors import HardwareError, UnsupportedShape
from lissome.graph import Graph, Node, TensorSpec
from lissome.graph.costs import costs
from lissome.hardware import Estimate, LayerEstimate, count
from lissome.hardware.estimate import left_out
from lissome.hardware.units import Picojoules, Seconds, check_count, check_rate, energy_pj, mhz
from lissome.hardware.workload import Assumed, fully_connected, shapes_only
from lissome.network import Network
from lissome.weights import Codebook, Dense


def test_every_node_is_a_layer_with_its_counts():
    """Layers are the nodes in order; multiply-adds, elements and bits are those worked out by hand."""
    work = count(small(), batch=2, input_density={"fc": 0.5})
    layers = {layer.name: layer for layer in work.layers}
    assert list(layers) == ["conv", "relu", "pool", "flatten", "fc", "softmax"]
    assert layers["conv"].macs == 2 * 8 * 8 * 8 * 27
    assert layers["fc"].macs == 2 * 1280
    assert layers["fc"].nonzeros == 320
    assert layers["fc"].useful_macs == 2 * 320 // 2
    assert (layers["conv"].bits, layers["fc"].bits) == (32, 4)
    assert layers["conv"].parameters == 8 * 27 + 8
    assert layers["relu"].operations == 2 * 8 * 8 * 8
    assert layers["pool"].operations == 2 * 8 * 4 * 4 * 4
    assert layers["flatten"].operations == 0
    assert (layers["fc"].inputs, layers["fc"].outputs) == (2 * 128, 2 * 10)
    assert work.macs == layers["conv"].macs + layers["fc"].macs


def test_bits_of_weights_by_kind():
    """A dense weight costs its format, a shared one its code and table, a sparse one its places too."""
    dense = fully_connected("d", Dense(np.ones((4, 8), np.float32), "float16"))
    shared = fully_connected("c", Codebook(np.zeros((4, 8), np.uint8), np.zeros(16, np.float32)))
    sparse = fully_connected("s", pruned((16, 64), 1 / 16))
    assert dense.coded_bits == dense.dense_bits == 32 * 16
    assert shared.coded_bits == 32 * 4 + 16 * 32
    assert sparse.coded_bits == 64 * 4 + 15 * 32 + 4 * (64 + 1024 // 16)


def test_products_cost_what_the_graph_says():
    """Multiply-adds, elements and weights of a layer are graph/costs.py's, for every kind of product."""
    nodes = (
        Node("Conv", "conv", ("x", "cw"), ("a",), {"kernel_shape": (3, 3), "group": 2, "strides": (2, 2)}),
        Node("ConvTranspose", "up", ("a", "uw"), ("b",), {"kernel_shape": (2, 2)}),
        Node("Flatten", "flat", ("b",), ("c",), {"axis": 1}),
        Node("Gemm", "fc", ("c", "fw"), ("d",), {"transB": 1}),
        Node("MatMul", "square", ("d", "mw"), ("y",)),
    )
    shapes = {"cw": (6, 2, 3, 3), "uw": (6, 4, 2, 2), "fw": (5, 4 * 16), "mw": (5, 7)}
    graph = Graph(nodes, (TensorSpec("x", ("N", 4, 8, 8)),), ("y",), tuple(shapes))
    found = costs(graph, shapes, 3)
    for layer in count(shapes_only(graph, shapes), batch=3).layers:
        cost = found[layer.name]
        assert layer.macs == cost.macs
        assert (layer.inputs, layer.outputs, layer.parameters) == (cost.inputs, cost.activations, cost.weights)
        assert layer.weights == layer.nonzeros == cost.weights
    assert sum(cost.macs for cost in found.values()) == 3 * (6 * 9 * 18 + 6 * 9 * 16 + 64 * 5 + 35)


def test_assumed_weights():
    """A weight that is only assumed costs by its density and bits, sparse ones their places; it has no values."""
    layer = fully_connected("fc", Assumed((64, 64), 1 / 16, 4))
    assert (layer.nonzeros, layer.bits, layer.coded_bits) == (256, 4, 256 * 4 + 4 * (256 + 4096 // 16))
    assert fully_connected("fc", Assumed((64, 64))).coded_bits_in(16) == 64 * 64 * 16
    with pytest.raises(HardwareError, match="has no values"):
        layer.weight.to_dense()
    for wrong in ({"density": 1.5}, {"bits": 0}):
        with pytest.raises(HardwareError):
            Assumed((4, 4), **wrong)


def test_lstm_counts_both_products_at_every_step():
    """An LSTM is 4·hidden outputs of input and state, once a step and direction."""
    steps, batch, features, hidden = 5, 2, 3, 4
    weights = {"w": Dense(np.ones((1, 16, features), np.float32)), "r": Dense(np.ones((1, 16, hidden), np.float32))}
    node = Node("LSTM", "lstm", ("x", "w", "r"), ("y",), {"hidden_size": hidden})
    net = Network(Graph((node,), (TensorSpec("x", (steps, "N", features)),), ("y",), ("w", "r")), weights)
    (layer,) = count(net, batch=batch).layers
    assert layer.macs == steps * batch * 16 * (features + hidden)
    assert layer.weights == layer.nonzeros == 16 * 7


def test_products_of_activations_have_no_weights():
    """A MatMul of two activations is counted with every leading index, and with no weight."""
    node = Node("MatMul", "attention", ("q", "k"), ("y",))
    net = Network(Graph((node,), (TensorSpec("q", ("N", 6, 5, 4)), TensorSpec("k", ("N", 6, 4, 5))), ("y",)))
    (layer,) = count(net, batch=2).layers
    assert (layer.macs, layer.weights, layer.density) == (2 * 6 * 5 * 4 * 5, 0, 1.0)


def test_unknown_nodes_and_densities_are_refused():
    """A density of no node, or outside 0..1, and an unknown operator are errors that name what is wrong."""
    with pytest.raises(HardwareError, match="fc9"):
        count(small(), input_density={"fc9": 0.5})
    with pytest.raises(HardwareError, match=r"from 0 to 1, not 1\.5"):
        count(small(), input_density={"fc": 1.5})
    odd = Network(Graph((Node("Fold", "n", ("x",), ("y",)),), (TensorSpec("x", ("N", 1)),), ("y",)))
    with pytest.raises(UnsupportedShape, match="Fold"):
        count(odd)


def test_an_estimate_adds_up_and_prints_all_of_it():
    """Totals are the sums of layers; the table and the JSON name each layer, those left out included."""
    parts = [
        LayerEstimate("a", "Conv", 10, Seconds(1e-6), "compute", 100.0, {"DRAM": Picojoules(3.0)}, 0.5),
        LayerEstimate("b", "Gemm", 5, Seconds(2e-6), "DRAM", 200.0, {"DRAM": Picojoules(4.0), "mac": Picojoules(1.0)}),
    ]
    work = count(small())
    estimate = Estimate("machine", 1, tuple(parts), left_out(work.layers[1:2], "no activation unit"))
    assert estimate.seconds == pytest.approx(3e-6, rel=1e-15)
    assert (estimate.cycles, estimate.macs) == (300.0, 15)
    assert estimate.energy_pj == {"DRAM": 7.0, "mac": 1.0}
    assert estimate.total_pj == 8.0
    plain = json.loads(json.dumps(estimate.to_plain()))
    assert [layer["name"] for layer in plain["layers"]] == ["a", "b"]
    assert plain["left_out"][0]["operations"] == 512
    text = str(estimate)
    assert all(word in text for word in ("machine, batch 1", "total", "left out: relu (Relu, 512 operations)"))


def test_a_figure_in_another_unit_is_refused():
    """A clock of 700 Hz or a bandwidth of 0 is no machine's; the message says which helper makes the right unit."""
    with pytest.raises(HardwareError, match=r"clock is 700 Hz.*mhz"):
        check_rate(700, "Hz", "clock")
    for nothing in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(HardwareError):
            check_rate(nothing, "B/s", "bandwidth")
    check_rate(mhz(700), "Hz", "clock")
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(HardwareError, match="at least 1"):
            check_count(wrong, "rows")


def test_a_type_checker_catches_wrong_units(tmp_path, monkeypatch):
    """Seconds where hertz are wanted, a bare number, two rates swapped: mypy refuses all, and takes what is right."""
    api = pytest.importorskip("mypy.api")
    path = tmp_path / "units_used.py"
    path.write_text(
        "from lissome.hardware.eyeriss import Eyeriss\n"
        "from lissome.hardware.roofline import Roofline\n"
        "from lissome.hardware.units import Seconds, gbps, mhz, tops\n"
        "Eyeriss(clock_hz=mhz(200))\n"
        "Eyeriss(clock_hz=Seconds(200e6))\n"
        "Roofline('r', 92e12, gbps(34), 8, 'a bare number')\n"
        "Roofline('r', gbps(34), tops(92), 8, 'swapped')\n"
    )
    home = Path(__file__).parents[2] / "src/lissome/hardware"  # mypy says nothing of what is installed
    monkeypatch.setenv("MYPYPATH", str(home.parents[1]))
    sources = [str(path), *(str(home / f"{name}.py") for name in ("eyeriss", "roofline", "units"))]
    options = ["--follow-imports=skip", "--ignore-missing-imports", "--no-error-summary", f"--cache-dir={tmp_path}"]
    text, _, _ = api.run([*options, "--explicit-package-bases", *sources])
    lines = [line for line in text.splitlines() if "units_used" in line and "error" in line]
    assert sorted({int(line.split(":")[1]) for line in lines}) == [5, 6, 7], text


def test_energy_of_a_power_over_a_time():
    """One milliwatt for one second is a millijoule: 10^9 pJ."""
    assert energy_pj(1.0, 1.0) == 1e9
