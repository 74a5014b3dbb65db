"""Generators that all tests share: coded weights, graphs and networks that hypothesis can shrink."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Codebook, Dense, Sparse
from lissome.weights.formats import FORMATS, round_to

shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
# Within the range of every format: no float8 overflow.
reals = st.floats(-448, 448, width=32)
names = st.text(st.characters(min_codepoint=32, categories=["L", "N", "P"]), min_size=1, max_size=12)


@st.composite
def dense(draw, shape=shapes):
    """A Dense weight in any format, its values rounded to it."""
    fmt = draw(st.sampled_from(FORMATS))
    values = draw(npst.arrays(np.float32, shape, elements=reals))
    return Dense(round_to(values, fmt), fmt)


@st.composite
def codebooks(draw, shape=shapes):
    """A Codebook weight of 1 to 300 entries: both code widths, unused entries and repeated values included."""
    fmt = draw(st.sampled_from(FORMATS))
    entries = draw(st.integers(1, 300))
    values = draw(npst.arrays(np.float32, (entries,), elements=reals, fill=reals))
    codes = draw(npst.arrays(np.uint16, shape, elements=st.integers(0, entries - 1)))
    return Codebook(codes, round_to(values, fmt), fmt)


@st.composite
def sparse(draw, shape=shapes):
    """A Sparse weight with anything from no survivor to all, over dense or shared values."""
    extents = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    kept = draw(npst.arrays(np.bool_, (math.prod(extents),)))
    positions = np.flatnonzero(kept)
    return Sparse(extents, positions, draw(st.one_of(dense(positions.shape), codebooks(positions.shape))))


def coded_weights(shape=shapes):
    """A coded weight of any kind."""
    return st.one_of(dense(shape), codebooks(shape), sparse(shape))


attributes = st.dictionaries(
    names,
    st.one_of(
        st.integers(-(2**40), 2**40),
        st.floats(allow_nan=False, allow_infinity=False),
        names,
        st.lists(st.integers(-9, 9), max_size=4).map(tuple),
        st.lists(st.floats(-1, 1), max_size=4).map(tuple),
    ),
    max_size=3,
)


@st.composite
def graphs(draw):
    """A well-formed graph of invented operators: what a graph promises without knowing what an operator means."""
    pool = draw(st.lists(names, min_size=4, max_size=16, unique=True))
    edge = draw(st.integers(1, 2))
    inputs = tuple(
        TensorSpec(name, draw(st.tuples(st.just("N"), st.integers(1, 9))), draw(st.sampled_from(["float32", "uint8"])))
        for name in pool[:edge]
    )
    made = edge + draw(st.integers(0, 2))
    parameters = tuple(pool[edge:made])
    nodes = []
    while made < len(pool):
        outputs = pool[made : made + draw(st.integers(1, 2))]
        read = draw(st.lists(st.sampled_from([*pool[:made], ""]), min_size=1, max_size=3))
        nodes.append(Node(draw(names), draw(names), tuple(read), tuple(outputs), draw(attributes)))
        made += len(outputs)
    returned = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True))
    return Graph(tuple(nodes), inputs, tuple(returned), parameters)


@st.composite
def networks(draw):
    """A graph with a coded weight of any kind for each of its parameters."""
    graph = draw(graphs())
    recipe = draw(st.sampled_from(["", '[[rule]]\nlayer = "*"\n']))
    return Network(graph, {name: draw(coded_weights()) for name in graph.parameters}, recipe)
