"""Call: one ONNX node as a converter sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Attribute
from lissome.interchange.onnx import files

if TYPE_CHECKING:
    from lissome.interchange.onnx.translate import Translation


class Unsupported(Exception):
    """This use of an operator has no counterpart in a graph; the text says why."""


class Call:
    """One node: what is known of its inputs, and the way to say what it becomes."""

    def __init__(self, walk: Translation, node: NodeProto, op: str, attributes: Mapping[str, Any]) -> None:
        self.walk, self.op, self.opset, self.attributes = walk, op, walk.opset, attributes
        self.name = files.label(node)
        self.inputs, self.outputs = tuple(node.input), tuple(node.output)

    def has(self, index: int) -> bool:
        """Whether the input of this position is given."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def operand(self, index: int) -> str:
        """Name of an input that stays a tensor; empty for one left out."""
        return self.inputs[index] if self.has(index) else ""

    def shape(self, index: int = 0) -> Shape:
        """Extents of an input."""
        return self.walk.shapes[self.inputs[index]]

    def value(self, index: int, what: str) -> NDArray[Any] | None:
        """Value of an input that becomes an attribute, None when it is left out."""
        if not self.has(index):
            return None
        if self.inputs[index] not in self.walk.values:
            raise Unsupported(f"its {what} is computed at run time, or an input: give it in constants={{…}}")
        return self.walk.values[self.inputs[index]]

    def ints(self, index: int, what: str) -> tuple[int, ...] | None:
        """As `value`, for a list of integers."""
        value = self.value(index, what)
        return None if value is None else tuple(int(item) for item in value.reshape(-1))

    def number(self, index: int, what: str) -> float | None:
        """As `value`, for one finite number; None too for an infinite one."""
        value = self.value(index, what)
        if value is None or not value.size or math.isinf(value.reshape(-1)[0]):
            return None
        number = float(np.float32(value.reshape(-1)[0]))
        if math.isnan(number):
            raise Unsupported(f"its {what} is NaN")
        return number

    def axes(self, index: int) -> tuple[int, ...] | None:
        """Axes: an input in later operator sets, an attribute in earlier ones."""
        given = self.ints(index, "axes")
        return self.attributes.get("axes") if given is None else given

    def only(self, outputs: int = 1) -> None:
        """Raise Unsupported when an output behind the first `outputs` is used."""
        used = [name for name in self.outputs[outputs:] if name and self.walk.read[name]]
        if used:
            raise Unsupported(f"its output {used[0]!r} is used")

    def add(self, op: str, *inputs: str, **attributes: Attribute) -> None:
        """The node becomes this operator, or its last step is this operator."""
        outputs = self.outputs[:1]
        self.walk.emit(op, self.name, inputs, outputs, attributes)

    def add_all(self, op: str, *inputs: str, outputs: int, **attributes: Attribute) -> None:
        """As `add`, for an operator of several outputs; those that the model leaves out get names."""
        given = (*self.outputs, *("",) * outputs)[:outputs]
        names = tuple(name or self.walk.fresh(f"{self.name}.{i}") for i, name in enumerate(given))
        self.walk.emit(op, self.name, inputs, names, attributes)

    def before(self, op: str, *inputs: str, stem: str = "", **attributes: Attribute) -> str:
        """A step before the last; returns the name of what it makes."""
        name = self.walk.fresh(f"{self.name}.{stem or op.lower()}")
        self.walk.emit(op, name, inputs, (name,), attributes)
        return name

    def constant(self, stem: str, value: NDArray[Any]) -> str:
        """A new constant; returns its name."""
        name = self.walk.fresh(stem)
        self.walk.know(name, value)
        return name

    def kept(self, *names: str) -> dict[str, Attribute]:
        """Those of the attributes `names` that are given."""
        return {name: self.attributes[name] for name in names if name in self.attributes}
