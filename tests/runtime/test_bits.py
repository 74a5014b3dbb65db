"""Networks of binary layers: on bits where that is the fastest, what the graph means everywhere.

Weights, scales and inputs are small multiples of powers of two: every sum is exact, so that results are equal, and no
sign depends on a rounding.
"""

import numpy as np
import pytest

import lissome as ls
from lissome.runtime import kernels, reference
from lissome.runtime.lower import bits
from lissome.weights import Codebook, Dense
from quantized_nets import Maker

pytestmark = pytest.mark.native

ISAS = kernels.instruction_sets()
ALL_BITS = dict.fromkeys(bits.GAIN, 1e6)


@pytest.fixture
def always(monkeypatch):
    """Bits are taken wherever they can be, however small the layer and slow the instruction set."""
    monkeypatch.setattr(bits, "GAIN", ALL_BITS)
    monkeypatch.setattr(bits, "SIGNS", 0.0)


class Binary(Maker):
    """Layers of ±α, and of −α, 0 and α."""

    def weight(self, shape, *, ternary=False, stored="scaled"):
        """A weight: codes behind their scales, or the numbers themselves, shared or not."""
        name = f"w{len(self.nodes)}"
        signs = self.rng.choice((-1, 0, 1) if ternary else (-1, 1), shape)
        alpha = 2.0 ** -self.rng.integers(1, 5, shape[0]).astype(np.float32)
        if stored == "scaled":
            self.weights[name] = Codebook((signs + 1).astype(np.uint8), np.array([-1, 0, 1], np.float32))
            return self.node("DequantizeLinear", name, self.parameter(f"{name}.scale", alpha), axis=0, dtype="int8")
        one = np.float32(0.25) if stored == "shared" else alpha.reshape(-1, *[1] * (len(shape) - 1))
        values = (signs * one).astype(np.float32)
        self.weights[name] = Codebook((signs + 1).astype(np.uint8), np.array([-0.25, 0, 0.25], np.float32))
        if stored == "dense":
            self.weights[name] = Dense(values)
        return name

    def bias(self, filters):
        return self.parameter(f"b{len(self.nodes)}", self.rng.integers(-8, 8, filters) / 4)

    def batch_norm(self, x, channels):
        named = {"scale": np.array([1, -0.5])[np.arange(channels) % 2], "mean": self.rng.integers(-3, 3, channels)}
        scale, mean = (self.parameter(f"{part}{len(self.nodes)}", value) for part, value in named.items())
        offset = self.bias(channels)
        variance = self.parameter(f"var{len(self.nodes)}", np.ones(channels))
        return self.node("BatchNormalization", x, scale, offset, mean, variance, epsilon=0.0)

    def signs(self, x):
        return self.node("Binarize", x)

    def integers(self, batch=2):
        """An input of whole numbers, zeros of both signs among them."""
        x = self.rng.integers(-3, 4, (batch, *self.shape)).astype(np.float32)
        return np.where(x == 0, np.copysign(x, self.rng.normal(size=x.shape)), x).astype(np.float32)


def stems(engine, batch=1):
    """The kernels of a plan, without their instruction set."""
    isas = sorted({*ISAS, *kernels.EXTENSIONS}, key=len, reverse=True)
    names = [kernel for _, kernel, _ in engine.profile(batch, 1)]
    return [name.removesuffix(f"_{next(isa for isa in isas if name.endswith(f'_{isa}'))}") for name in names]


def check(net, x):
    """Every instruction set gives exactly what the graph means; returns the kernels."""
    want = reference.run(net, {"x": x})
    for isa in ISAS:
        for name, y in ls.compile(net, isa=isa, threads=2).run({"x": x}).items():
            np.testing.assert_array_equal(y, want[name].astype(np.float32), err_msg=isa)
    return stems(ls.compile(net), len(x))


def xnor_network(stored="scaled"):
    """A small network in XNOR-Net's order, float first and last layer: norm, signs, convolution, pooling."""
    m = Binary(0, (3, 14, 15))
    first = m.parameter("first", m.rng.integers(-2, 3, (24, 3, 3, 3)))
    x = m.batch_norm(m.node("Conv", "x", first, strides=(2, 2), pads=(1, 1, 1, 1)), 24)
    x = m.node("Conv", m.signs(x), m.weight((40, 24, 3, 3), stored=stored), m.bias(40), pads=(1, 1, 1, 1))
    x = m.node("MaxPool", m.node("Relu", m.batch_norm(x, 40)), kernel_shape=(2, 2), strides=(2, 2))
    bits = m.signs(m.batch_norm(x, 40))
    a = m.node("Conv", bits, m.weight((17, 40, 1, 1), ternary=True, stored=stored))
    b = m.node("Conv", bits, m.weight((17, 40, 3, 2), stored=stored), m.bias(17), pads=(1, 0, 1, 1), dilations=(1, 1))
    x = m.node("Flatten", m.signs(m.node("Add", a, b)))
    x = m.node("Gemm", x, m.weight((33, 17 * 3 * 4), stored=stored), m.bias(33), transB=1)
    last = m.parameter("last", m.rng.integers(-2, 3, (10, 33)))
    return m.network(m.node("Gemm", x, last, transB=1)), m.integers()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("stored", ["scaled", "dense", "shared"])
def test_a_network_of_binary_layers_runs_on_bits(stored, tmp_path):
    """However its weights are stored: every layer but the first and the last is a count of bits; norms behind layers
    are their scales; signs that two layers read are taken once; and a packed file runs the same.
    """
    net, x = xnor_network(stored)
    found = [name for name in check(net, x) if not name.startswith(("reorder", "affine", "pool"))]
    assert [name for name in found if not name.startswith(("conv_f32", "gemm"))] == [
        *("binarize_b1", "conv_b1_binary", "binarize_b1", "conv_b1_ternary", "conv_b1_binary"),
        *("binary_f32_add", "binarize_b1", "conv_b1_binary"),
    ]
    ls.save(net, tmp_path / "net.liss")
    np.testing.assert_array_equal(ls.compile(ls.load(tmp_path / "net.liss"))(x), ls.compile(net)(x))


def test_the_planner_says_why():
    """Large layers run on bits, and explain() says how much faster the model takes that to be; a kernel asked for by
    name is a float32 one.
    """
    m = Binary(1, (64, 28, 28))
    net = m.network(m.node("Conv", m.signs("x"), m.weight((64, 64, 3, 3)), pads=(1, 1, 1, 1)))
    engine = ls.compile(net)
    assert "binary weights on signs" in engine.explain(repeats=1)
    assert "conv_b1_binary" in stems(engine)
    asked = ls.compile(net, kernels={net.graph.nodes[-1].name: "direct"})
    assert "conv_f32_direct" in stems(asked)
    x = m.integers(1)
    np.testing.assert_array_equal(engine(x), asked(x))


@pytest.mark.usefixtures("always")
def test_scale_factors_of_the_input():
    """XNOR-Net's K, the mean |x| of each window: ordinary operators beside the layer, and a product."""
    m = Binary(2, (16, 6, 8))
    y = m.node("Conv", m.signs("x"), m.weight((16, 16, 2, 2)), pads=(0, 0, 1, 1))
    mean = m.node("ReduceMean", m.node("Abs", "x"), axes=(1,))
    k = m.node("AveragePool", mean, kernel_shape=(2, 2), pads=(0, 0, 1, 1), count_include_pad=1)
    found = check(m.network(m.node("Mul", y, k)), m.integers())
    assert "conv_b1_binary" in found


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("case", ["two scales", "groups", "bias", "unequal", "beta", "reads numbers"])
def test_what_bits_cannot_do_runs_on_numbers(case):
    """Filters of several magnitudes, groups, other factors: float32, the same meaning; and signs that
    something else reads are numbers there, too.
    """
    m = Binary(3, (6, 5, 7) if case != "beta" else (6,))
    s = m.signs("x")
    if case == "two scales":
        y = m.node("Conv", s, m.parameter("w", m.rng.choice([-1, 1, 2], (4, 6, 1, 1))))
    elif case == "unequal":
        codes = m.parameter("codes", m.rng.choice([-1, 2], (4, 6, 1, 1)))
        y = m.node("Conv", s, m.node("DequantizeLinear", codes, m.parameter("scale", np.ones(4)), axis=0, dtype="int8"))
    elif case == "groups":
        y = m.node("Conv", s, m.weight((4, 3, 3, 3)), group=2)
    elif case == "bias":
        flat = m.node("ReduceMax", s, axes=(0, 2, 3), keepdims=0)
        y = m.node("Add", m.node("Conv", s, m.weight((6, 6, 1, 1))), m.node("Reshape", flat, shape=(1, 6, 1, 1)))
    elif case == "beta":
        y = m.node("Gemm", s, m.weight((4, 6)), m.bias(4), transB=1, beta=2.0)
    else:
        y = m.node("Concat", s, m.node("Neg", s), axis=1)
    net, x = m.network(y), m.integers()
    want = reference.run(net, {"x": x})[y]
    for isa in ISAS:
        np.testing.assert_array_equal(ls.compile(net, isa=isa)(x), want.astype(np.float32), err_msg=isa)
    on_bits = any("conv_b1" in name for name in stems(ls.compile(net)))
    assert on_bits == (case == "bias")


@pytest.mark.usefixtures("always")
def test_filters_of_zeros():
    """A filter of nothing but zeros gives its bias, whether its layer has zeros elsewhere or not."""
    m = Binary(4, (20, 4, 4))
    dense = m.rng.choice((-0.5, 0.5), (5, 20, 1, 1))
    dense[1] = 0
    y = m.node("Conv", m.signs("x"), m.parameter("w", dense), m.bias(5))
    assert "conv_b1_binary" in check(m.network(y), m.integers())
