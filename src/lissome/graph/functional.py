"""An exported program made functional where that is plain to see: in-place calls become what they amount to.

torch can do that for any program (ExportedProgram.run_decompositions), in more time than exporting takes, since it
traces the whole program again. Here a call may write to its first argument only if nothing else reads that, and if it
is a new tensor: the result of a call that is known to make one. Then the call without its underscore says the same.
"""

from __future__ import annotations

import operator
from collections.abc import Container
from typing import Any, Final

import torch

#: calls whose result is a tensor of its own, as far as in-place calls follow them
_NEW: Final = (
    *("aten.add.Tensor", "aten.batch_norm.default", "aten.cat.default", "aten.conv1d.default", "aten.conv1d.padding"),
    *("aten.conv2d.default", "aten.conv2d.padding", "aten.conv_transpose1d.default", "aten.conv_transpose2d.input"),
    *("aten.div.Tensor", "aten.linear.default", "aten.mul.Tensor", "aten.sub.Tensor"),
)


def rewrite_(graph: torch.fx.Graph, known: Container[str]) -> bool:
    """Replace in-place calls, if every call is then one of `known` or arithmetic on sizes; else change nothing.

    Says whether it is functional now.
    """
    replaced: dict[torch.fx.Node, Any] = {}
    new: set[torch.fx.Node] = set()
    for node in graph.nodes:
        if node.op != "call_function" or isinstance(node.meta.get("val"), torch.SymInt | int):
            continue
        target = node.target
        if _writes(target):
            target = _without_writing(node, new)
            replaced[node] = target
        if target is not operator.getitem and str(target) not in known:
            return False
        if str(target) in _NEW or node in replaced:
            new.add(node)
    for node, target in replaced.items():
        node.target = target
    graph.eliminate_dead_code()  # results that nobody takes
    return True


def _writes(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def _without_writing(node: torch.fx.Node, new: set[torch.fx.Node]) -> Any:
    """The call that does the same without writing; None where there is none, or somebody would see the difference."""
    target: Any = node.target
    first = node.args[0] if node.args else None
    written = [argument for argument in target._schema.arguments if argument.alias_info is not None]
    if not isinstance(first, torch.fx.Node) or first not in new or len(first.users) != 1 or len(written) != 1:
        return None
    if any(argument is first for argument in (*node.args[1:], *node.kwargs.values())):
        return None
    namespace, _, name = target._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None) if name.endswith("_") else None
    return getattr(packet, target._overloadname, None)
