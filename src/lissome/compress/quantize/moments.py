"""The second moments of a layer's inputs as far as so few samples can be trusted: what rounding works with."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from lissome.compress.calibrated import Seen

#: what is added to the diagonal of the second moments, as a share of its mean: inputs nobody saw are not free
DAMPING: Final = 0.01


def moments(seen: Seen, *, centred: bool) -> tuple[Tensor, Tensor]:
    """E[x̂ x̂ᵀ] and E[x x̂ᵀ], (G, d, d) float64, shrunk towards the diagonal of the first by `doubt`, and damped.

    centred: about the means, for a layer whose bias takes up what is constant.
    """
    gram, cross, power = seen.gram, seen.cross, seen.power
    if centred:
        gram = gram - seen.mean.unsqueeze(2) * seen.mean.unsqueeze(1)
        cross = cross - seen.reference_mean.unsqueeze(2) * seen.mean.unsqueeze(1)
        power = power - seen.reference_mean.square().mean(1)
    columns = gram.shape[1]
    # Never below a share of what the original had: inputs that were lost cannot be called back by huge weights.
    scale = torch.maximum(gram.diagonal(dim1=1, dim2=2).mean(1), power)
    scale = scale.clamp(min=max(1e-3 * float(seen.power.max()), 1e-30))
    diagonal = torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
    damping = (DAMPING * scale).view(-1, 1, 1) * torch.eye(columns, dtype=torch.float64)
    trust = 1 - doubt(columns, seen)
    trusted = [trust * each + (1 - trust) * diagonal + damping for each in (gram, cross)]
    return trusted[0], trusted[1]


def doubt(columns: int, seen: Seen) -> float:
    """The share of the moments that is taken from their diagonal alone, since they are means over so few samples.

    Moments of d inputs from n samples are wrong by about d / n of themselves, and shrinking by d / (d + n) is about the
    best that can be done (Ledoit and Wolf 2004). Patches of one image are alike, so they count as their root.
    """
    independent = math.sqrt(seen.images * seen.samples)
    return columns / (columns + independent)
