"""Networks and circumstances that an engine must survive: empty and enormous tensors, threads, forks."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import lissome as ls
from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Codebook, Dense, Sparse

F = np.float32


def network(op, extents, weights=(), **attributes):
    """One node that reads x, of this shape, and weights."""
    named = {f"w{i}": weight for i, weight in enumerate(weights)}
    node = Node(op, "node", ("x", *named), ("y",), attributes)
    return Network(Graph((node,), (TensorSpec("x", extents),), ("y",), tuple(named)), named)


def zeros(*shape):
    return Dense(np.zeros(shape, F))


EMPTY = {
    "gemm without outputs": lambda: network("Gemm", ("N", 36), [zeros(0, 36)], transB=1),
    "gemm without inputs": lambda: network("Gemm", ("N", 4), [zeros(4, 0)], transB=1),
    "conv without filters": lambda: network("Conv", ("N", 4, 8, 8), [zeros(0, 4, 3, 3)]),
    "conv without taps": lambda: network("Conv", ("N", 4, 8, 8), [zeros(8, 4, 0, 3)]),
    "conv without outputs": lambda: network("Conv", ("N", 4, 2, 2), [zeros(8, 4, 3, 3)]),
    "codes": lambda: network("Gemm", ("N", 4), [Codebook(np.empty((4, 0), np.uint8), np.ones(1, F))]),
    "sparse": lambda: network("Gemm", ("N", 4), [Sparse((4, 0), np.empty(0, np.int64), Dense(np.empty(0, F)))]),
    "input": lambda: network("Relu", ("N", 0)),
    "operand": lambda: network("Add", ("N", 1), [zeros(1, 0)]),
    "part of a concatenation": lambda: network("Concat", ("N", 4), [zeros(1, 0)], axis=1),
    "slice": lambda: network("Slice", ("N", 4), starts=(2,), ends=(2,), axes=(1,)),
    "gather": lambda: network("Gather", ("N", 4), axis=1, indices=(), indices_shape=(0,)),
    "tile": lambda: network("Tile", ("N", 4), repeats=(1, 0)),
    "expand": lambda: network("Expand", ("N", 1), shape=(1, 0)),
    "resize": lambda: network("Resize", ("N", 1, 4, 4), sizes=(1, 1, 0, 4), mode="nearest"),
    "pad": lambda: network("Pad", ("N", 4), pads=(0, -2, 0, -2)),
    "pool": lambda: network("MaxPool", ("N", 1, 4, 4), kernel_shape=(0, 1)),
    "lstm": lambda: network("LSTM", (3, "N", 4), [zeros(1, 0, 4), zeros(1, 0, 0)], hidden_size=0),
}


@pytest.mark.parametrize("what", EMPTY)
def test_tensors_of_no_elements_are_refused(what):
    """A tensor without elements, wherever it comes from, is one clear error when the network is made or compiled."""
    with pytest.raises((GraphError, UnsupportedShape)) as refused:
        ls.compile(EMPTY[what]())
    assert any(word in str(refused.value) for word in ("tensor", "parameter", "node"))


ENORMOUS = {
    "input": lambda: network("Relu", ("N", 2**60)),
    "expand": lambda: network("Expand", ("N", 1), shape=(1, 2**60)),
    "tile": lambda: network("Tile", ("N", 4), repeats=(1, 2**62)),
    "resize": lambda: network("Resize", ("N", 1, 4, 4), sizes=(1, 1, 2**31, 2**31), mode="nearest"),
    "pad": lambda: network("Pad", ("N", 4), pads=(0, 0, 0, 2**59)),
    "reshape": lambda: network("Reshape", ("N", 4), shape=(2**31, 2**31)),
    "conv": lambda: network("Conv", ("N", 1, 2**30, 2**30), [zeros(1, 1, 1, 1)]),
    "conv with pads": lambda: network("Conv", ("N", 1, 4, 4), [zeros(1, 1, 1, 1)], pads=(2**40, 2**40, 2**40, 2**40)),
}


@pytest.mark.parametrize("what", ENORMOUS)
def test_enormous_tensors_are_refused_at_once(what):
    """2^60 elements are an error before anything of their size is made."""
    with pytest.raises((GraphError, UnsupportedShape)):
        ls.compile(ENORMOUS[what]())


@pytest.mark.parametrize(
    "shapes", [((0, 4, 8, 8), (8, 4, 3, 3)), ((1, 0, 8, 8), (8, 0, 3, 3)), ((1, 4, 8, 8), (0, 4, 3, 3))]
)
def test_arrays_of_no_elements_are_refused(shapes):
    """conv2d says which array is empty."""
    with pytest.raises(UnsupportedShape, match="none of them empty"):
        ls.conv2d(*(np.zeros(shape, F) for shape in shapes))


def small_cnn(seed, channels):
    """Convolutions, a pooling and a linear layer."""
    rng = np.random.default_rng(seed)
    nodes = (
        Node("Conv", "a", ("x", "wa"), ("ta",), {"pads": (1, 1, 1, 1)}),
        Node("Relu", "b", ("ta",), ("tb",)),
        Node("MaxPool", "c", ("tb",), ("tc",), {"kernel_shape": (2, 2), "strides": (2, 2)}),
        Node("Conv", "d", ("tc", "wd"), ("td",), {"pads": (1, 1, 1, 1)}),
        Node("Flatten", "e", ("td",), ("te",), {"axis": 1}),
        Node("Gemm", "f", ("te", "wf"), ("y",), {"transB": 1}),
    )
    shapes = {"wa": (channels, 3, 3, 3), "wd": (channels, channels, 3, 3), "wf": (10, channels * 16 * 16)}
    weights = {name: Dense(rng.standard_normal(shape).astype(F) / 9) for name, shape in shapes.items()}
    return Network(Graph(nodes, (TensorSpec("x", ("N", 3, 32, 32)),), ("y",), tuple(weights)), weights)


def test_two_engines_in_two_threads():
    """Different networks, each on several threads and of changing batch, run at once as they run alone."""
    rng = np.random.default_rng(0)
    engines = [ls.compile(small_cnn(seed, channels), threads=3) for seed, channels in ((1, 16), (2, 40))]
    inputs = [rng.standard_normal((batch, 3, 32, 32)).astype(F) for batch in (1, 2, 5)]
    want = [[engine(x).tobytes() for x in inputs] for engine in engines]
    engines = [ls.compile(small_cnn(seed, channels), threads=3) for seed, channels in ((1, 16), (2, 40))]
    wrong, start = [], threading.Barrier(2)

    def work(number):
        start.wait()
        wrong.extend((number, i) for i in [*range(3)] * 10 if engines[number](inputs[i]).tobytes() != want[number][i])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


FORKS = """
import os, sys, threading, numpy as np, lissome as ls
net = ls.load(sys.argv[1])
engine, x = ls.compile(net, threads=3), np.ones((1, 3, 32, 32), np.float32)
want, stop = engine(x), threading.Event()

def work():
    other = ls.compile(net, threads=2)
    batch = 1
    while not stop.is_set():
        batch = batch % 12 + 1  # more than plans are kept: some are being made all the time
        other(np.ones((batch, 3, 32, 32), np.float32)), engine(np.ones((batch, 3, 32, 32), np.float32))

worker = threading.Thread(target=work)
worker.start()
codes = []
for number in range(12):
    child = os.fork()
    if child == 0:
        right = engine(x).tobytes() == want.tobytes() and engine(np.ones((20, 3, 32, 32), np.float32)).shape == (20, 10)
        os._exit(0 if right else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
worker.join()
sys.exit(any(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_others_run(tmp_path):
    """A child runs its engines although another thread of its parent was running, or planning for, them."""
    ls.save(small_cnn(3, 8), tmp_path / "net.liss", "fast")
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, tmp_path / "net.liss"], check=True, timeout=120)
