"""Engine: what it takes, what it refuses, and that runs do not disturb one another."""

from __future__ import annotations

import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import lissome as ls
from engine_problems import assert_close, chain, compressed, lenet_5, lenet_300_100, lenet_weights, single, uniform
from lissome.errors import FormatError, UnsupportedShape
from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.runtime import plan as planning
from lissome.runtime import reference
from lissome.runtime.engine import PLANS_KEPT
from lissome.runtime.held import Held
from lissome.weights import Codebook, Dense, Sparse


@pytest.fixture
def mlp():
    """A pruned, shared LeNet-300-100."""
    return lenet_300_100(compressed(lenet_weights("300-100"), 0.05))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 784)), "expected float32 of shape .N, 784., found float64 of shape .2, 784."),
        (np.zeros((2, 784), np.int32), "found int32"),
        (np.zeros((2, 784), ">f4"), "found >f4"),
        (np.zeros((2, 783), np.float32), "found float32 of shape .2, 783."),
        (np.zeros(784, np.float32), "found float32 of shape .784,."),
        (np.zeros((2, 28, 28), np.float32), "found float32 of shape .2, 28, 28."),
        (np.zeros((0, 784), np.float32), "N ≥ 1"),
        ([[0.0] * 784], "found float64"),
        (None, "found object"),
    ],
)
def test_wrong_inputs_are_refused(mlp, x, message):
    """Another dtype or shape is one error that says what was expected and what was found."""
    engine = ls.compile(mlp)
    with pytest.raises(UnsupportedShape, match=message):
        engine(x)


def test_wrong_inputs_are_refused_after_right_ones(mlp):
    """What an engine ran a moment ago opens no door: the next input is checked as the first was."""
    engine, x = ls.compile(mlp), np.ones((1, 784), np.float32)
    want = engine(x)
    for wrong in (x.astype(">f4"), x.astype(np.float64), x.reshape(784), x[:, :783], x.view(np.int32), None):
        for call in (lambda w=wrong: engine(w), lambda w=wrong: engine.run({"x": w})):
            with pytest.raises(UnsupportedShape, match=r"input 'x': expected float32 of shape .N, 784., found"):
                call()
    for wrong in ({}, {"y": x}, {"x": x, "y": x}):
        with pytest.raises(UnsupportedShape, match=r"inputs \['x'\]"):
            engine.run(wrong)
    wide = np.ones((1, 1568), np.float32)[:, ::2]
    subclass = x.view(np.matrix)
    for same in (x, wide, subclass, x[::-1]):
        assert engine(same).tobytes() == engine.run({"x": same})["y"].tobytes() == want.tobytes()


def test_batches_may_alternate(mlp):
    """Every call runs the plan of its own batch, whichever ran last."""
    engine, x = ls.compile(mlp), uniform(np.random.default_rng(9), 4, 784)
    for batch in (1, 3, 1, 4, 4, 3):
        assert engine(x[:batch]).tobytes() == ls.compile(mlp).run({"x": x[:batch]})["y"].tobytes()


def test_wrong_names_are_refused(mlp):
    """A missing, unknown or unnamed input is one error listing the names."""
    engine, x = ls.compile(mlp), np.zeros((1, 784), np.float32)
    for inputs in ({}, {"y": x}, {"x": x, "y": x}, x):
        with pytest.raises(UnsupportedShape, match=r"inputs \['x'\]"):
            engine.run(inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threads": 0}, "threads=0"), ({"threads": 10_000}, "threads"), ({"isa": "mmx"}, "'mmx' is not available")],
)
def test_wrong_options_are_refused(mlp, options, message):
    """Impossible threads and instruction sets are named."""
    with pytest.raises(UnsupportedShape, match=message):
        ls.compile(mlp, **options)


def test_inputs_need_not_be_contiguous(mlp):
    """A strided, transposed or read-only array gives what its contiguous copy gives, and is not written to."""
    x = uniform(np.random.default_rng(0), 784, 10).T
    engine = ls.compile(mlp)
    want = engine(x.copy())
    x.flags.writeable = False
    assert engine(x).tobytes() == want.tobytes()
    assert engine(x[::-1])[::-1].tobytes() == want.tobytes()


def test_a_path_is_loaded_without_torch(mlp, tmp_path):
    """compile(path) gives the engine of the network saved there and imports no torch; a bad file is a FormatError."""
    path = tmp_path / "mlp.liss"
    ls.save(mlp, path)
    np.save(tmp_path / "x.npy", uniform(np.random.default_rng(1), 3, 784))
    script = (
        "import sys, numpy as np, lissome as ls\n"
        "np.save(sys.argv[3], ls.compile(sys.argv[1])(np.load(sys.argv[2])))\n"
        "assert 'torch' not in sys.modules\n"
    )
    files = [str(tmp_path / name) for name in ("mlp.liss", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", script, *files], check=True)
    assert np.load(files[2]).tobytes() == ls.compile(mlp)(np.load(files[1])).tobytes()
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError):
        ls.compile(path)


def test_threads_change_no_bit():
    """One thread or four: the same bits, for a batch large enough to be shared out."""
    net = lenet_5(compressed(lenet_weights("5"), 0.1))
    x = uniform(np.random.default_rng(2), 40, 1, 28, 28)
    assert ls.compile(net, threads=4)(x).tobytes() == ls.compile(net, threads=1)(x).tobytes()


def test_one_engine_in_many_threads(mlp):
    """Engines called from several threads at once, one shared and one each, give what they give alone."""
    shared = ls.compile(mlp, threads=2)
    inputs = [uniform(np.random.default_rng(seed), batch, 784) for seed, batch in enumerate((1, 3, 64, 300))]
    want = [shared(x) for x in inputs]
    wrong = []

    def work(x, y):
        own = ls.compile(mlp, threads=2)
        wrong.extend(x.shape for engine in [shared, own] * 15 if engine(x).tobytes() != y.tobytes())

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, want, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_child_still_runs(mlp):
    """A child of fork has none of its parent's helper threads, and works all the same."""
    script = (
        "import os, sys, numpy as np, lissome as ls\n"
        "e = ls.compile(sys.argv[1], threads=4); x = np.ones((500, 784), np.float32); y = e(x)\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if (e(x) == y).all() else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ls.save(mlp, f"{folder}/mlp.liss")
        subprocess.run([sys.executable, "-c", script, f"{folder}/mlp.liss"], check=True, timeout=120)


def test_nan_stays_with_its_sample(mlp):
    """A NaN makes its own sample's outputs NaN, through pruned weights too, and no other's."""
    x = uniform(np.random.default_rng(3), 6, 784)
    clean = ls.compile(mlp)(x)
    x[2, 0] = np.nan
    y = ls.compile(mlp)(x)
    assert np.isnan(y[2]).all()
    assert np.delete(y, 2, 0).tobytes() == np.delete(clean, 2, 0).tobytes()


def test_sparse_layers_stay_sparse(mlp):
    """At 5 % of weights left no layer is held as a dense float32 matrix, and explain says which kernel runs and why."""
    table = ls.compile(mlp).explain(repeats=2)
    assert "gemm_f32_sparse_row" in table or "gemm_f32_coded_row" in table
    assert "5.0% of weights left, sparse wins below" in table
    plan = planning.make_plan(Held.of(mlp), 8, "scalar", 1, planning.Prepared())
    step_bytes = [step.weights.nbytes for step in plan.steps]
    assert sum(step_bytes) < mlp.dense_bytes / 8


def test_dense_weights_full_of_zeros_run_sparse():
    """Zeros pay whatever form they come in: Dense and Codebook weights that are mostly zero run the sparse kernel."""
    rng = np.random.default_rng(4)
    values = uniform(rng, 40, 50) * (rng.random((40, 50)) < 0.1)
    codes = (rng.random((40, 50)) < 0.1).astype(np.uint8)
    for weight in (Dense(values.astype(np.float32)), Codebook(codes, np.array([0, 2.5], np.float32))):
        net, x = single("Gemm", (50,), {"w": weight}, transB=1), uniform(rng, 3, 50)
        engine = ls.compile(net)
        assert re.search("sparse|coded", engine.profile(repeats=1)[0][1])
        want = x.astype(np.float64) @ weight.to_dense().T.astype(np.float64)
        assert_close(engine(x), want, np.abs(x) @ np.abs(weight.to_dense()).T, 50, "zeros")


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_weights_that_are_not_transposed(op, form):
    """A Gemm without transB and a MatMul take (k, n) weights, sparse ones too."""
    rng = np.random.default_rng(5)
    w = uniform(rng, 30, 20) * (rng.random((30, 20)) < (0.1 if form == "sparse" else 1)).astype(np.float32)
    kept = np.flatnonzero(w)
    table = np.unique(w.reshape(-1)[kept])
    shared = Codebook(np.searchsorted(table, w.reshape(-1)[kept]), table)
    weight = Sparse(w.shape, kept, shared) if form == "sparse" else Dense(w)
    x = uniform(rng, 5, 30)
    y = ls.compile(single(op, (30,), {"w": weight}))(x)
    want = x.astype(np.float64) @ w.astype(np.float64)
    assert_close(y, want, np.abs(x) @ np.abs(w), 30, op)


def test_outputs_that_are_only_names():
    """Inputs, weights, aliases and tensors still in use may all be outputs, each in an array of its own."""
    nodes = (
        Node("Relu", "relu", ("x",), ("r",)),
        Node("Reshape", "reshape", ("r",), ("s",), {"shape": (0, 2, 3)}),
        Node("Identity", "same", ("x",), ("i",)),
        Node("Add", "add", ("r", "w"), ("a",)),
        Node("Relu", "again", ("a",), ("b",)),
    )
    graph = Graph(nodes, (TensorSpec("x", ("N", 6)),), ("b", "a", "s", "r", "i", "x", "w"), ("w",))
    w, x = uniform(np.random.default_rng(6), 6), uniform(np.random.default_rng(7), 2, 6)
    out = ls.compile(Network(graph, {"w": Dense(w)})).run({"x": x})
    r = np.maximum(x, 0)
    want = {"b": np.maximum(r + w, 0), "a": r + w, "s": r.reshape(2, 2, 3), "r": r, "i": x, "x": x, "w": w}
    assert list(out) == list(want)
    for name, value in want.items():
        np.testing.assert_array_equal(out[name], value, err_msg=name)
    for i, first in enumerate(out.values()):
        assert not any(np.shares_memory(first, other) for other in [*list(out.values())[i + 1 :], x])


def test_relu_is_fused_only_where_nothing_else_looks():
    """A Relu joins its producer when it is the only reader; a residual branch keeps both tensors."""
    weights = {"w": Dense(uniform(np.random.default_rng(8), 4, 4))}
    gemm, relu = Node("Gemm", "g", ("x", "w"), ("g",), {"transB": 1}), Node("Relu", "r", ("g",), ("r",))
    alone = chain([gemm, relu], (4,), weights)
    both = chain([gemm, relu, Node("Add", "a", ("g", "r"), ("a",))], (4,), weights)
    x = uniform(np.random.default_rng(9), 3, 4)
    assert [row[0] for row in ls.compile(alone).profile(repeats=1)] == ["g + r"]
    assert [row[0] for row in ls.compile(both).profile(repeats=1)] == ["g", "r", "a"]
    for net, name in ((alone, "r"), (both, "a")):
        want = reference.run(net, {"x": x})[name]
        assert_close(ls.compile(net)(x), want, 2 * np.abs(x) @ np.abs(weights["w"].values).T, 8, name)


def test_one_dimensional_layers():
    """Conv, pooling and batch normalisation over (N, C, L) are the two-dimensional ones of height 1."""
    rng = np.random.default_rng(10)
    statistics = {
        name: Dense(np.abs(uniform(rng, 5)) + np.float32(0.1)) for name in ("scale", "offset", "mean", "variance")
    }
    nodes = [
        Node("Conv", "c", ("x", "w"), ("c",), {"strides": (2,), "pads": (1, 2), "dilations": (2,)}),
        Node("BatchNormalization", "n", ("c", *statistics), ("n",)),
        Node("MaxPool", "m", ("n",), ("m",), {"kernel_shape": (3,), "strides": (2,), "pads": (1, 1)}),
        Node("GlobalAveragePool", "g", ("m",), ("g",)),
    ]
    net = chain(nodes, (3, 31), {"w": Dense(uniform(rng, 5, 3, 4)), **statistics})
    x = uniform(rng, 2, 3, 31)
    want = reference.run(net, {"x": x})["g"]
    np.testing.assert_allclose(ls.compile(net)(x), want, rtol=1e-5, atol=1e-5)


def test_weights_made_by_nodes_are_refused():
    """A weight that is computed, and an input that is fixed, are named: the engine packs weights beforehand."""
    node = Node("Conv", "c", ("x", "x"), ("y",))
    with pytest.raises(UnsupportedShape, match="node 'c'"):
        ls.compile(Network(Graph((node,), (TensorSpec("x", ("N", 1, 3)),), ("y",)), {}))


def test_old_plans_are_dropped(mlp):
    """Many batch sizes keep a bounded number of plans, and every one is still right."""
    engine = ls.compile(mlp)
    x = uniform(np.random.default_rng(11), 3 * PLANS_KEPT, 784)
    want = reference.run(mlp, {"x": x})["y"]
    for batch in range(1, 3 * PLANS_KEPT):
        assert np.abs(engine(x[:batch]) - want[:batch]).max() < 1e-5
    assert len(engine._plans) == PLANS_KEPT
