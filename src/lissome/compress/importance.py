"""What an error of a layer's output costs the network, channel by channel, found without labels.

To second order the divergence of an image's result from the original's grows by ½ (Σ_p g_p · δ_p)², with δ_p the error
of the layer's output at position p and g_p the gradient there. Of classifiers the Kullback-Leibler divergence of the
softmax is meant, whose Hessian is the Fisher information: for gradients that start from random directions of that
covariance, the mean over the directions is the second order term itself. A confident softmax hides what errors cost,
since its Hessian vanishes where a larger error would still change the class; so it is softened by a temperature, and
the divergence taken T² times, as distillation does (Hinton et al. 2015, section 2.1). Of other outputs the squared
error relative to their variance is meant.

Errors at the positions of an image are not independent, since one kernel makes them all. So a few random kernels in
place of the layer's error say what errors of its kind cost: their mean (Σ_p g_p δ_p)² over their mean δ².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx

from lissome.compress.layers import Layer, call

#: random kernels for each batch
PROBES: Final = 4
#: of the softmax
TEMPERATURE: Final = 4.0


def importance(
    graph: fx.Graph, constants: Mapping[str, Tensor], layers: Sequence[Layer], batches: Sequence[Tensor]
) -> dict[fx.Node, Tensor]:
    """For each layer's node, what a squared error of 1 at every position costs an image, (K,) float64 in nats."""
    costs = {layer.node: torch.zeros((), dtype=torch.float64) for layer in layers}
    errors = dict(costs)
    for batch in batches:
        values, outputs = _run(graph, constants, batch)
        directions = [direction(output.detach()) for output in outputs]
        results = [values[layer.node] for layer in layers]
        gradients = torch.autograd.grad(outputs, results, directions, allow_unused=True)
        with torch.no_grad():
            for layer, gradient in zip(layers, gradients, strict=True):
                if gradient is not None:
                    cost, error = _probe(layer, values[layer.input], gradient)
                    costs[layer.node] = costs[layer.node] + cost
                    errors[layer.node] = errors[layer.node] + error / len(batches)
    images = sum(len(batch) for batch in batches)
    return {
        layer.node: (0.5 / images * costs[layer.node] / errors[layer.node].clamp(min=1e-30)).expand(layer.shape[0])
        for layer in layers
    }


def _run(graph: fx.Graph, constants: Mapping[str, Tensor], batch: Tensor) -> tuple[dict[fx.Node, Any], list[Tensor]]:
    """Every node's value, with its history for gradients, and the outputs."""
    values: dict[fx.Node, Any] = {}
    results: list[fx.Node] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = batch.detach().requires_grad_()
        elif node.op == "call_function":
            values[node] = call(node, values.__getitem__, constants)
        elif node.op == "output":
            results = list(node.all_input_nodes)
    return values, [values[node] for node in results]


def direction(output: Tensor) -> Tensor:
    """A random direction of the outputs (N, ...), whose covariance is the Hessian of the divergence.

    For chances p of the softened softmax that is diag(p) − p pᵀ, the covariance of sqrt(p) ⊙ z − p (sqrt(p) · z) for
    random signs z.
    """
    signs = torch.randint(0, 2, output.shape).to(output.dtype) * 2 - 1
    if output.dim() != 2 or output.shape[1] < 2:
        return signs / output.std(correction=0).clamp(min=1e-12)
    chance = (output / TEMPERATURE).softmax(1)
    root = chance.sqrt() * signs
    return root - chance * root.sum(1, keepdim=True)


def _probe(layer: Layer, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Of random kernels with entries ±1: the sum over images of (Σ_p g_p δ_p)², and the mean δ²; both (K,)."""
    split, images = layer.groups, len(x)
    kernels = (torch.randint(0, 2, (split * PROBES, *layer.shape[1:])) * 2 - 1).to(x.dtype)
    errors, axis = layer.apply(x, kernels), layer.channel_axis
    errors = errors.movedim(axis, 1).reshape(images, split, PROBES, -1)
    gradient = gradient.movedim(axis, 1).reshape(images, split, -1, errors.shape[3])
    if layer.bias:
        errors = errors - errors.mean((0, 3), keepdim=True)  # what is constant is the bias's to mend
    cost = (gradient @ errors.mT).square().mean(3).sum(0, dtype=torch.float64).flatten()
    error = errors.square().mean((0, 2, 3), dtype=torch.float64)
    return cost, error.repeat_interleave(layer.shape[0] // split)
