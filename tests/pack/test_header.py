"""The header: canonical, short, and sceptical."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import lenet_300_100

from lissome.errors import FormatError, GraphError
from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.pack.header import TensorForm, from_text, to_text
from lissome.pack.split import take_apart
from lissome.weights.formats import FORMATS
from networks import mlp
from problems import graphs

shapes = st.lists(st.integers(0, 40), max_size=4).map(tuple)


def text_of(net) -> bytes:
    return to_text(net.graph, [take_apart(name, weight).form for name, weight in net.weights.items()], net.recipe)


@st.composite
def headers(draw):
    """A graph, a form for each parameter, a recipe, and how many parameters were dropped."""
    graph = draw(graphs())
    forms = tuple(
        TensorForm(
            name,
            draw(shapes),
            draw(st.booleans()),
            draw(st.none() | st.integers(1, 65_536)),
            draw(st.sampled_from(FORMATS)),
        )
        for name in graph.parameters
    )
    recipe = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
    return graph, forms, recipe, draw(st.just(0) | st.integers(1, 2**48 - 1))


@settings(deadline=None)
@given(headers())
def test_round_trip(header):
    """Any graph, tensor table, recipe and number of dropped parameters come back equal, and so does the text."""
    text = to_text(*header)
    assert from_text(text) == header
    assert to_text(*from_text(text)) == text


def test_the_text_is_what_the_document_says():
    """The header of a LeNet, written out: lists, and what can be derived left out."""
    line, _, recipe = text_of(lenet_300_100()).decode().partition("\n")
    assert line == (
        '[[["x",["N",1,28,28]]],'
        '[["Flatten","flatten",[1],{"axis":1}],'
        '["Gemm","fc1",[1,".weight",".bias"],{"transB":1}],["Relu","relu",[1]],'
        '["Gemm","fc2",[1,".weight",".bias"],{"transB":1}],["Relu","relu_2",[1]],'
        '["Gemm","fc3",[1,".weight",".bias"],{"transB":1},["y"]]],'
        '[[300,784,"s15e"],[300,"e"],[100,300,"s15e"],[100,"e"],[10,100,"s15e"],[10,"e"]]]'
    )
    assert recipe == lenet_300_100().recipe


def test_names_that_need_care():
    """A leading full stop, an input left out, shared weights, several outputs, parameters in another order."""
    graph = Graph(
        (
            Node("Split", ".odd", ("x",), ("a", ".odd.b")),
            Node("Custom", "c", ("a", "", ".w", "c.w", "d.w", "free"), ("c",)),
            Node("Custom", "d", (".odd.b", "c.w", "x"), ("d",), {"alpha": 1.0, "beta": 1, "mode": "é", "k": (1, 2)}),
        ),
        (TensorSpec("x", ("N", 3), "float16"),),
        ("d", "a"),
        ("unused", "d.w", "c.w", ".w", "free"),
    )
    forms = tuple(TensorForm(name, (2,), sparse=False, entries=None, format="float32") for name in graph.parameters)
    assert from_text(to_text(graph, forms, "")) == (graph, forms, "", 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_say_is_refused_when_saving(value):
    """An attribute that is NaN, infinite or not text cannot be stored, and the error says so."""
    graph = Graph((Node("Custom", "y", ("x",), ("y",), {"a": value}),), (TensorSpec("x", ("N",)),), ("y",))
    with pytest.raises(GraphError, match="an attribute, name or recipe that a file cannot hold"):
        to_text(graph, (), "")


def changed(**parts) -> bytes:
    """The header of a small network with some of its five parts replaced."""
    line, _, recipe = text_of(mlp()).decode().partition("\n")
    plain = json.loads(line)
    for name, value in parts.items():
        place = ["inputs", "nodes", "tensors", "outputs", "parameters"].index(name)
        plain[place : place + 1] = [value]
    return f"{json.dumps(plain, ensure_ascii=False, separators=(',', ':'))}\n{recipe}".encode()


X = [["x", ["N", 28]]]
T = [[30, 28, "s7e"], [30, "e"], [10, 30, "s7h"], [10, "h"]]
LINE = text_of(mlp())

CASES = {
    "not UTF-8": (b"\xff\n", "not the text of a header"),
    "not JSON": (b"[[[\n", "not the text of a header"),
    "no line feed": (LINE.partition(b"\n")[0], "expected a list of inputs, nodes, tensors"),
    "not a list": (b'{"a":1}\n', "expected a list of inputs, nodes, tensors"),
    "two parts": (b"[[],[]]\n", "expected a list of inputs, nodes, tensors"),
    "six parts": (b"[[],[],[],[],[],[]]\n", "expected a list of inputs, nodes, tensors"),
    "nothing dropped spelt out": (changed(outputs=0), "not in the one canonical form"),
    "fewer than nothing dropped": (changed(outputs=-1), "dropped parameters is not below 2\\^48"),
    "too many dropped": (changed(outputs=2**48), "dropped parameters is not below 2\\^48"),
    "dropped true": (changed(outputs=True), "not the text of a header|contradicts"),
    "deep nesting": (b"[" * 200_000 + b"\n", "not the text of a header"),
    "a number of 5000 digits": (b"[1" + b"0" * 5000 + b"]\n", "not the text of a header"),
    "NaN": (LINE.replace(b'"transB":1', b'"transB":NaN', 1), "the graph contradicts itself|not the text of a header"),
    "infinite attribute": (LINE.replace(b'"transB":1', b'"transB":1e999', 1), "contradicts itself|not the text"),
    "a blank": (LINE.replace(b",", b", ", 1), "not in the one canonical form"),
    "an attribute twice": (LINE.replace(b'"transB":1', b'"transB":0,"transB":1', 1), "not in the one canonical form"),
    "an escape": (LINE.replace(b"fc1", b"\\u0066c1", 1), "not in the one canonical form"),
    "default outputs spelt out": (changed(outputs=["relu2"]), "not in the one canonical form"),
    "default dtype spelt out": (changed(inputs=[["x", ["N", 28], "float32"]]), "not in the one canonical form"),
    "inputs no list": (changed(inputs=7), "not the text of a header"),
    "input without shape": (changed(inputs=[["x"]]), "not the text of a header"),
    "extent 0": (changed(inputs=[["x", ["N", 0]]]), "the graph contradicts itself"),
    "extent true": (changed(inputs=[["x", ["N", True]]]), "the graph contradicts itself|not the text"),
    "unknown output": (changed(outputs=["nowhere"]), "the graph contradicts itself"),
    "parameters of the wrong number": (changed(outputs=["relu2"], parameters=["fc1.weight"]), "contradicts|described"),
    "too few tensors": (changed(tensors=T[:3]), "3 tensors are described, but the graph has 4"),
    "tensors no list": (changed(tensors=0), "not the text of a header"),
    "a tensor no list": (changed(tensors=[5, *T[1:]]), "tensor 'fc1.weight': expected its extents and its form"),
    "a tensor empty": (changed(tensors=[[], *T[1:]]), "tensor 'fc1.weight': expected its extents and its form"),
    "an extent of text": (changed(tensors=[["30", 28, "e"], *T[1:]]), "tensor 'fc1.weight': expected its extents"),
    "an extent true": (changed(tensors=[[True, 28, "e"], *T[1:]]), "tensor 'fc1.weight': expected its extents"),
    "a negative extent": (changed(tensors=[[-1, 28, "e"], *T[1:]]), "tensor 'fc1.weight' has impossible shape"),
    "a size that overflows": (changed(tensors=[[2**40, 2**40, "e"], *T[1:]]), "'fc1.weight' has impossible shape"),
    "nine dimensions": (changed(tensors=[[1] * 9 + ["e"], *T[1:]]), "'fc1.weight' has impossible shape"),
    "no form": (changed(tensors=[[30, 28, 5], *T[1:]]), "tensor 'fc1.weight': unknown form '5'"),
    "unknown format": (changed(tensors=[[30, 28, "s7x"], *T[1:]]), "tensor 'fc1.weight': unknown form 's7x'"),
    "no entries": (changed(tensors=[[30, 28, "s0e"], *T[1:]]), "tensor 'fc1.weight': unknown form 's0e'"),
    "leading zero": (changed(tensors=[[30, 28, "s07e"], *T[1:]]), "tensor 'fc1.weight': unknown form 's07e'"),
    "other digits": (changed(tensors=[[30, 28, "s٧e"], *T[1:]]), "tensor 'fc1.weight': unknown form"),
    "line feed in a form": (changed(tensors=[[30, 28, "e\n"], *T[1:]]), "tensor 'fc1.weight': unknown form"),
    "too many entries": (changed(tensors=[[30, 28, "s65537e"], *T[1:]]), "a codebook of 65537 entries; at most 65536"),
    "a node too short": (changed(nodes=[["Relu", "r"]]), "not the text of a header"),
    "a node too long": (changed(nodes=[["Relu", "r", [1], {}, ["r"], 1]]), "not the text of a header"),
    "a node of text": (changed(nodes=["Relu"]), "not the text of a header"),
    "attributes no object": (changed(nodes=[["Relu", "r", [1], [1]]]), "the graph contradicts itself"),
    "nested attribute": (changed(nodes=[["Relu", "r", [1], {"a": [[1]]}]], tensors=[]), "contradicts itself"),
    "no such tensor": (changed(nodes=[["Relu", "r", [2]]]), "node 'r' reads the tensor made 2 before it; there are 1"),
    "tensor zero": (changed(nodes=[["Relu", "r", [0]]]), "node 'r' reads the tensor made 0 before it"),
    "a negative tensor": (changed(nodes=[["Relu", "r", [-1]]]), "node 'r' reads the tensor made -1 before it"),
    "an input null": (changed(nodes=[["Relu", "r", [None]]]), "node 'r' reads 'None', which is no name"),
    "an input true": (changed(nodes=[["Relu", "r", [True]]]), "node 'r' reads 'True', which is no name"),
    "a literal number": (changed(nodes=[["Relu", "r", [[1]]]]), "node 'r' reads '1', which is no name"),
    "an input of two": (changed(nodes=[["Relu", "r", [["a", "b"]]]]), "not the text of a header"),
    "a name with a control character": (changed(nodes=[["Relu", "r\x07", [1]]], tensors=[]), "contradicts itself"),
    "an endless name": (changed(nodes=[["Relu", "r" * 300, [1]]], tensors=[]), "the graph contradicts itself"),
    "a name of no text": (changed(nodes=[["Relu", 5, [1]]], tensors=[]), "contradicts itself|not the text"),
    "made twice": (changed(nodes=[["Relu", "x", [1]]], tensors=[]), "the graph contradicts itself"),
    "a surrogate": (LINE.replace(b'"Relu"', b'"\\ud800"', 1), "contradicts itself|not the text"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_way_to_be_wrong(case):
    """One FormatError that says header, and what about it."""
    text, message = CASES[case]
    with pytest.raises(FormatError, match=rf"^header: .*({message})"):
        from_text(text)


def test_overhead_of_a_lenet_is_small():
    """Framing, graph, shapes and a recipe of 650 bytes cost a small file at most 150 bytes in all."""
    from lissome.pack import prime, text

    net = lenet_300_100()
    assert len(net.recipe) > 600
    assert len(text.encode_text(text_of(net), prime.HEADER)) + 24 <= 150
