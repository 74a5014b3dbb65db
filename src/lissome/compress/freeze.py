"""freeze: a trained torch module → Network. The one place where weights leave torch."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import nn

from lissome.compress.apply import baked_copy, coded_parameters
from lissome.compress.recipe import Recipe
from lissome.errors import WeightError
from lissome.graph.ir import Graph, Node
from lissome.graph.names import Names
from lissome.graph.passes import simplify
from lissome.graph.trace import export
from lissome.network import Network
from lissome.weights import CodedWeight, Dense, Scaled

#: coded weights that are several parameters of a graph and an operator on them
COMPOSITE: Final = (Scaled,)


def freeze(
    model: nn.Module, *, example: torch.Tensor | tuple[torch.Tensor, ...], recipe: Recipe | None = None
) -> Network:
    """The network that `model` is now, in evaluation mode: its graph, and each parameter as its methods coded it.

    model: any module of supported operators, with lissome's parametrizations on it or without; it is not changed.
    example: an input, or a tuple of inputs, float32 with the batch first; only its shape matters, and not the batch's.
    recipe: how the model came to be, kept in the network as TOML for whoever opens the file later.

    The graph is simplified (graph/passes/): batch norms are folded into the layer before them, except behind a weight
    that a method has coded, since its codebook would not survive the scaling (the scales of `Scaled` codes do);
    paddings join the convolution after them.
    Law: the engine's result is model(x) within the rounding of float32 sums.
    Raises TraceError listing all that a graph cannot express, WeightError naming a layer with NaN, infinity or no
    weights at all.
    """
    examples = example if isinstance(example, tuple) else (example,)
    baked = baked_copy(model, share=True).cpu()
    traced = export(baked, tuple(e.cpu() if isinstance(e, torch.Tensor) else e for e in examples))
    aliases = _first_names(baked)
    coded = coded_parameters(model)
    weights: dict[str, CodedWeight] = {
        name: coded.get(aliases.get(name, name)) or _dense(name, value) for name, value in traced.values.items()
    }
    for name, weight in weights.items():
        if 0 in weight.shape:
            raise WeightError(f"{name!r} has shape {weight.shape}: an empty layer computes nothing; leave it out")
    free = {n: w.values for n, w in weights.items() if isinstance(w, Dense) and w.format == "float32"}
    free |= {n: w.to_dense() for n, w in weights.items() if isinstance(w, Scaled)}
    graph, folded = simplify(traced.graph, free, {name: weight.shape for name, weight in weights.items()})
    kept = {name: weights[name] for name in graph.parameters if folded.get(name) is free.get(name)}
    for name in graph.parameters:
        if name not in kept:
            before = weights.get(name)
            scaled = before.rescaled(folded[name]) if isinstance(before, Scaled) else None
            kept[name] = scaled or Dense(folded[name], owned=True)
    return _in_parts(graph, kept, recipe.to_toml() if recipe is not None else "")


def _in_parts(graph: Graph, weights: dict[str, CodedWeight], recipe: str) -> Network:
    """The network with weights of several parts as operators that make them of those."""
    names = Names(
        (*graph.parameters, *(spec.name for spec in graph.inputs), *(o for n in graph.nodes for o in n.outputs))
    )
    nodes: list[Node] = []
    kept: dict[str, CodedWeight] = {}
    for name, weight in weights.items():
        if not isinstance(weight, COMPOSITE):
            kept[name] = weight
            continue
        parts = {names.fresh(f"{name}.{part}"): value for part, value in weight.parts().items()}
        kept |= parts
        nodes.append(Node(weight.op, names.fresh(f"{name}.numbers"), tuple(parts), (name,), weight.attributes()))
    return Network(Graph((*nodes, *graph.nodes), graph.inputs, graph.outputs, tuple(kept)), kept, recipe)


def _first_names(model: nn.Module) -> dict[str, str]:
    """For a parameter known by several names (tied layers), each name → the first, under which it is coded."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(p), name) for name, p in model.named_parameters(remove_duplicate=False)}


def _dense(name: str, value: torch.Tensor) -> Dense:
    """A buffer or constant, such as a batch norm's statistics, which no method codes."""
    try:
        return Dense(value.numpy().astype(np.float32, copy=False))
    except WeightError as error:
        raise WeightError(f"{name!r}: {error}") from error
