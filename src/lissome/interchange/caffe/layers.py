"""Caffe's layers as a graph. Each kind of layer is one function and one line in `LAYERS`.

Where Caffe differs from ONNX: pooling counts a last window that is not whole (ceil mode), an average counts the padding
that its window covers, a layer may write over its input, and the network's outputs are what no layer reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import Graph, Node, TensorSpec
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Attribute
from lissome.graph.shapes import output_shapes
from lissome.interchange.caffe.prototxt import Message
from lissome.interchange.caffe.streams import Layer

_WEIGHTED: Final = ("num_output", "bias_term", "weight_filler", "bias_filler", "axis")
_WINDOW: Final = ("kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w", "pad", "pad_h", "pad_w")
_COMMON: Final = ("name", "type", "bottom", "top", "param", "include", "exclude", "propagate_down", "phase")
_Pair: TypeAlias = tuple[int, int]


@dataclass
class Builder:
    """The graph so far. shapes: of every tensor, for a batch of one; holds: the tensor that a blob holds now."""

    inputs: list[TensorSpec] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    holds: dict[str, str] = field(default_factory=dict)

    def input(self, name: str, extents: tuple[int, ...], at: Message) -> None:
        """A blob fed from outside; its first extent becomes the batch."""
        if len(extents) < 2 or name in self.shapes:
            at.fail(f"input {name[:80]!r} has shape {extents}; it is given once, with the batch and one more at least")
        self.inputs.append(TensorSpec(name, ("N", *extents[1:])))
        self.shapes[name] = (1, *extents[1:])
        self.holds[name] = name

    def bottoms(self, layer: Message) -> tuple[str, ...]:
        """The tensors that the layer reads."""
        names = layer.texts("bottom")
        for name in names:
            if name not in self.holds:
                layer.fail(f"layer {layer.text('name')[:80]!r} reads {name[:80]!r}, which no layer before it makes")
        return tuple(self.holds[name] for name in names)

    def bottom(self, layer: Message) -> str:
        """The only tensor that the layer reads."""
        names = self.bottoms(layer)
        return names[0] if len(names) == 1 else layer.fail(f"it reads {len(names)} blobs, not one")

    def fresh(self, wanted: str) -> str:
        """A tensor's name that is not taken: `wanted`, or with a number behind it."""
        name, count = wanted, 2
        while name in self.shapes:
            name, count = f"{wanted}_{count}", count + 1
        return name

    def node(self, op: str, name: str, inputs: tuple[str, ...], attributes: Mapping[str, Attribute]) -> str:
        """Append a node; returns its output."""
        output = self.fresh(name)
        self.nodes.append(Node(op, output, inputs, (output,), attributes))
        self.shapes |= output_shapes(self.nodes[-1], self.shapes)
        return output

    def weight(self, layer: Message, shape: Shape, *, bias: bool) -> tuple[str, ...]:
        """Name the layer's weight and bias, whose values the stream will bring."""
        name = layer.text("name")
        found = Layer(name, f"{name}.weight", f"{name}.bias" if bias else "", shape)
        names = (found.weight, found.bias)[: 1 + bias]
        for each, extents in zip(names, (shape, shape[:1]), strict=False):
            if each in self.shapes:
                layer.fail(f"a tensor is already called {each[:80]!r}; two layers may not have one name")
            self.shapes[each] = extents
        self.layers.append(found)
        return names

    def graph(self) -> Graph:
        """What was built; its outputs are the tensors that nothing reads."""
        read = {name for node in self.nodes for name in node.inputs}
        outputs = tuple(node.outputs[0] for node in self.nodes if node.outputs[0] not in read)
        parameters = tuple(name for layer in self.layers for name in (layer.weight, layer.bias) if name)
        return Graph(tuple(self.nodes), tuple(self.inputs), outputs, parameters)


_Make: TypeAlias = Callable[[Builder, Message], str]


def build(net: Message) -> tuple[Graph, tuple[Layer, ...]]:
    """The graph of a network description, and its layers with weights, in order.

    Raises UnsupportedShape listing every layer whose type is not known, FormatError for anything that is wrong.
    """
    if "layers" in net.fields:
        net.fail("'layers' is Caffe's first format; Caffe's upgrade_net_proto_text makes 'layer' of it")
    net.known("name", "input", "input_dim", "input_shape", "layer", "state", "force_backward", "debug_info")
    layers = [layer for layer in net.messages("layer") if _at_test(layer)]
    _refuse_unknown(layers)
    builder = Builder()
    try:
        for name, extents in _inputs(net):
            builder.input(name, extents, net)
        for layer in layers:
            _add(builder, layer)
        return builder.graph(), tuple(builder.layers)
    except GraphError as error:
        net.fail(str(error))


def _add(builder: Builder, layer: Message) -> None:
    layer.known(*_COMMON, *(f"{kind}_param" for kind in _PARAMETERS))
    tops = layer.texts("top")
    if len(tops) != 1:
        layer.fail(f"it makes {len(tops)} blobs; only layers that make one are supported")
    try:
        if layer.text("type") == "Input":
            shapes = layer.message("input_param").messages("shape")
            if len(shapes) != 1:
                layer.fail("an Input layer is to have one shape")
            builder.input(tops[0], shapes[0].integers("dim"), layer)
        else:
            builder.holds[tops[0]] = LAYERS[layer.text("type")](builder, layer)
    except GraphError as error:
        layer.fail(str(error))


def _at_test(layer: Message) -> bool:
    """Whether the layer is there when the network is used, not trained."""
    included, excluded = layer.messages("include"), layer.messages("exclude")
    for rule in (*included, *excluded):
        rule.known("phase")
    if included and excluded:
        layer.fail("a layer has include rules or exclude rules, not both")
    if included:
        return any(rule.text("phase", "TEST") == "TEST" for rule in included)
    return not any(rule.text("phase", "TEST") == "TEST" for rule in excluded)


def _refuse_unknown(layers: list[Message]) -> None:
    unknown = [layer for layer in layers if layer.text("type") not in LAYERS and layer.text("type") != "Input"]
    if unknown:
        listed = "; ".join(f"{u.text('type')[:40]} ({u.text('name', '')[:80]!r}, line {u.line})" for u in unknown[:50])
        more = f" and {len(unknown) - 50} more" if len(unknown) > 50 else ""
        raise UnsupportedShape(
            f"{unknown[0].where}: layers that are not supported: {listed}{more}; "
            f"known types: Input, {', '.join(LAYERS)}"
        )


def _inputs(net: Message) -> list[tuple[str, tuple[int, ...]]]:
    """Inputs that are not layers: names, and for each either four input_dim or an input_shape."""
    names, dims = net.texts("input"), net.integers("input_dim")
    shapes = [shape.integers("dim") for shape in net.messages("input_shape")]
    if dims and not shapes and len(dims) == 4 * len(names):
        shapes = [dims[at : at + 4] for at in range(0, len(dims), 4)]
    if len(shapes) != len(names):
        net.fail(f"{len(names)} inputs, but input_dim or input_shape do not give a shape to each")
    return list(zip(names, shapes, strict=True))


def _convolution(builder: Builder, layer: Message) -> str:
    param = layer.message("convolution_param")
    param.known(*_WEIGHTED, *_WINDOW, "dilation", "group", "engine", "force_nd_im2col")
    x, filters, group = builder.bottom(layer), param.integer("num_output"), param.integer("group", 1)
    channels = builder.shapes[x][1]
    if param.integer("axis", 1) != 1 or group < 1 or channels % group:
        param.fail(f"axis is to be 1, and group ({group}) is to divide the {channels} channels")
    kernel, (stride, pad) = _pair(param, "kernel_size", "kernel", None), _steps(param)
    weight = builder.weight(layer, (filters, channels // group, *kernel), bias=param.flag("bias_term", default=True))
    attributes: dict[str, Attribute] = {"kernel_shape": kernel, "strides": stride, "pads": (*pad, *pad)}
    attributes |= {"dilations": _pair(param, "dilation", "", 1), "group": group}
    return builder.node("Conv", layer.text("name"), (x, *weight), attributes)


def _inner_product(builder: Builder, layer: Message) -> str:
    param = layer.message("inner_product_param")
    param.known(*_WEIGHTED, "transpose")
    if param.integer("axis", 1) != 1 or param.flag("transpose", default=False):
        param.fail("only axis 1 and transpose false are supported")
    x, name = builder.bottom(layer), layer.text("name")
    if len(builder.shapes[x]) != 2:
        x = builder.node("Flatten", f"{name}/flatten", (x,), {"axis": 1})
    shape = (param.integer("num_output"), builder.shapes[x][1])
    weight = builder.weight(layer, shape, bias=param.flag("bias_term", default=True))
    return builder.node("Gemm", name, (x, *weight), {"transB": 1})


def _pooling(builder: Builder, layer: Message) -> str:
    param, x, name = layer.message("pooling_param"), builder.bottom(layer), layer.text("name")
    param.known(*_WINDOW, "pool", "global_pooling", "round_mode", "engine")
    kind = {"MAX": "MaxPool", "0": "MaxPool", "AVE": "AveragePool", "1": "AveragePool"}.get(str(param.one("pool") or 0))
    if kind is None:
        param.fail(f"pool is {param.one('pool')!r}; MAX and AVE are supported")
    if param.flag("global_pooling", default=False):
        return builder.node(f"Global{kind}", name, (x,), {})
    kernel, (stride, pad) = _pair(param, "kernel_size", "kernel", None), _steps(param)
    ceil = param.text("round_mode", "CEIL") == "CEIL"
    attributes: dict[str, Attribute] = {"kernel_shape": kernel, "strides": stride, "pads": (*pad, *pad)}
    attributes["ceil_mode"] = int(ceil)
    if kind == "AveragePool":
        attributes["count_include_pad"] = 1
    y = builder.node(kind, name, (x,), attributes)
    wanted = tuple(_pooled(*sizes, ceil=ceil) for sizes in zip(builder.shapes[x][2:], kernel, stride, pad, strict=True))
    if builder.shapes[y][2:] != wanted:
        param.fail(f"Caffe's output would be {wanted}: with a window past the end of its input, which is not supported")
    return y


def _pooled(size: int, kernel: int, stride: int, pad: int, *, ceil: bool) -> int:
    """Outputs of Caffe's pooling along one axis (pooling_layer.cpp, Reshape)."""
    room = size + 2 * pad - kernel
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - (pad > 0 and (count - 1) * stride >= size + pad)


def _relu(builder: Builder, layer: Message) -> str:
    param = layer.message("relu_param")
    param.known("negative_slope", "engine")
    slope = param.real("negative_slope", 0.0)
    x = builder.bottom(layer)
    if slope:
        return builder.node("LeakyRelu", layer.text("name"), (x,), {"alpha": slope})
    return builder.node("Relu", layer.text("name"), (x,), {})


def _plain(op: str) -> _Make:
    return lambda builder, layer: builder.node(op, layer.text("name"), (builder.bottom(layer),), {})


def _dropout(builder: Builder, layer: Message) -> str:
    return builder.bottom(layer)  # does nothing when the network is used


def _softmax(builder: Builder, layer: Message) -> str:
    param = layer.message("softmax_param")
    param.known("axis", "engine")
    return builder.node("Softmax", layer.text("name"), (builder.bottom(layer),), {"axis": param.integer("axis", 1)})


def _lrn(builder: Builder, layer: Message) -> str:
    param = layer.message("lrn_param")
    param.known("local_size", "alpha", "beta", "k", "norm_region", "engine")
    size = param.integer("local_size", 5)
    if param.text("norm_region", "ACROSS_CHANNELS") != "ACROSS_CHANNELS" or size % 2 == 0:
        param.fail("only norm_region ACROSS_CHANNELS with an odd local_size is supported")
    attributes: dict[str, Attribute] = {"size": size, "alpha": param.real("alpha", 1.0)}
    attributes |= {"beta": param.real("beta", 0.75), "bias": param.real("k", 1.0)}
    return builder.node("LRN", layer.text("name"), (builder.bottom(layer),), attributes)


def _concat(builder: Builder, layer: Message) -> str:
    param = layer.message("concat_param")
    param.known("axis", "concat_dim")
    axis = param.integer("axis", param.integer("concat_dim", 1))
    if axis == 0:
        param.fail("images of a batch cannot be put behind one another: axis 0 is not supported")
    inputs = builder.bottoms(layer)
    if not inputs:
        layer.fail("it reads no blob")
    return builder.node("Concat", layer.text("name"), inputs, {"axis": axis})


def _eltwise(builder: Builder, layer: Message) -> str:
    param = layer.message("eltwise_param")
    param.known("operation", "stable_prod_grad")
    op = {"SUM": "Add", "PROD": "Mul", "MAX": "Max"}.get(param.text("operation", "SUM"))
    inputs = builder.bottoms(layer)
    if op is None or len(inputs) < 2 or len({builder.shapes[x] for x in inputs}) != 1:
        layer.fail("an Eltwise layer takes SUM, PROD or MAX of two or more blobs of one shape")
    total = inputs[0]
    for other in inputs[1:]:
        total = builder.node(op, layer.text("name"), (total, other), {})
    return total


def _steps(param: Message) -> tuple[_Pair, _Pair]:
    return _pair(param, "stride", "stride", 1), _pair(param, "pad", "pad", 0)


def _pair(param: Message, both: str, each: str, default: int | None) -> _Pair:
    """Height and width: of `both`, given once or twice, or of `each`_h and `each`_w."""
    given = param.integers(both)
    single = tuple(param.integers(f"{each}_{axis}") for axis in "hw")
    if not given and all(len(values) == 1 for values in single):
        return single[0][0], single[1][0]
    if any(single) or len(given) > 2 or (not given and default is None):
        param.fail(f"{both} is given once, or for height and width, or as {each}_h and {each}_w")
    return (given[0], given[-1]) if given else (default or 0, default or 0)


# The type of a layer → its function.
LAYERS: Final[dict[str, _Make]] = {
    "Concat": _concat,
    "Convolution": _convolution,
    "Dropout": _dropout,
    "Eltwise": _eltwise,
    "InnerProduct": _inner_product,
    "LRN": _lrn,
    "Pooling": _pooling,
    "ReLU": _relu,
    "Sigmoid": _plain("Sigmoid"),
    "Softmax": _softmax,
    "TanH": _plain("Tanh"),
}
_PARAMETERS: Final = (
    *("concat", "convolution", "dropout", "eltwise", "inner_product", "input"),
    *("lrn", "pooling", "relu", "sigmoid", "softmax", "tanh"),
)
