"""Graph: well-formed by construction, one plain form, and no plain data, however hostile, that gets past it."""

import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lissome.errors import GraphError
from lissome.graph import Graph, Node, TensorSpec
from lissome.graph.ir import MAX_NAME, MAX_NODES
from problems import graphs

X = TensorSpec("x", ("N", 4))


def relu(source, target, name="relu"):
    """A node that reads one tensor and makes another."""
    return Node("Relu", name, (source,), (target,))


def plain_chain():
    """The plain form of x → Gemm → Relu → y, with one attribute of each type."""
    attributes = {"alpha": 1.5, "transB": 1, "mode": "same", "pads": (0, 1), "scales": (0.5, 2.0), "none": ()}
    gemm = Node("Gemm", "fc", ("x", "w"), ("h",), attributes)
    return Graph((gemm, relu("h", "y")), (X,), ("y",), ("w",)).to_plain()


@given(graphs())
def test_plain_form_is_json_and_round_trips(graph):
    """from_plain inverts to_plain, through JSON text and back, attributes and their types included."""
    again = Graph.from_plain(json.loads(json.dumps(graph.to_plain())))
    assert again == graph
    for ours, theirs in zip(again.nodes, graph.nodes, strict=True):
        for key, value in theirs.attributes.items():
            assert type(ours.attributes[key]) is type(value)


@given(graphs())
def test_plain_form_is_deterministic(graph):
    """Equal graphs give equal JSON text, whatever the order in which attributes were given."""
    shuffled = [
        Node(n.op, n.name, n.inputs, n.outputs, dict(reversed(list(n.attributes.items())))) for n in graph.nodes
    ]
    twin = Graph(tuple(shuffled), graph.inputs, graph.outputs, graph.parameters)
    assert json.dumps(twin.to_plain()) == json.dumps(graph.to_plain())


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=5)),
    max_leaves=8,
)


def places(plain, path=()):
    """The path of every value inside nested dicts and lists, the whole first."""
    yield path
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


@given(st.data())
def test_damaged_plain_data_is_refused_or_is_the_form_of_a_graph(data):
    """Any value anywhere replaced by any other: GraphError, or a graph whose plain form is exactly that data."""
    plain = plain_chain()
    path = data.draw(st.sampled_from(list(places(plain))))
    value = data.draw(json_like)
    if path:
        target = plain
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
    else:
        plain = value
    before = copy.deepcopy(plain)
    try:
        graph = Graph.from_plain(plain)
    except GraphError:
        return
    assert graph.to_plain() == before


@pytest.mark.parametrize("path", [p for p in places(plain_chain()) if p])
def test_every_part_of_the_plain_form_is_needed(path):
    """Without any one of its keys, or with null in its place, plain data is no graph."""
    plain = plain_chain()
    target = plain
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = None
    with pytest.raises(GraphError):
        Graph.from_plain(plain)
    if len(path) == 1:
        del plain[path[0]]
        with pytest.raises(GraphError, match="its keys are not nodes, inputs, outputs and parameters"):
            Graph.from_plain(plain)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "finite number"),
        (math.inf, "finite number"),
        (2**63, "64-bit integer"),
        (-(2**63) - 1, "64-bit integer"),
        (True, "expected a number, found bool"),
        ([1, "2"], "expected a number, found str"),
        ([[1]], "expected a number, found list"),
        ({}, "expected a number, found dict"),
    ],
)
def test_attributes_hold_what_onnx_attributes_hold(value, message):
    """A 64-bit integer, a finite float, a string, or a list of numbers; nothing else."""
    plain = plain_chain()
    plain["nodes"][0][4]["alpha"] = value
    with pytest.raises(GraphError, match=message):
        Graph.from_plain(plain)


def test_text_is_not_taken_for_a_list_of_names():
    """The string "xw" is not the inputs x and w: there is one plain form, and it has lists."""
    plain = plain_chain()
    plain["nodes"][0][2] = "xw"
    with pytest.raises(GraphError, match="expected a list, found str"):
        Graph.from_plain(plain)


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs", "parameters", "message"),
    [
        ((relu("y", "z"),), (X,), ("z",), (), r"node 'relu' \(Relu\) reads 'y', which nothing before it makes"),
        ((relu("y", "z"), relu("x", "y")), (X,), ("z",), (), "reads 'y', which nothing before it makes"),
        ((relu("z", "z"),), (X,), ("z",), (), "reads 'z', which nothing before it makes"),
        ((relu("x", "x"),), (X,), ("x",), (), "tensor 'x' is defined twice, the second time by node 'relu'"),
        ((Node("Split", "s", ("x",), ("a", "a")),), (X,), ("a",), (), "tensor 'a' is defined twice"),
        ((relu("x", "w"),), (X,), ("w",), ("w",), "tensor 'w' is defined twice, the second time by node"),
        ((), (X, X), ("x",), (), "tensor 'x' is defined twice"),
        ((), (X,), ("x",), ("x",), "tensor 'x' is defined twice"),
        ((), (X,), ("x",), ("w", "w"), "tensor 'w' is defined twice"),
        ((), (X,), ("y",), (), "output 'y' is made by no node"),
        ((), (), ("x",), ("x",), "at least one input and one output"),
        ((), (X,), (), (), "at least one input and one output"),
        ((), (X,), ("x",), ("",), "name '' is empty"),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(nodes, inputs, outputs, parameters, message):
    """Every tensor is made once, before it is read; a graph has an input and an output."""
    with pytest.raises(GraphError, match=message):
        Graph(nodes, inputs, outputs, parameters)


def test_an_input_may_be_left_out():
    """An empty name among a node's inputs means that the operand is absent, as in ONNX."""
    graph = Graph((Node("Clip", "clip", ("x", "", "top"), ("y",)),), (X,), ("y",), ("top",))
    assert Graph.from_plain(graph.to_plain()).nodes[0].inputs == ("x", "", "top")


@pytest.mark.parametrize("name", ["", "a" * (MAX_NAME + 1), "a\nb", "a\0", "\u202egnp.exe", "\ud800"])
@pytest.mark.parametrize(
    "make",
    [
        lambda name: Node(name, "n", ("x",), ("y",)),
        lambda name: Node("Relu", name, ("x",), ("y",)),
        lambda name: Node("Relu", "n", ("x",), (name,)),
        lambda name: Node("Relu", "n", ("x",), ("y",), {name: 1}),
        lambda name: TensorSpec(name, ("N",)),
        lambda name: Graph((), (X,), ("x",), (name,)),
    ],
)
def test_names_are_short_and_printable(make, name):
    """A name can be shown in a terminal: not empty, at most 256 characters, no control or direction characters."""
    with pytest.raises(GraphError, match="is empty, longer than 256 characters, or not printable"):
        make(name)


def test_a_node_reads_printable_names_only():
    """The inputs of a node are names too, unless left out."""
    with pytest.raises(GraphError, match="not printable"):
        Node("Relu", "n", ("a\tb",), ("y",))


def test_the_longest_name_is_allowed():
    """The limit itself is inside."""
    assert TensorSpec("é" * MAX_NAME, ("N",)).name == "é" * MAX_NAME


@pytest.mark.parametrize("extent", [0, -1, 2**31, "M", "", 1.5])
def test_extents_are_positive_or_the_batch(extent):
    """An extent is an int from 1 below 2**31, or "N"."""
    with pytest.raises(GraphError, match="use a positive int or 'N' for the batch"):
        TensorSpec("x", ("N", extent))


def test_dtypes_are_those_of_the_table():
    """A dtype that no engine could know is refused where it enters, and the error lists those that exist."""
    with pytest.raises(GraphError, match="tensor 'x' has dtype 'object'; known: float32, float16"):
        TensorSpec("x", ("N",), "object")


def test_a_graph_is_not_larger_than_the_limit():
    """More than 100,000 nodes are refused before they are looked at."""
    with pytest.raises(GraphError, match=f"{MAX_NODES + 1} nodes; at most {MAX_NODES} are allowed"):
        Graph((relu("x", "y"),) * (MAX_NODES + 1), (X,), ("y",))


def test_a_node_cannot_be_changed():
    """Attributes are read-only, and are no longer the dict that they were given as."""
    given_attributes = {"alpha": 1}
    node = Node("Relu", "n", ("x",), ("y",), given_attributes)
    given_attributes["alpha"] = 2
    assert node.attributes["alpha"] == 1
    with pytest.raises(TypeError):
        node.attributes["alpha"] = 3
    with pytest.raises(AttributeError):
        node.op = "Gemm"
