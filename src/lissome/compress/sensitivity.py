"""Sensitivity: what pruning one layer alone does to the network's results, and the rates that follow from it.

Layers bear pruning differently, the first convolution say least (Han et al., "Learning both weights and connections",
NIPS 2015, section 3 and figure 6). Each weight is pruned by magnitude at some rates, the others left alone, and the
divergence of the results from the original's is measured on inputs without labels. Of all rates with the sparsity
wanted over all layers, those are taken whose divergences add up to the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from lissome.errors import DataError, RecipeError

#: rates that are tried; between them the divergence is taken to be straight
RATES: Final = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
#: inputs that are looked at, the first ones
SHOWN: Final = 128


@torch.no_grad()
def sensitivity(plain: nn.Module, weights: Sequence[str], inputs: tuple[Tensor, ...]) -> dict[str, list[float]]:
    """The divergence at each of RATES, by the name of the weight that is pruned, the others left alone.

    plain: a network without parametrizations, in evaluation mode; it is as before afterwards. Divergence is that of
    Kullback and Leibler in nats for a classifier's results (N, K), else the squared error over the mean square.
    Raises RecipeError for a network with several results, DataError for results that are not finite.
    """
    shown = tuple(each[:SHOWN] for each in inputs)
    wanted = _results(plain, shown)
    found = {}
    for name in weights:
        path, _, leaf = name.rpartition(".")
        weight: Tensor = getattr(plain.get_submodule(path), leaf)
        before = weight.clone()
        flat = before.flatten().clone()
        order = flat.abs().argsort(stable=True)
        curve = [0.0]
        for rate in RATES[1:]:
            flat[order[: round(rate * len(order))]] = 0  # those gone at a lower rate are gone already
            weight.copy_(flat.view(weight.shape))
            curve.append(_divergence(_results(plain, shown), wanted))
        weight.copy_(before)
        found[name] = curve
    return found


def rates(curves: Mapping[str, Sequence[float]], counts: Mapping[str, int], sparsity: float) -> dict[str, float]:
    """The share of each weight to remove, `sparsity` of all in total, with the least sum of divergences.

    On the lower convex hull of each curve the steps are taken that cost least for each weight removed.
    Raises RecipeError for more than the last of RATES in total.
    """
    if sparsity > RATES[-1]:
        raise RecipeError(f"by sensitivity up to {RATES[-1]:.0%} can be removed, not {sparsity:.2%}; use scope='layer'")
    steps = []
    for name, curve in curves.items():
        for low, high in _hull(curve):
            removed = (RATES[high] - RATES[low]) * counts[name]
            steps.append(((curve[high] - curve[low]) / removed, name, high, removed))
    left = sparsity * sum(counts[name] for name in curves)
    taken = dict.fromkeys(curves, 0.0)
    for _, name, high, removed in sorted(steps, key=lambda step: step[0]):  # stable: steps of one curve stay in order
        part = min(1.0, left / removed)
        taken[name] += part * (RATES[high] - taken[name])
        left -= part * removed
        if left <= 0:
            break
    return taken


def _hull(curve: Sequence[float]) -> list[tuple[int, int]]:
    """The edges of the lower convex hull of a curve over RATES, as pairs of indices."""
    corners: list[int] = []
    for index in range(len(curve)):
        while len(corners) > 1 and _slope(curve, corners[-2], corners[-1]) >= _slope(curve, corners[-1], index):
            corners.pop()
        corners.append(index)
    return list(pairwise(corners))


def _slope(curve: Sequence[float], low: int, high: int) -> float:
    return (curve[high] - curve[low]) / (RATES[high] - RATES[low])


def _results(plain: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    result = plain(*inputs)
    if not isinstance(result, Tensor):
        raise RecipeError("sensitivity is that of a network with one result, a tensor; this one has several")
    if not torch.isfinite(result).all():
        raise DataError("the network's results for the calibration inputs hold NaN or infinity")
    return result.double()


def _divergence(found: Tensor, wanted: Tensor) -> float:
    if wanted.dim() == 2 and wanted.shape[1] > 1:
        log = wanted.log_softmax(1)
        return float((log.exp() * (log - found.log_softmax(1))).sum(1).mean())
    return float((found - wanted).square().mean() / wanted.square().mean().clamp(min=1e-30))
