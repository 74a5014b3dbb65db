"""Batch norms into the layers before them: what a network in evaluation mode computes, with fewer numbers.

In evaluation mode a batch norm is y · s + β − μ · s with s = γ / sqrt(σ² + ε), a scale and a shift for each channel; a
convolution or linear layer that alone feeds it can have both in its own weight and bias (Jacob et al., CVPR 2018,
section 3.2). Done before `compress_`, codes are found for the weights that run, and a file holds one bias for a channel
where it held four numbers.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lissome.compress.apply import baked_copy, parametrized
from lissome.errors import RecipeError
from lissome.graph.trace import program

_LAYERS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def fold_batch_norms_(model: nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...]) -> list[str]:
    """Fold every batch norm that follows one convolution or linear layer into it, in place; their paths are returned.

    The batch norm becomes an Identity, the layer gets a bias where it had none. model(x) in evaluation mode is the same
    within rounding; training goes on without batch statistics. What else reads the layer's result, shared layers and
    norms, and norms without running statistics keep a norm where it is.
    example: an input, or a tuple of inputs, float32 with the batch first.
    Raises RecipeError for a layer that a method is on already, TraceError as `freeze` does.
    """
    examples = example if isinstance(example, tuple) else (example,)
    graph = program(baked_copy(model).eval(), examples).module().graph
    calls: dict[str, int] = {}
    for node in graph.nodes:
        for read in node.all_input_nodes:
            if read.op == "get_attr":
                calls[str(read.target)] = calls.get(str(read.target), 0) + 1
    folded = []
    for node in graph.nodes:
        if "batch_norm" not in str(node.target) or not isinstance(node.args[0], torch.fx.Node):
            continue
        layer_path, norm_path = _owner(node.args[0]), _owner(node)
        if layer_path is None or norm_path is None or len(node.args[0].users) > 1:
            continue
        layer, norm = model.get_submodule(layer_path), model.get_submodule(norm_path)
        weight = f"{layer_path}.weight".lstrip(".")
        if not isinstance(layer, _LAYERS) or not isinstance(norm, _BatchNorm) or calls[weight] > 1:
            continue
        if norm.running_mean is None or calls[f"{norm_path}.running_mean".lstrip(".")] > 1:
            continue
        if parametrized(layer) is not None:
            raise RecipeError(f"{layer_path!r} carries a method already; fold batch norms before compress_")
        _fold(layer, norm)
        parent, _, name = norm_path.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Identity())
        folded.append(norm_path)
    return folded


def _owner(node: torch.fx.Node) -> str | None:
    """Path of the module whose `weight` (a norm's `running_mean`) a call reads; None for a call that reads none."""
    for read in node.all_input_nodes:
        path, _, name = str(read.target).rpartition(".")
        if read.op == "get_attr" and name in ("weight", "running_mean"):
            return path
    return None


@torch.no_grad()
def _fold(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear, norm: _BatchNorm) -> None:
    mean: torch.Tensor = norm.running_mean.double()  # type: ignore[union-attr]
    variance: torch.Tensor = norm.running_var.double()  # type: ignore[union-attr]
    scale = 1.0 / torch.sqrt(variance + norm.eps)
    shift = -mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
    weight = layer.weight
    bias = shift if layer.bias is None else layer.bias.double() * scale + shift
    weight.copy_(weight.double() * scale.view(-1, *[1] * (weight.dim() - 1)))
    layer.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=weight.requires_grad)
