"""Algorithms chosen by measuring: the fastest measured one runs, and what was measured is kept and reused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lissome as ls
from engine_problems import single, uniform
from lissome.errors import UnsupportedShape
from lissome.runtime import reference
from lissome.runtime.algorithms import ALGORITHMS
from lissome.runtime.tune import Kept, default_path
from lissome.weights import Dense

pytestmark = pytest.mark.native


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("LISSOME_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuned.json"


def _net():
    w = uniform(np.random.default_rng(0), 8, 4, 3, 3)
    return single("Conv", (4, 9, 9), {"w": Dense(w)}, kernel_shape=(3, 3), pads=(1, 1, 1, 1))


def _only(cache):
    ((group, layers),) = json.loads(cache.read_text()).items()
    ((layer, seconds),) = layers.items()
    return group, layer, seconds


@pytest.mark.parametrize("effort", ["quick", "full"])
def test_the_fastest_measured_algorithm_runs(cache, effort):
    """The engine runs what was the fastest in the kept file, says so, and its result stays right."""
    net, x = _net(), uniform(np.random.default_rng(1), 1, 4, 9, 9)
    engine = ls.compile(net, threads=1, tune=effort)
    group, layer, seconds = _only(cache)
    fastest = min(seconds, key=seconds.get)
    assert next(a.stem for a in ALGORITHMS if a.name == fastest.partition(":")[0]) in engine.explain()
    assert "measured" in engine.explain()
    assert engine.isa in group
    assert "1 thread" in group
    assert layer.startswith("conv 1 4 9 9 8 3 3")
    np.testing.assert_allclose(engine(x), reference.run(net, {"x": x})["y"], rtol=1e-4, atol=1e-4)


def test_kept_results_are_used_again(cache):
    """What was kept is believed by "quick", measured anew by "full", and ignored by "off"."""
    net = _net()
    ls.compile(net, threads=1, tune="full")
    group, layer, seconds = _only(cache)
    slowest = max(seconds, key=seconds.get)
    cache.write_text(json.dumps({group: {layer: {**seconds, slowest: 1e-12}}}))
    stem = next(a.stem for a in ALGORITHMS if a.name == slowest.partition(":")[0])
    assert stem in ls.compile(net, threads=1, tune="quick").explain()
    before = cache.read_bytes()
    ls.compile(net, threads=1)
    assert cache.read_bytes() == before
    ls.compile(net, threads=1, tune="full")
    assert _only(cache)[2][slowest] > 1e-12


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[1, 2]",
        b'{"a": 1}',
        b'{"a": {"b": {"c": "d"}}}',
        b'{"a": {"b": {"im2col": -1.0}}}',
        b"[" * 99_999,
    ],
    ids=["empty", "no text", "a list", "no groups", "no numbers", "a negative time", "very deep"],
)
def test_a_damaged_file_counts_as_empty(cache, content):
    """Whatever is in the file, it is measured again and the file is whole afterwards."""
    cache.parent.mkdir()
    cache.write_bytes(content)
    ls.compile(_net(), threads=1, tune="quick")
    assert _only(cache)[2]


def test_results_of_other_machines_stay(cache):
    """What another processor or build kept is left alone and not believed here."""
    cache.parent.mkdir()
    other = {"another processor": {"conv 1": {"im2col": 1.0}}}
    cache.write_text(json.dumps(other))
    ls.compile(_net(), threads=1, tune="quick")
    found = json.loads(cache.read_text())
    assert found.pop("another processor") == other["another processor"]
    assert len(found) == 1
    assert Kept(default_path(), "scalar", 7).get("conv 1") == {}


@pytest.mark.parametrize("effort", ["quick", "full"])
def test_schedules_are_searched_and_kept(cache, effort):
    """A layer that direct convolution does best is tried by several schedules; the fastest kept one runs."""
    w = uniform(np.random.default_rng(0), 70, 40, 1, 1)
    net, x = (
        single("Conv", (40, 9, 9), {"w": Dense(w)}, kernel_shape=(1, 1)),
        uniform(np.random.default_rng(1), 2, 40, 9, 9),
    )
    ls.compile(net, threads=1, tune=effort)
    group, layer, seconds = _only(cache)
    if min(seconds, key=seconds.get).startswith("direct"):
        assert len([name for name in seconds if name.startswith("direct:")]) >= 4
    chosen = "direct:1,3,2,1,1,1,5"
    cache.write_text(json.dumps({group: {layer: {**seconds, chosen: 1e-12, "direct:9,9,9,9,9,9,9": 1e-13}}}))
    engine = ls.compile(net, threads=1, tune="quick")
    assert "conv_f32_direct" in engine.explain(repeats=1)
    np.testing.assert_allclose(engine(x), reference.run(net, {"x": x})["y"], rtol=1e-4, atol=1e-4)


def test_a_schedule_can_be_asked_for():
    """By its numbers after a colon; numbers that are no schedule are refused as an unknown name."""
    net, x = _net(), uniform(np.random.default_rng(1), 1, 4, 9, 9)
    node = net.graph.nodes[0].name
    engine = ls.compile(net, threads=1, kernels={node: "direct:2,1,3,1,1,2,4"})
    np.testing.assert_allclose(engine(x), reference.run(net, {"x": x})["y"], rtol=1e-4, atol=1e-4)
    for wrong in (
        "direct:2,1,3,1,1,2",
        "direct:3,1,3,1,1,2,4",
        "direct:0,5,1,1,1,1,1",
        "direct:0,1,0,1,1,1,1",
        "mec:0,1,1,1,1,1,1",
    ):
        with pytest.raises(UnsupportedShape, match="no algorithm is called"):
            ls.compile(net, threads=1, kernels={node: wrong})


def test_efforts_that_do_not_exist():
    """Another word is refused with the words that there are."""
    with pytest.raises(ValueError, match="tune='best'; it is one of 'off', 'quick', 'full'"):
        ls.compile(_net(), tune="best")


def test_an_algorithm_asked_for_is_not_measured(cache):
    """Where the user names the algorithm there is nothing to find out."""
    net = _net()
    ls.compile(net, kernels={net.graph.nodes[0].name: "im2col"}, tune="full")
    assert not cache.exists()
