"""Curvature: the diagonal of the loss's second derivatives with respect to the weights, from inputs alone.

The diagonal of the Gauss-Newton matrix Jᵀ H J, with J the network's Jacobian and H the Hessian of the loss with respect
to the network's results: the form in which LeCun et al. back-propagate second derivatives ("Optimal brain damage", NIPS
1989, section 2.2, the Levenberg-Marquardt approximation), here without their further neglect of terms between units. A
network whose steps are linear piece by piece (convolutions, ReLU, maxima, means, batch norm in evaluation mode) is
linear in each weight, so that this is the diagonal of the Hessian itself.

Of classifiers the loss is the cross entropy of the softmax, whose Hessian diag(p) − p pᵀ needs no label; of other
results half the squared error, whose Hessian is 1.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from lissome.errors import DataError, RecipeError

#: with up to so many results, all directions of H are taken; with more, random ones, right in the mean
EXACT: Final = 16
PROBES: Final = 4
#: numbers that the gradients of the samples treated together may have
_HELD: Final = 2**26


def curvature(plain: nn.Module, inputs: tuple[Tensor, ...], *, seed: int = 0) -> dict[str, Tensor]:
    """Mean over the inputs of the diagonal second derivative for each parameter, by its plain name, of its shape.

    plain: a network without parametrizations, in evaluation mode; if its result has the shape (N, K) with K ≥ 2, it is
    taken for a classifier. seed: of the random directions.
    Raises RecipeError for a network with several results, DataError when a result is not finite.
    """
    weights = {name: each.detach() for name, each in plain.named_parameters() if each.is_floating_point()}
    with torch.no_grad():
        result = plain(*(each[:1] for each in inputs))
    if not isinstance(result, Tensor):
        raise RecipeError("curvature is that of a network with one result, a tensor; this one has several")
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in weights.items()}
    rows = result.numel() if result.numel() <= EXACT else PROBES
    size = max(1, _HELD // (rows * max(1, sum(value.numel() for value in weights.values()))))
    generator = torch.Generator().manual_seed(seed)
    for batch in zip(*(torch.split(each, size) for each in inputs), strict=True):
        directions = _directions(len(batch[0]), result.numel(), generator).to(batch[0])
        found = vmap(lambda *sample: _squares(plain, weights, *sample))(*batch, directions)
        if not torch.isfinite(found.pop("")).all():
            raise DataError("the network's results for the calibration inputs hold NaN or infinity")
        for name, value in found.items():
            total[name] += value.sum(0, dtype=torch.float64)
    return {name: value / len(inputs[0]) for name, value in total.items()}


def _directions(count: int, results: int, generator: torch.Generator) -> Tensor:
    """Of each sample rows z with E[Σ z zᵀ] = 1: unit vectors, or a few of random signs; (count, rows, results)."""
    if results <= EXACT:
        return torch.eye(results).expand(count, results, results)
    signs = torch.randint(0, 2, (count, PROBES, results), generator=generator) * 2.0 - 1
    return signs / PROBES**0.5


def _squares(plain: nn.Module, weights: dict[str, Tensor], *sample: Tensor) -> dict[str, Tensor]:
    """Of one sample, whose last part is its directions: by parameter Σ over the roots of H of the squared gradient.

    A root of diag(p) − p pᵀ is diag(√p) − p √pᵀ. Under "" is the sum of the squared results, to see that they are
    finite.
    """
    *each, directions = sample
    buffers = dict(plain.named_buffers())

    def answer(parameters: dict[str, Tensor]) -> Tensor:
        made: Tensor = functional_call(plain, (parameters, buffers), tuple(x.unsqueeze(0) for x in each))
        return made

    output, pull, *_ = vjp(answer, weights)
    if output.dim() == 2 and output.shape[1] > 1:
        chance = output[0].softmax(0)
        root = chance.sqrt()
        directions = directions * root - (directions @ root).unsqueeze(1) * chance
    gradients: Any = vmap(lambda cotangent: pull(cotangent)[0])(directions.reshape(-1, *output.shape))
    return {name: gradient.square().sum(0) for name, gradient in gradients.items()} | {"": output.square().sum()}
