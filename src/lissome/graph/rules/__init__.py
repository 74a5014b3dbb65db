"""Rules: what shapes an operator makes of its inputs' shapes. One family of operators a file, each with its table.

A table maps an operator to its fewest inputs, its most inputs and its rule. A rule takes the node and the shape of each
input, None for one left out, and returns the output's shape; a rule of several outputs, a tuple of shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from lissome.graph.conv_shape import Shape

Rule: TypeAlias = Callable[..., "Shape | tuple[Shape, ...]"]
Table: TypeAlias = Mapping[str, tuple[int, int, Rule]]

ANY: Final = 10_000  # as many inputs as a node can have
