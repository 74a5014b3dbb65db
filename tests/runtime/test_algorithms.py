"""Which algorithm runs a convolution: the one asked for, or the cheapest that can do it."""

from __future__ import annotations

import numpy as np
import pytest

import lissome as ls
from engine_problems import single, uniform
from lissome.errors import UnsupportedShape
from lissome.graph.conv_shape import ConvShape, GemmShape
from lissome.runtime import algorithms, kernels, reference
from lissome.runtime.algorithms import ALGORITHMS, Layer
from lissome.weights import Codebook, Dense, Sparse

pytestmark = pytest.mark.native


def _net():
    w = uniform(np.random.default_rng(0), 8, 4, 3, 3)
    return single("Conv", (4, 9, 9), {"w": Dense(w)}, kernel_shape=(3, 3), pads=(1, 1, 1, 1))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
def test_an_algorithm_runs_when_it_is_asked_for(algorithm):
    """`kernels` names the algorithm of a node; explain() shows it and says that it was asked for."""
    net, x = _net(), uniform(np.random.default_rng(1), 1, 4, 9, 9)
    name = net.graph.nodes[0].name
    layer = Layer(ConvShape(1, 4, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1), 1.0, ls.compile(net).isa)
    if reason := algorithm.refuses(layer):
        with pytest.raises(UnsupportedShape, match="cannot do it"):
            ls.compile(net, kernels={name: algorithm.name})
        assert reason
        return
    engine = ls.compile(net, kernels={name: algorithm.name})
    assert algorithm.stem in engine.explain()
    assert "asked for" in engine.explain()
    np.testing.assert_allclose(engine(x), reference.run(net, {"x": x})["y"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "values", [Dense(np.empty(0, np.float32)), Codebook(np.empty(0, np.uint8), np.ones(1, np.float32))]
)
@pytest.mark.parametrize(("op", "shape", "x"), [("Conv", (8, 4, 3, 3), (1, 4, 9, 9)), ("Gemm", (8, 36), (2, 36))])
def test_a_layer_pruned_to_nothing_runs(op, shape, x, values):
    """Without a single weight left a layer gives its bias: exactly, and with no division by a cost of nothing."""
    weights = {"w": Sparse(shape, np.empty(0, np.int64), values), "b": Dense(np.arange(8, dtype=np.float32))}
    net = single(op, x[1:], weights, **({"transB": 1} if op == "Gemm" else {"kernel_shape": (3, 3)}))
    y = ls.compile(net)(np.ones(x, np.float32))
    assert (np.moveaxis(y, 1, -1) == np.arange(8)).all()


def test_names_that_do_not_exist():
    """An unknown algorithm and an unknown node are one clear error each, which names what there is."""
    net = _net()
    with pytest.raises(UnsupportedShape, match=r"no algorithm is called 'magic'; able here: .*im2col"):
        ls.compile(net, kernels={net.graph.nodes[0].name: "magic"})
    with pytest.raises(UnsupportedShape, match=r"kernels names .*nowhere"):
        ls.compile(net, kernels={"nowhere": "im2col"})
    with pytest.raises(UnsupportedShape, match="no kernel of a convolution"):
        algorithms.of_kernel("gemm_f32_panels_scalar")


def test_few_weights_left_are_run_sparse():
    """At 2 % of the weights the sparse algorithm is the cheapest, with all of them a dense one."""
    shape = ConvShape(1, 64, 28, 28, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert algorithms.choose(Layer(shape, 0.02, "scalar"), "conv")[0].sparse
    assert not algorithms.choose(Layer(shape, 1.0, "scalar"), "conv")[0].sparse


@pytest.mark.parametrize("shape", [(1, 256, 14, 14, 256, 3, 3), (1, 64, 56, 56, 256, 1, 1), (1, 512, 7, 7, 512, 3, 3)])
def test_convolutions_run_sparse_below_one_density(shape):
    """With ever fewer weights left, a layer goes over from dense to sparse once, between 5 and 60 %."""
    pads = (1, 1, 1, 1) if shape[-1] == 3 else (0, 0, 0, 0)
    conv, isa = ConvShape(*shape, 1, 1, 1, 1, 1, *pads), kernels.instruction_sets()[0]
    sparse = [algorithms.choose(Layer(conv, share / 100, isa), "")[0].sparse for share in range(100, 0, -5)]
    changes = [i for i in range(1, len(sparse)) if sparse[i] != sparse[i - 1]]
    assert not sparse[0]
    assert sparse[-1]
    assert len(changes) == 1
    assert 5 <= 100 - 5 * changes[0] <= 60


def test_linear_layers_take_the_kernel_of_their_weight():
    """At batch 1: looked up in registers where values are shared, by codes where most are left; gathered where memory
    would hold dense ones up.
    """
    large, small = GemmShape(1, 4096, 25088), GemmShape(1, 1000, 1024)
    for shape, left, values, stem in (
        (large, 0.04, 32, "coded_row"),
        (large, 0.04, 0, "sparse_row"),
        (large, 0.25, 0, "sparse_row"),
        (large, 0.25, 256, "sparse_row"),
        (large, 0.5, 0, "panels"),
        (small, 0.25, 0, "panels"),
        (small, 0.25, 32, "panels"),
        (small, 0.1, 32, "coded_row"),
        (GemmShape(64, 1000, 1024), 0.1, 32, "sparse_batch"),
    ):
        assert kernels.choose_gemm(shape, left, "avx512", values).kernel == f"gemm_f32_{stem}_avx512"
    for shape, left, codes, isa, stem in (
        (large, 0.04, 16, "avx512", "coded_row"),
        (large, 1.0, 16, "avx512", "codes4"),
        (small, 0.3, 17, "avx512", "codes5"),
        (large, 1.0, 33, "avx512", "coded_row"),
        (large, 1.0, 16, "avx2", "codes4"),
        (large, 1.0, 32, "avx2", "panels"),
        (small, 1.0, 16, "avx2", "panels"),
        (GemmShape(4, 4096, 25088), 1.0, 16, "avx512", "panels"),
    ):
        assert kernels.choose_gemm(shape, left, isa, codes, codes).kernel == f"gemm_f32_{stem}_{isa}"
    assert kernels.choose_gemm(large, 0.04, "avx2", 32).kernel == "gemm_f32_sparse_row_avx2"
