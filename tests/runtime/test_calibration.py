"""The cost model's constants, measured on this machine."""

import json
import math

import pytest
from test_budget import network

import lissome as ls
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels, machine
from lissome.runtime.algorithms import ALGORITHMS, Layer, choose
from lissome.runtime.tune import Kept, calibrate, default_path, overheads
from lissome.runtime.tune.calibration import A_BYTE, FITTED, KEY, LAYERS

pytestmark = pytest.mark.native

ISA = kernels.resolve_isa(None)
SHAPE = ConvShape(1, 64, 14, 14, 64, 3, 3, pad_top=1, pad_left=1, pad_bottom=1, pad_right=1)
BY_NAME = {algorithm.name: algorithm for algorithm in ALGORITHMS}
LARGE = 1 << 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("LISSOME_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuned.json"


def test_every_algorithm_is_measured_and_kept(cache):
    """Each has an overhead of the order of one, and the next compilation finds what was kept."""
    found = calibrate()
    assert set(found.overheads) == {algorithm.name for algorithm in ALGORITHMS}
    assert all(0.05 < value < 20 for value in (*found.overheads.values(), *found.ratios.values()))
    assert 0 < found.a_byte < 10
    (group,) = json.loads(cache.read_text()).values()
    assert group == {KEY: {**found.overheads, A_BYTE: found.a_byte}}
    assert overheads(ISA, LARGE) == {**found.overheads, A_BYTE: found.a_byte}


def test_every_algorithm_was_fitted():
    """What overheads are divided by is there for each, and a layer that shows it."""
    assert set(FITTED) == set(BY_NAME)
    for algorithm in ALGORITHMS:
        layers = [Layer(shape, density, ISA) for shape, density in LAYERS if algorithm.sparse == (density < 1)]
        assert any(not algorithm.refuses(layer) and math.isfinite(algorithm.cost(layer)) for layer in layers)


def test_an_overhead_changes_what_is_chosen():
    """An algorithm that runs slowly here loses, one that runs quickly wins; nothing measured changes nothing."""
    plain, _ = choose(Layer(SHAPE, 1.0, ISA), "a layer")
    slow, _ = choose(Layer(SHAPE, 1.0, ISA, {plain.name: 100.0}), "a layer")
    quick, _ = choose(Layer(SHAPE, 1.0, ISA, {"im2col": 0.001}), "a layer")
    assert slow.name != plain.name
    assert quick.name == "im2col"
    assert [a.time(Layer(SHAPE, 1.0, ISA)) for a in ALGORITHMS] == [a.cost(Layer(SHAPE, 1.0, ISA)) for a in ALGORITHMS]


def test_reading_a_weight_bounds_the_time():
    """Where memory is slow, an algorithm costs the bytes that it reads: Winograd's transformed filters above all."""
    layer = Layer(SHAPE, 1.0, ISA, {A_BYTE: 1000.0})
    assert BY_NAME["direct"].time(layer) == 1000 * 4 * 64 * 64 * 9
    assert BY_NAME["winograd_4x3"].time(layer) == 1000 * 4 * 64 * 64 * 36
    assert BY_NAME["winograd_2x3"].time(layer) == 1000 * 4 * 64 * 64 * 16


def test_small_networks_stay_in_the_cache():
    """Bytes from memory count only for weights that the last cache does not hold."""
    kept = Kept(None, ISA, 1)
    kept.put(KEY, {"direct": 2.0, A_BYTE: 0.1})
    assert overheads(ISA, machine.cache_bytes()[-1], kept) == {"direct": 2.0}
    assert overheads(ISA, machine.cache_bytes()[-1] + 1, kept) == {"direct": 2.0, A_BYTE: 0.1}


def test_an_engine_uses_what_was_kept():
    """Compiling reads the calibration of this machine and instruction set, and of no other."""
    before = ls.compile(network()).explain(repeats=1)
    assert "im2col" not in before
    Kept(default_path(), ISA, 1).put(KEY, {"im2col": 0.001})
    assert "im2col" in ls.compile(network()).explain(repeats=1)
    others = [isa for isa in kernels.instruction_sets() if isa != ISA]
    assert all("im2col" not in ls.compile(network(), isa=isa).explain(repeats=1) for isa in others)


def test_a_damaged_calibration_counts_as_none(cache):
    """Numbers that are none leave the model as it was built."""
    cache.parent.mkdir()
    group = Kept(None, ISA, 1).group
    for entry in ({"im2col": -1.0}, {"im2col": "fast"}, {"im2col": 1e999}, [1.0], None):
        cache.write_text(json.dumps({group: {KEY: entry}}))
        assert overheads(ISA, LARGE) == {}
        assert "im2col" not in ls.compile(network()).explain(repeats=1)
