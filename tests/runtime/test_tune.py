"""Algorithms chosen by measuring: the fastest measured one runs, and what was measured is kept and reused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lissome as ls
from engine_problems import single, uniform
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
    assert next(a.stem for a in ALGORITHMS if a.name == fastest) in engine.explain()
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
    stem = next(a.stem for a in ALGORITHMS if a.name == slowest)
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


def test_efforts_that_do_not_exist():
    """Another word is refused with the words that there are."""
    with pytest.raises(ValueError, match="tune='best'; it is one of 'off', 'quick', 'full'"):
        ls.compile(_net(), tune="best")


def test_an_algorithm_asked_for_is_not_measured(cache):
    """Where the user names the algorithm there is nothing to find out."""
    net = _net()
    ls.compile(net, kernels={net.graph.nodes[0].name: "im2col"}, tune="full")
    assert not cache.exists()
