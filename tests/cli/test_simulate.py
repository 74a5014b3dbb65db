"""The verbs that predict costs: what they print, for people and as JSON, and what they refuse."""

import json
import re
from xml.etree import ElementTree

import pytest

import lissome as ls
from lissome import hardware
from lissome.cli.main import FAILED, USAGE
from lissome.hardware.roofline import MACHINES as ROOFLINES
from lissome.weights import Dense


@pytest.fixture
def dense(tmp_path, network):
    """The packed network of these tests with its weight neither pruned nor shared."""
    weights = dict(network.weights) | {"fc.weight": Dense(network.weights["fc.weight"].to_dense() + 1)}
    path = tmp_path / "dense.liss"
    ls.save(ls.Network(network.graph, weights), path)
    return path


@pytest.mark.parametrize("on", [*hardware.names(), "this"])
def test_simulate_on_every_machine(lissome, packed, on):
    """Each machine lists every node, as done or as left out, and its JSON is the estimate's plain form."""
    found = json.loads(lissome("simulate", packed, "--on", on, "--batch", 2, "--json").out)
    assert {layer["name"] for layer in found["layers"] + found["left_out"]} == {"flatten", "fc"}
    assert found["batch"] == 2
    assert "fc" in lissome("simulate", packed, "--on", on).out


def test_density_of_inputs(lissome, packed):
    """Zero inputs are skipped by EIE: fewer of them, less time."""
    times = [
        json.loads(lissome("simulate", packed, "--on", "eie", "--density", f"fc={share}", "--json").out)["seconds"]
        for share in (1.0, 0.2)
    ]
    assert times[0] > times[1]


def test_simulate_takes_onnx_and_names(lissome, packed, tmp_path):
    """An ONNX model of the same network costs the same; a network's name needs no file."""
    pytest.importorskip("onnx")
    ls.export_onnx(ls.load(packed), tmp_path / "net.onnx")
    found = [
        json.loads(lissome("simulate", net, "--on", "v100", "--json").out) for net in (packed, tmp_path / "net.onnx")
    ]
    assert found[0]["seconds"] == found[1]["seconds"] > 0
    named = json.loads(lissome("simulate", "lenet-5", "--on", "tpu", "--json").out)
    assert sum(layer["macs"] for layer in named["layers"]) > 2e5
    assert lissome("simulate", "lenet-6", "--on", "tpu").code != 0


def test_plots_are_whole_pages(lissome, packed, tmp_path):
    """--plot writes one HTML file with every layer, its charts drawn inside, that asks nothing of a network."""
    for on, chart in (("v100", "Roofline"), ("energy", "Energy"), ("weight-stationary", "Time"), ("this", "Roofline")):
        path = tmp_path / f"{on}.html"
        lissome("simulate", packed, "--on", on, "--plot", path)
        text = path.read_text(encoding="utf-8")
        ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>|<meta[^>]*>", "", text))  # noqa: S314
        assert all(word in text for word in (chart, "<svg", "fc", packed.name))
        assert not re.search(r"https?://|<script|<link|@import|src=", text)
    lissome("roofline", packed, "--plot", tmp_path / "roofs.html")
    text = (tmp_path / "roofs.html").read_text(encoding="utf-8")
    assert text.count("<circle") == text.count("<polyline") == len(ROOFLINES)


def test_rooflines_of_networks(lissome, packed, dense):
    """Each network has an intensity on each machine; coded weights raise it on no machine that moves every zero."""
    found = json.loads(lissome("roofline", dense, packed, "--json").out)
    for machine in found:
        points = machine["networks"]
        assert points[dense.name] == points[packed.name]
        assert 0 < points[dense.name]["attainable"] <= machine["peak"]
    assert packed.name in lissome("roofline", packed).out


def test_map(lissome, packed):
    """The nest of each layer with a product is shown, with its energy; for least delay it takes no more cycles."""
    text = lissome("map", packed, "--on", "weight-stationary").out
    assert text.startswith("fc: ")
    assert all(word in text for word in ("for ", "weights in weight registers", "side by side: k by 16, c by 16"))
    (energy,), (delay,) = (
        json.loads(lissome("map", packed, "--on", "output-stationary", "--json", "--layer", "fc", *more).out)
        for more in ((), ("--delay",))
    )
    assert delay["cycles"] <= energy["cycles"]
    assert energy["total_pj"] == pytest.approx(sum(energy["energy_pj"].values()))
    assert lissome("map", packed, "--on", "tpu").code == USAGE
    assert "called fc9" in lissome("map", packed, "--on", "weight-stationary", "--layer", "fc9").err


def test_list_hardware(lissome):
    """The machines that simulate takes are listed."""
    assert json.loads(lissome("list", "hardware", "--json").out) == {"hardware": [*hardware.names(), "this"]}


def test_compare(lissome, packed, dense):
    """Files stand side by side; the coded one takes less energy than the dense one, and the table says how much."""
    found = json.loads(lissome("compare", dense, packed, "--on", "energy", "--json").out)
    assert found[0]["total_pj"] > found[1]["total_pj"]
    text = lissome("compare", dense, packed, "--on", "energy").out
    assert f"{found[0]['total_pj'] / found[1]['total_pj']:.2f}×" in text
    assert lissome("compare", dense, packed, "--on", "v100").out.count("1.00×") == 2


def test_roofline(lissome):
    """The chart names the known machines, and with --measure this one at every memory level, for float32 and codes."""
    text = lissome("roofline").out
    assert all(name in text for name in ("tpu-roofline", "k80", "haswell", "p100", "v100"))
    found = json.loads(lissome("roofline", "--measure", "--json").out)
    assert {"this (L1)", "this (memory)", "this, int8 (L1)", "this, int8 (memory)"} <= {m["name"] for m in found}
    assert all(machine["bandwidth"] > 0 for machine in found)


def test_wrong_usage(lissome, packed, tmp_path):
    """An unknown machine, a density that is none or of no node, one file to compare, a missing file: each is told."""
    assert (lissome("simulate", packed, "--on", "abacus").code, USAGE) == (USAGE, USAGE)
    assert "there are energy, eie, tpu" in lissome("simulate", packed, "--on", "abacus").err
    assert "not NODE=SHARE" in lissome("simulate", packed, "--on", "eie", "--density", "fc=half").err
    wrong = lissome("simulate", packed, "--on", "eie", "--density", "fc9=0.5")
    assert wrong.code == FAILED
    assert "fc9" in wrong.err
    assert lissome("compare", packed, "--on", "eie").code == USAGE
    assert lissome("compare", packed, tmp_path / "no.liss", "--on", "eie").code == FAILED
