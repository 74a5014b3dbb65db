"""Cross-layer equalisation: the channels between two layers get ranges that suit both, and the network stays the same.

ReLU is positively homogeneous, so that channel i of one layer may be divided by any s_i > 0 and what the next layer
multiplies it with be times s_i. With s_i = √(r1_i / r2_i), r1 and r2 the largest weights that make channel i and that
read it, both become √(r1_i r2_i), the best for one scale a tensor (Nagel et al., "Data-free quantization through weight
equalization and bias correction", ICCV 2019, section 4.1, equation 11).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from lissome.compress.apply import baked_copy, parametrized
from lissome.errors import RecipeError
from lissome.graph.trace import program

_LAYERS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
#: calls with f(s x) = s f(x) for s > 0 a channel, which keep the channels where they are
_HOMOGENEOUS: Final = (
    "aten.relu", "aten.leaky_relu", "aten.max_pool", "aten.avg_pool", "aten.adaptive_avg_pool", "aten.dropout",
    "aten.flatten", "aten.view", "aten.reshape",
)  # fmt: skip
SWEEPS: Final = 20


def equalise_(model: nn.Module, example: Tensor | tuple[Tensor, ...]) -> list[tuple[str, str]]:
    """Equalise the ranges of all pairs of layers that allow it, in place; the pairs' paths are returned.

    A pair is two convolutions or linear layers of which the second alone reads the first, through nothing but ReLU,
    leaky ReLU, pooling, dropout and flattening. Batch norms in between are in the way: `fold_batch_norms_` first.
    model(x) is the same within rounding. example: an input, or a tuple of inputs, float32 with the batch first.
    Raises RecipeError for a layer that a method is on already, TraceError as `freeze` does.
    """
    examples = example if isinstance(example, tuple) else (example,)
    graph = program(baked_copy(model).eval(), examples).module().graph
    weights: dict[fx.Node, str] = {}
    uses: dict[str, int] = {}
    for node in graph.nodes:
        read = next((each for each in node.all_input_nodes if each.op == "get_attr"), None)
        path, _, leaf = str(read.target).rpartition(".") if read is not None else ("", "", "")
        if leaf == "weight" and isinstance(model.get_submodule(path), _LAYERS):
            weights[node], uses[path] = path, uses.get(path, 0) + 1
    pairs = []
    for node, path in weights.items():
        second = _next(node, weights)
        if second is not None and uses[path] == uses[second] == 1:
            pairs.append((path, second))
    for path in {path for pair in pairs for path in pair}:
        if parametrized(model.get_submodule(path)) is not None:
            raise RecipeError(f"{path!r} carries a method already; equalise before compress_")
    for _ in range(SWEEPS):  # channels of a layer in two pairs settle after a few
        moved = [_equalise(model.get_submodule(a), model.get_submodule(b)) for a, b in pairs]
        if not any(moved):
            break
    return pairs


def _next(node: fx.Node, weights: dict[fx.Node, str]) -> str | None:
    """The layer that alone reads a layer's result, if nothing but homogeneous calls lie between."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node in weights:
            return weights[node]
        if not str(node.target).startswith(_HOMOGENEOUS):
            return None
    return None


@torch.no_grad()
def _equalise(first: Any, second: Any) -> bool:
    """One pair; says whether a channel moved by more than a thousandth."""
    made = first.weight.abs().flatten(1).amax(1).double()
    rows, turn = _by_input(second, len(made))
    if rows is None:
        return False
    read = rows.abs().flatten(1).amax(1).double()
    scale = torch.where((made > 0) & (read > 0), (made / read.clamp(min=1e-30)).sqrt(), 1.0).clamp(1e-8, 1e8)
    first.weight.div_(scale.to(first.weight.dtype).view(-1, *[1] * (first.weight.dim() - 1)))
    if first.bias is not None:
        first.bias.div_(scale.to(first.bias.dtype))
    scaled = rows * scale.to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))
    second.weight.copy_(turn(scaled).reshape(second.weight.shape))
    return bool(((scale - 1).abs() > 1e-3).any())


def _by_input(layer: Any, channels: int) -> tuple[Tensor | None, Any]:
    """A layer's weight with one row an input channel, and the way back; None where its inputs are no such channels."""
    weight = layer.weight
    if isinstance(layer, nn.Linear):
        if weight.shape[1] % channels:
            return None, None
        # Flattened maps: the columns of a channel lie together.
        return weight.view(len(weight), channels, -1).transpose(0, 1), lambda rows: rows.transpose(0, 1)
    if layer.groups == 1:
        return (
            (weight.transpose(0, 1), lambda rows: rows.transpose(0, 1)) if weight.shape[1] == channels else (None, None)
        )
    if layer.groups == channels and weight.shape[1] == 1:  # depthwise: the filters of a channel lie together
        return weight.reshape(channels, -1), lambda rows: rows
    return None, None
