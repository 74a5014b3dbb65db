"""Finds local response normalisation in an exported program, where torch spells it out.

torch.export shows `F.local_response_norm(x, size, alpha, beta, k)` as x / (k + alpha · average(pad(x · x)))^beta, the
average over a window of channels. Only this module knows that spelling; the graph has one operator LRN for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

_SHAPES: Final = ("aten.view.default", "aten.squeeze.dim", "aten.unsqueeze.default", "aten.reshape.default")
_POOLS: Final = ("aten.avg_pool2d.default", "aten.avg_pool3d.default")


@dataclass(frozen=True)
class LocalResponseNorm:
    """x / (bias + alpha / size · Σ x²)^beta, the sum over `size` channels; ONNX's LRN."""

    x: torch.fx.Node
    size: int
    alpha: float
    beta: float
    bias: float


def find(graph: torch.fx.Graph) -> tuple[Mapping[torch.fx.Node, LocalResponseNorm], frozenset[torch.fx.Node]]:
    """The divisions that end a normalisation, each with what it normalises; and the calls that it consists of."""
    found: dict[torch.fx.Node, LocalResponseNorm] = {}
    inside: set[torch.fx.Node] = set()
    for node in graph.nodes:
        chain: list[torch.fx.Node] = []
        norm = _match(node, chain) if str(node.target) == "aten.div.Tensor" else None
        if norm is not None and all(len(step.users) == 1 for step in chain):
            found[node] = norm
            inside.update(chain)
    return found, frozenset(inside)


def _match(division: torch.fx.Node, chain: list[torch.fx.Node]) -> LocalResponseNorm | None:
    """Walk from the division back to the squares, collecting the steps in `chain`; None where anything differs."""
    x, power = division.args
    beta, total = _numbered(power, "aten.pow.Tensor_Scalar", chain)
    bias, scaled = _numbered(total, "aten.add.Tensor", chain)
    alpha, step = _numbered(scaled, "aten.mul.Tensor", chain)
    window: list[int] = []
    pads: list[int] = []
    while isinstance(step, torch.fx.Node) and str(step.target) in (*_SHAPES, *_POOLS, "aten.pad.default"):
        if str(step.target) in _POOLS:
            window = [*step.args[1]]  # type: ignore[misc]
        elif str(step.target) == "aten.pad.default":
            pads = [*step.args[1]]  # type: ignore[misc]
        chain.append(step)
        step = step.args[0]
    size = window[0] if window else 0
    square = isinstance(step, torch.fx.Node) and str(step.target) == "aten.mul.Tensor" and step.args == (x, x)
    channels_only = set(window[1:]) == {1} and pads == [0] * (len(pads) - 2) + [size // 2] * 2
    if beta is None or bias is None or alpha is None or not square or not channels_only or size % 2 == 0:
        return None  # an even window would lie differently in ONNX
    chain.append(step)
    return LocalResponseNorm(x, size, alpha, beta, bias)  # type: ignore[arg-type]


def _numbered(step: Any, target: str, chain: list[torch.fx.Node]) -> tuple[float | None, Any]:
    """The number and the tensor of an operation `target` of both; None when the step is another one."""
    if not isinstance(step, torch.fx.Node) or str(step.target) != target:
        return None, None
    tensor, number = step.args
    if not isinstance(number, int | float):
        return None, None
    chain.append(step)
    return float(number), tensor
