"""The verbs that predict costs: what they print, for people and as JSON, and what they refuse."""

import json

import pytest

import lissome as ls
from lissome import hardware
from lissome.cli.main import FAILED, USAGE
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


def test_compare(lissome, packed, dense):
    """Files stand side by side; the coded one takes less energy than the dense one, and the table says how much."""
    found = json.loads(lissome("compare", dense, packed, "--on", "energy", "--json").out)
    assert found[0]["total_pj"] > found[1]["total_pj"]
    text = lissome("compare", dense, packed, "--on", "energy").out
    assert f"{found[0]['total_pj'] / found[1]['total_pj']:.2f}×" in text
    assert lissome("compare", dense, packed, "--on", "v100").out.count("1.00×") == 2


def test_roofline(lissome):
    """The chart names the known machines, and with --measure this one at every level of memory."""
    text = lissome("roofline").out
    assert all(name in text for name in ("tpu-roofline", "k80", "haswell", "p100", "v100"))
    found = json.loads(lissome("roofline", "--measure", "--json").out)
    assert found[-1]["name"] == "this (memory)"
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
