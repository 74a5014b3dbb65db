"""The command line, run inside the test's process, and a packed file to run it on."""

import contextlib

import numpy as np
import pytest

import lissome as ls
from lissome.cli import main
from lissome.graph import Graph, Node, TensorSpec
from lissome.weights import Codebook, Dense, Sparse


class Result:
    """What one command did: exit code, standard output and standard error."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def lissome(capfd):
    """Run `lissome` with these arguments; nothing it does may leave a traceback."""

    def call(*arguments):
        capfd.readouterr()
        code = main.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Result(code, out, err)

    return call


@pytest.fixture
def network():
    """A linear network for 28×28 images: 784 → 10, its weight pruned and shared."""
    rng = np.random.default_rng(0)
    positions = np.sort(rng.choice(7840, 400, replace=False))
    values = Codebook(rng.integers(0, 4, 400), np.array([-0.5, -0.25, 0.25, 0.5], np.float32))
    nodes = (
        Node("Flatten", "flatten", ("x",), ("flatten",), {"axis": 1}),
        Node("Gemm", "fc", ("flatten", "fc.weight", "fc.bias"), ("y",), {"transB": 1}),
    )
    graph = Graph(nodes, (TensorSpec("x", ("N", 1, 28, 28)),), ("y",), ("fc.weight", "fc.bias"))
    weights = {"fc.weight": Sparse((10, 784), positions, values), "fc.bias": Dense(np.zeros(10, np.float32))}
    return ls.Network(graph, weights)


@pytest.fixture
def packed(tmp_path, network):
    """The network as a .liss file."""
    path = tmp_path / "net.liss"
    ls.save(network, path)
    return path


@pytest.fixture
def elsewhere(tmp_path):
    """Work in a fresh folder, without LISSOME_DATA."""
    with contextlib.chdir(tmp_path), pytest.MonkeyPatch.context() as patch:
        patch.delenv("LISSOME_DATA", raising=False)
        yield tmp_path
