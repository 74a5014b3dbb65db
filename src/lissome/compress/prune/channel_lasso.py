"""Channel pruning: input channels are chosen by a lasso, and the layer's output is then reconstructed from those left
(He, Zhang and Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017, section 3.1).

A layer's output is a sum over its input channels, Σ_i β_i X_i W_iᵀ with all β_i = 1. The lasso min ½ ‖Y − Σ β_i X_i
W_iᵀ‖² + λ ‖β‖₁, λ raised until few enough β are not zero, says which channels the others can answer for: similar ones
go together, however large their weights are. Then the weights of those left are found by least squares. The layers are
taken from the first to the last, each on the inputs that those before it leave it, to make the original network's
outputs.

`bake_` and `shrink(zeros=True)` cut out the filters whose channels nobody reads any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lissome.compress.calibrated import Seen
from lissome.compress.method import Member, refuse
from lissome.compress.prune.looking import Looking
from lissome.compress.prune.magnitude import set_masks
from lissome.compress.prune.reconstruct import reconstruct, rewrite, wanted

SWEEPS: Final = 200
HALVINGS: Final = 40


@dataclass(frozen=True)
class ChannelLasso(Looking):
    """Keep the input channels of each layer under the rule that a lasso chooses; restore its output by least squares.

    sparsity: share of the input channels to remove, in [0, 1); one at least stays.
    Sleeps until `calibrate_` shows it inputs, and has no strength in between: a schedule puts it to sleep, and
    calibration decides. Raises RecipeError for a share out of range, a weight of one dimension and a grouped
    convolution.
    """

    sparsity: float = 0.5

    @torch.no_grad()
    def decide(self, member: Member, seen: Seen, *, centred: bool) -> None:
        del centred
        weight = member.weight()
        if len(seen.gram) > 1:
            found = f"a convolution of {len(seen.gram)} groups has no channels that all of its filters read"
            raise refuse(self, member.parametrization.where, found, "Leave grouped convolutions out, or use shrink")
        rows = weight.double().reshape(seen.rows.shape)
        channels = weight.shape[1]
        keep = max(1, round((1 - self.sparsity) * channels))
        chosen = select(rows[0], seen, channels, keep)
        kept = chosen.repeat_interleave(rows.shape[2] // channels).expand_as(rows)
        restored = reconstruct(seen, rows, kept)
        set_masks(self, [member], [kept.reshape(weight.shape)])
        rewrite(member, restored, kept)


def select(rows: Tensor, seen: Seen, channels: int, keep: int) -> Tensor:
    """Which `keep` of the channels the lasso keeps, bool (channels,); rows: the weight, (K, d) float64."""
    window = rows.shape[1] // channels
    products = (seen.gram[0] * (rows.mT @ rows)).view(channels, window, channels, window)
    quadratic = products.sum((1, 3)).numpy()
    linear = (wanted(seen)[0] * rows).sum(0).view(channels, window).sum(1).numpy()
    # ‖W_i‖ = 1 for each channel: its β, not the scale of its weights, is what the penalty sees.
    norm = rows.view(-1, channels, window).square().sum((0, 2)).sqrt().numpy()
    scale = np.where(norm > 0, 1 / np.where(norm > 0, norm, 1.0), 0.0)
    beta = fewest(quadratic * scale[:, None] * scale, linear * scale, keep)
    # Those left over after the last halving go by how much of the output they make, and so do those still missing.
    makes = np.abs(beta) * np.sqrt(np.maximum(np.diag(quadratic), 0)) * scale
    rank = np.lexsort((-np.abs(linear * scale), -makes, beta == 0))
    found = torch.zeros(channels, dtype=torch.bool)
    found[torch.from_numpy(rank[:keep].copy())] = True
    return found


def fewest(quadratic: NDArray[np.float64], linear: NDArray[np.float64], keep: int) -> NDArray[np.float64]:
    """The lasso's β with at most `keep` entries that are not zero, of the least penalty that gives so few."""
    low, high = 0.0, float(np.abs(linear).max(initial=0.0))
    best = np.zeros_like(linear)
    beta = best
    for _ in range(HALVINGS):
        penalty = (low + high) / 2
        beta = lasso(quadratic, linear, penalty, beta)
        count = np.count_nonzero(beta)
        if count > keep:
            low = penalty
        else:
            high, best = penalty, beta
        if count == keep or high - low <= 1e-12 * high:
            break
    return best


def lasso(
    quadratic: NDArray[np.float64], linear: NDArray[np.float64], penalty: float, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The β of least ½ βᵀ Q β − lᵀ β + penalty ‖β‖₁, by coordinate descent; 0 where Q's diagonal is."""
    beta = np.where(np.diag(quadratic) > 0, start, 0.0)
    slope = linear - quadratic @ beta
    for _ in range(SWEEPS):
        largest = 0.0
        for index in range(len(beta)):
            curve = quadratic[index, index]
            if curve <= 0:
                continue
            free = slope[index] + curve * beta[index]
            new = np.sign(free) * max(abs(free) - penalty, 0.0) / curve
            if new != beta[index]:
                change = new - beta[index]
                slope -= quadratic[:, index] * change
                beta[index] = new
                largest = max(largest, abs(change) * curve)
        if largest <= 1e-10 * (penalty + 1e-30) + 1e-14 * np.abs(linear).max(initial=0.0):
            break
    return beta
