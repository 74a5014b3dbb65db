"""The node tests that the package onnx ships (onnx.backend.test), for every operator that `ls.from_onnx` reads.

Each case goes through the importer and the reference, and through the engine where that has the operators. REFUSED
lists the cases that lissome does not run, each with its reason and the message that the user gets.
"""

from __future__ import annotations

import importlib
import re
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx.backend.test.case import base  # noqa: E402
from onnx.backend.test.case import node as onnx_cases  # noqa: E402

import lissome as ls  # noqa: E402
from lissome.errors import GraphError, UnsupportedShape  # noqa: E402
from lissome.interchange.onnx import from_onnx  # noqa: E402
from lissome.interchange.onnx.files import attributes  # noqa: E402
from lissome.interchange.onnx.fold import FOLDS, fold  # noqa: E402
from lissome.interchange.onnx.operators import CONVERTERS  # noqa: E402
from lissome.interchange.onnx.quantization import QUANTIZATION  # noqa: E402
from lissome.runtime import lower, reference  # noqa: E402

#: files of onnx.backend.test.case.node: one an operator
FILES = (
    *("abs", "add", "averagepool", "batch_normalization", "cast", "ceil", "clip", "concat", "constant"),
    *("constantofshape", "conv", "convtranspose", "cos", "depthtospace", "dequantizelinear", "div", "dropout", "elu"),
    *("equal", "erf", "exp", "expand", "flatten", "floor", "gather", "gelu", "gemm", "globalaveragepool"),
    *("globalmaxpool", "greater", "greater_or_equal", "hardsigmoid", "hardswish", "identity", "layernormalization"),
    *("leakyrelu", "less", "less_or_equal", "log", "logsoftmax", "lrn", "lstm", "matmul", "max", "maxpool", "min"),
    *("mish", "mul", "neg", "pad", "pow", "prelu", "quantizelinear", "rangeop", "reciprocal", "reducemax"),
    *("reducemean", "reducemin", "reduceprod", "reducesum", "relu", "reshape", "resize", "round", "shape", "sigmoid"),
    *("sign", "sin", "size", "slice", "softmax", "softplus", "softsign", "spacetodepth", "split", "sqrt", "squeeze"),
    *("sub", "sum", "swish", "tanh", "tile", "transpose", "unsqueeze", "where"),
)

#: float inputs of these names are attributes in a graph: the caller gives them as constants
ATTRIBUTES = {"min", "max", "value", "scales", "roi", "start", "limit", "delta", "x_scale"}

#: pattern of names → why they are refused, and what the error says
REFUSED = {
    r"(averagepool|maxpool|convtranspose)_3d.*": ("convolution and pooling over three axes", "only 1-D and 2-D"),
    r".*training.*": ("training", "in training mode|is used"),
    r"maxpool_with_argmax.*": ("the second result is a tensor of integers", "output 'z' is used"),
    r"dropout_default_mask.*": ("the second result is a tensor of booleans", "output 'z' is used"),
    r".*(empty_set|zero_size|allowzero_reordered|start_out_of_bounds|int_shape_zero).*": (
        "tensors of no elements",
        "no elements|nothing of|zero-size|integer results",
    ),
    r"identity_(sequence|opt)": ("sequences and optionals are no tensors", "is no tensor"),
    r"cast(like)?_.*(FLOAT8|INT4|UINT4|INT2|UINT2|FLOAT4|E8M0).*": (
        "number formats of 8 bits or fewer at run time",
        "which no graph takes|no real of 16, 32 or 64 bits|no elements",
    ),
}
#: and those of operators on integers and booleans, which only constants can be
INTEGERS = "integer results|at least one input|at run time"
#: number formats that weights do not come in, scales for blocks of an axis, maxima of nothing, and no tensors
UNFOLDED = r".*(FLOAT8|FLOAT4|E8M0|INT4|INT2|e4m3|e5m2|float4|int4|int2|blocked|max_empty|min_empty|_sequence|_opt).*"


def load():
    """The cases of FILES by name, without the prefix test_."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base.process_snippet = lambda *_: ("", "")  # documentation that nobody reads here, and half of the time
        for name in FILES:
            importlib.import_module(f"{onnx_cases.__name__}.{name}")
    return {case.name.removeprefix("test_"): case for case in onnx_cases._NodeTestCases}


CASES = load()


def operators(case):
    return {node.op_type for node in case.model.graph.node}


def known(case):
    """Whether every operator is one that runs, or makes a constant. Codes never cross a network's edge."""
    return operators(case) <= {*CONVERTERS, "Constant", "ConstantOfShape", "Range", "Shape", "Size"} - {*QUANTIZATION}


def array_of(value):
    """A tensor as an array; cases of types that NumPy lacks hold TensorProtos."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def is_integer(array):
    return isinstance(array, np.ndarray) and array.dtype.kind in "biu"


def refusal(name, case):
    """(reason, message) of a case that is refused, else None."""
    for pattern, why in REFUSED.items():
        if re.fullmatch(pattern, name):
            return why
    _, outputs = case.data_sets[0]
    if all(is_integer(array_of(value)) for value in outputs):
        return ("the result is a tensor of integers or booleans", INTEGERS)
    if set(fed(case)) <= set(fixed(case)):
        return ("all that it reads is constant", "at least one input")
    return None


def fed(case):
    """The inputs of a case by name."""
    names = [value.name for value in case.model.graph.input]
    return {name: array_of(value) for name, value in zip(names, case.data_sets[0][0], strict=True)}


def fixed(case):
    """Those inputs that are attributes in a graph, or integers: they are given as constants."""
    return {name: value for name, value in fed(case).items() if name in ATTRIBUTES or is_integer(value)}


PASSING = [name for name, case in CASES.items() if known(case) and refusal(name, case) is None]
REFUSING = [name for name, case in CASES.items() if known(case) and refusal(name, case)]
FOLDING = [
    name
    for name, case in CASES.items()
    if len(case.model.graph.node) == 1 and operators(case) <= set(FOLDS) and not re.fullmatch(UNFOLDED, name)
]


def imported(case, *, weights=False):
    """The network of a case, and the arrays that it is fed; with `weights`, all inputs but the first are constants."""
    names = list(fed(case))[1:] if weights else []
    constants = fixed(case) | {name: fed(case)[name] for name in names}
    net = from_onnx(case.model.SerializeToString(), constants=constants)
    return net, {spec.name: fed(case)[spec.name].astype(np.float32) for spec in net.graph.inputs}


def compare(found, case):
    """Every result within the case's own tolerance, or within the rounding of the 16-bit type that it is given in."""
    _, results = case.data_sets[0]
    for value, given in zip(case.model.graph.output, results, strict=True):
        array = array_of(given)
        want = array.astype(np.float64)
        step = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(array.dtype.name, 0.0)
        assert found[value.name].shape == want.shape
        np.testing.assert_allclose(
            found[value.name], want, rtol=max(case.rtol, step), atol=case.atol, err_msg=value.name
        )


@pytest.mark.parametrize("name", PASSING)
def test_the_reference_gives_the_result_that_onnx_says(name):
    """Imported and evaluated in float64, the case's inputs give the case's outputs, in shape and value."""
    net, arrays = imported(CASES[name])
    compare(reference.run(net, arrays), CASES[name])


@pytest.mark.parametrize("name", [name for name in PASSING if operators(CASES[name]) <= set(lower.OPERATORS)])
def test_the_engine_gives_the_result_that_onnx_says(name):
    """Where the engine has all operators of a case: the same, in float32, with fixed weights where need be."""
    case = CASES[name]
    try:
        net, arrays = imported(case)
        engine = ls.compile(net, threads=1)
    except UnsupportedShape:
        net, arrays = imported(case, weights=True)
        try:
            engine = ls.compile(net, threads=1)
        except UnsupportedShape as reason:
            pytest.skip(f"the engine refuses this form of the operator: {reason}")
    compare(engine.run(arrays), case)


@pytest.mark.parametrize("name", REFUSING)
def test_what_is_refused_says_why(name):
    """A case that lissome does not run is one clear error, never another result."""
    case = CASES[name]
    _, message = refusal(name, case)
    with pytest.raises((GraphError, UnsupportedShape), match=message):
        imported(case)


@pytest.mark.parametrize("name", FOLDING)
def test_folding_gives_the_result_that_onnx_says(name):
    """Where all inputs are constants, the importer computes the result itself, in the very type."""
    case = CASES[name]
    (node,), (inputs, results) = case.model.graph.node, case.data_sets[0]
    given = iter(inputs)
    operands = [array_of(next(given)) if name else None for name in node.input]
    made = fold(node.op_type, attributes(node, None), operands, len(node.output))
    for found, result in zip(made, results, strict=True):
        want = array_of(result)
        assert found.shape == want.shape
        assert found.dtype == want.dtype
        np.testing.assert_allclose(found.astype(np.float64), want.astype(np.float64), rtol=case.rtol, atol=case.atol)


def test_every_operator_listed_has_a_case_that_passes():
    """No operator of issue 4's list is without a test."""
    listed = {
        *("Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace"),
        *("Div", "Elu", "Erf", "Exp", "Expand", "Flatten", "Gather", "Gelu", "Gemm", "GlobalAveragePool"),
        *("GlobalMaxPool", "HardSigmoid", "HardSwish", "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Log"),
        *("LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "Reciprocal"),
        *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Resize", "Sigmoid"),
        *("Slice", "Softmax", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Swish", "Tanh", "Transpose"),
        "Unsqueeze",
    }
    passing = set().union(*(operators(CASES[name]) for name in PASSING))
    assert listed <= passing
