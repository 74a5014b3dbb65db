"""Networks on codes: integers from layer to layer, the same bits on every instruction set, numbers where it must be."""

import numpy as np
import pytest

import lissome as ls
from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import Graph, Node, TensorSpec
from lissome.runtime import kernels, reference
from lissome.runtime.codes import panel_vectors
from quantized_nets import Maker, residual_network

pytestmark = pytest.mark.native


def steps(engine, batch=1):
    """The kernels of a plan, without their instruction set."""
    isas = sorted({*kernels.instruction_sets(), *kernels.EXTENSIONS}, key=len, reverse=True)
    found = []
    for _, kernel, _ in engine.profile(batch, 1):
        isa = next(isa for isa in isas if kernel.endswith(f"_{isa}"))
        found.append(kernel.removesuffix(f"_{isa}"))
    return found


def results(net, x):
    """By every instruction set of this machine."""
    return [ls.compile(net, isa=isa, threads=2).run({"x": x}) for isa in kernels.instruction_sets()]


def check(net, x, tolerance, *, exact=True):
    """All instruction sets give the same bits where all is integers, and what the graph means; returns the kernels."""
    found = results(net, x)
    want = reference.run(net, {"x": x})
    for name, y in found[0].items():
        assert not exact or all(np.array_equal(y, other[name]) for other in found[1:]), name
        assert all(np.abs(other[name] - want[name]).max() <= tolerance for other in found), name
    return steps(ls.compile(net), len(x))


def test_a_residual_network_stays_on_integers():
    """From the image's codes to the last layer's sums no step computes in float32; additions are the layers' own."""
    net, x = residual_network()
    found = check(net, x, 0.2)
    assert [name for name in found if not name.startswith(("reorder", "unary_f32_copy"))] == [
        *("quantize_i8_image", "conv_i8_first", "conv_i8_direct", "conv_i8_depthwise", "conv_i8_direct"),
        *("pool_i8_max", "conv_i8_direct", "conv_i8_direct", "pool_i8_average", "gemm_i8_f32"),
    ]
    engine = ls.compile(net, threads=1)
    assert np.array_equal(engine(x)[:1], engine(x[:1])), "a sample's result depends on no other"


def test_one_code_off_where_rounding_differs_at_most():
    """One layer: its codes are the reference's, but for the last one where a product of scales rounds otherwise."""
    m = Maker(3, (19, 12, 13))
    y = m.codes(m.node("Relu", m.layer("Conv", m.codes("x", 0.05, 77), (33, 19, 3, 3), pads=(1, 2, 0, 1))), 0.02, 0)
    net, x = m.network(y), m.input()
    difference = np.abs(results(net, x)[0][y] - reference.run(net, {"x": x})[y]) / 0.02
    assert difference.max() < 1.01
    assert (difference > 0.5).mean() < 0.001


@pytest.mark.parametrize("batch", [1, 3])
def test_concatenations_of_whole_blocks_are_written_in_place(batch):
    """SqueezeNet's: for one sample the branches write into the concatenation; else they go through float32."""
    m = Maker(1, (16, 9, 9))
    x = m.codes("x", 0.04, 128)
    branches = [
        m.codes(m.node("Relu", m.layer("Conv", x, (32, 16, k, k), pads=(k // 2,) * 4)), 0.05, 0) for k in (1, 3)
    ]
    joined = m.codes(m.node("Concat", *branches, axis=1), 0.05, 0)
    net = m.network(m.layer("Conv", joined, (8, 64, 1, 1)))
    found = check(net, m.input(batch), 0.05)
    assert ("select_f32_blocked" in found) == (batch > 1)


def test_what_integers_do_not_do_goes_through_float32():
    """Other functions, channels that are no whole blocks, products of two tensors: numbers there, codes around them."""
    m = Maker(2, (20, 8, 8))
    x = m.codes(m.node("HardSwish", m.layer("Conv", m.codes("x", 0.04, 128), (12, 20, 3, 3))), 0.05, 10)
    gate = m.node("Sigmoid", m.layer("Conv", m.codes(m.node("GlobalAveragePool", x), 0.01, 3), (12, 12, 1, 1)))
    x = m.codes(m.node("Mul", x, gate), 0.05, 10)
    x = m.codes(m.layer("Conv", x, (12, 2, 3, 3), group=6), 0.05, 100)
    x = m.codes(m.node("Concat", x, x, axis=1), 0.05, 100)
    x = m.codes(m.node("AveragePool", x, kernel_shape=(2, 2), pads=(1, 0, 0, 1), count_include_pad=1), 0.04, 100)
    x = m.codes(m.node("Flatten", x), 0.06, 90)
    y = m.node("Softmax", m.layer("Gemm", x, (7, 24 * 16)))
    found = check(m.network(y, x), m.input(), 0.3, exact=False)
    assert {"conv_i8_direct_f32", "binary_f32_multiply", "softmax_f32", "pool_i8_average"} <= set(found)


def test_layers_whose_sums_could_overflow_run_in_float32():
    """A bias beyond int32 in units of the sums, or weights whose zero is not 0, are no integer layer."""
    m = Maker(4, (8, 5, 5))
    x = m.codes("x", 0.04, 128)
    m.parameter("big", np.full(8, 1e9))
    plain = m.layer("Conv", x, (8, 8, 3, 3), biased=False)
    node = m.nodes.pop()
    m.nodes.append(Node("Conv", node.name, (*node.inputs, "big"), node.outputs, node.attributes))
    assert "conv_i8_direct_f32" not in check(m.network(plain), m.input(), 1e3, exact=False)
    m = Maker(4, (8, 5, 5))
    m.layer("Conv", m.codes("x", 0.04, 128), (8, 8, 3, 3))
    at = next(i for i, node in enumerate(m.nodes) if node.inputs[0].startswith("w"))
    shifted = m.nodes[at]
    m.nodes[at] = Node(
        shifted.op, shifted.name, shifted.inputs, shifted.outputs, {**shifted.attributes, "zero_point": 5}
    )
    assert "conv_i8_direct_f32" not in check(m.network(m.nodes[-1].name), m.input(), 1e-3, exact=False)


def test_an_algorithm_that_is_asked_for_is_taken():
    """kernels={name: ...} names one on float32, which then computes with the weight that the codes stand for."""
    m = Maker(5, (8, 9, 9))
    y = m.layer("Conv", m.codes("x", 0.04, 128), (8, 8, 3, 3))
    net, x = m.network(y), m.input()
    engine = ls.compile(net, kernels={y: "im2col"})
    assert "conv_f32_im2col" in steps(engine)
    assert np.abs(engine(x) - reference.run(net, {"x": x})[y]).max() < 1e-3


def test_tensors_of_codes_are_half_a_graph():
    """Codes as an output, codes that something else reads, scales that are computed: an error that says so."""
    m = Maker(6, (8, 5, 5))
    m.codes("x", 0.04, 128)
    with pytest.raises(UnsupportedShape, match="DequantizeLinear behind it"):
        ls.compile(m.network(m.nodes[0].name))
    with pytest.raises(UnsupportedShape, match="computes with codes"):
        ls.compile(m.network(m.node("Relu", m.nodes[0].name)))
    scale = Node("QuantizeLinear", "q", ("x", "s"), ("q",), {"zero_point": 256})
    graph = Graph((scale,), (TensorSpec("x", ("N", 4)), TensorSpec("s", (1,))), ("q",))
    with pytest.raises(GraphError, match="is no uint8"):
        ls.compile(ls.Network(graph))
    graph = Graph((Node("QuantizeLinear", "q", ("x", "s"), ("q",)),), graph.inputs, ("q",))
    with pytest.raises(UnsupportedShape, match="one, known"):
        ls.compile(ls.Network(graph))


def test_codes_take_a_byte():
    """The arena of a network on codes is a quarter of the float32 one's, and so are its weights."""
    net, _ = residual_network()
    plain = [node for node in net.graph.nodes if node.op not in ("QuantizeLinear", "DequantizeLinear")]
    known = {node.outputs[0]: node.inputs[0] for node in net.graph.nodes if node.op.endswith("eLinear")}

    def source(name):
        return source(known[name]) if name in known else name

    nodes = tuple(Node(n.op, n.name, tuple(map(source, n.inputs)), n.outputs, n.attributes) for n in plain)
    used = {name for node in nodes for name in node.inputs}
    weights = {name: weight for name, weight in net.weights.items() if name in used}
    floats = ls.Network(Graph(nodes, net.graph.inputs, net.graph.outputs, tuple(weights)), weights)

    def arena(net):
        return int(
            ls.compile(
                net,
                kernels={n.name: "direct" for n in nodes if n.op == "Conv" and "group" not in n.attributes}
                if net is floats
                else None,
            )
            .explain()
            .split(" bytes of arena")[0]
            .split()[-1]
            .replace(",", "")
        )

    assert arena(net) < 0.45 * arena(floats)  # the first layer's frame is four channels wide


def test_panels_waste_little():
    """As wide as the layer needs, and for one pixel as wide as can be."""
    assert panel_vectors(1, 196, "avx512_vnni") == 1
    assert panel_vectors(3, 3136, "avx512_vnni") == 3
    assert panel_vectors(63, 1, "avx512_vnni") == 4
