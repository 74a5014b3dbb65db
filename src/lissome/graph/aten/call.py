"""What converters take and give: calls of torch's operators in, expressions of ONNX operators out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph.ir import Attribute, Extent

Shape: TypeAlias = tuple[Extent, ...]


class Unsupported(Exception):
    """This call of an operator has no counterpart in a graph; the text says why."""


@dataclass(frozen=True)
class Tensor:
    """A tensor argument: its name in the graph, its shape (the batch is "N"), and whether it is a weight.

    An empty name stands for zeros. integers: the values, flat, of a constant of integers, such as indices.
    """

    name: str
    shape: Shape
    parameter: bool = False
    integers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Derived:
    """A new weight computed from others when the network is traced. name: what it is called, if that is free."""

    name: str
    weights: tuple[str, ...]
    compute: Callable[..., NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Onnx:
    """An ONNX operator. Inputs are tensors by name, numbers (constants of shape (1,)), or expressions themselves.

    outputs: how many results it has; as an input it stands for the first. An expression used twice is one node.
    """

    op: str
    inputs: tuple[Operand, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    outputs: int = 1


@dataclass(frozen=True)
class Output:
    """One of several results of an operator."""

    node: Onnx
    index: int


Operand: TypeAlias = "str | float | Onnx | Output | Derived"


@dataclass(frozen=True)
class Call:
    """One call: arguments by the names of torch's schema, with `Tensor` for tensors, and the shape of each result."""

    arguments: Mapping[str, Any]
    shapes: tuple[Shape, ...]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def shape(self) -> Shape:
        """The shape of the result, the first where there are several."""
        return self.shapes[0]

    def activation(self, name: str) -> Tensor:
        """The argument `name`, which must be computed from the input."""
        value = self.arguments[name]
        if not isinstance(value, Tensor) or value.parameter or not value.name:
            raise Unsupported(f"its {name} is not computed from the network's input")
        return value

    def weights(self, *names: str) -> tuple[str, ...]:
        """Names of weight arguments; those left out (None) at the end are dropped."""
        given = [self.arguments[name] for name in names]
        while given and given[-1] is None:
            given.pop()
        if not all(isinstance(value, Tensor) and value.parameter for value in given):
            raise Unsupported(f"one of its {', '.join(names)} is not a fixed weight")
        return tuple(value.name for value in given)


Converter: TypeAlias = Callable[[Call], "Onnx | Tensor | tuple[Operand, ...]"]


def axis_of(x: Tensor, axis: int) -> int:
    """`axis` of x counted from the front; Unsupported when it is the batch."""
    axis %= len(x.shape)
    if x.shape[axis] == "N":
        raise Unsupported("it runs over the batch")
    return axis


def extent_of(x: Tensor, axis: int) -> int:
    """How long `axis` of x is; Unsupported when it is the batch."""
    return int(x.shape[axis_of(x, axis)])


def spread(value: Any, count: int) -> tuple[int, ...]:
    """An int, or a list of one or of `count` of them, as `count` ints."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * count if len(values) == 1 else values))


def particular(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes without those at ONNX's default: a graph says only what is particular."""
    defaults = {"strides": 1, "pads": 0, "dilations": 1, "group": 1, "output_padding": 0}
    defaults |= {"ceil_mode": 0, "count_include_pad": 0}
    return {
        name: value
        for name, value in attributes.items()
        if name not in defaults or any(v != defaults[name] for v in (value if isinstance(value, tuple) else (value,)))
    }
