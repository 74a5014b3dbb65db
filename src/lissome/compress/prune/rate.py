"""What a surviving weight costs in the file, for criteria that rank by saliency per coded bit.

A survivor far from all others costs more than one in a busy row and column: with row counts r_i and column counts c_j
of the current mask, a position costs about −log2(r_i · c_j / Σr) bits. Ranking by saliency per bit leaves fewer live
neurons and inputs at the same accuracy, and the packer's context models find the order in it. (The trade of distortion
against rate is the classical one, e.g. Wiedemann et al., "DeepCABAC", 2020, section IV; applying it to the choice of
survivors while training is lissome's own.)
"""

from __future__ import annotations

import torch
from torch import Tensor

#: bits that a survivor's code costs beside its position, about the entropy of a small codebook
CODE_BITS = 3.5


def per_bit(score: Tensor, mask: Tensor) -> Tensor:
    """`score` divided by the bits that each entry costs under `mask`, both of the weight's shape (K, ...)."""
    return score / (position_bits(mask) + CODE_BITS)


def position_bits(mask: Tensor) -> Tensor:
    """Bits that the position of each entry costs, were it kept, by the row and column counts of `mask` (K, ...)."""
    table = mask.reshape(mask.shape[0], -1).double() if mask.dim() > 1 else mask.reshape(1, -1).double()
    rows, columns = table.sum(1, keepdim=True) + 0.5, table.sum(0, keepdim=True) + 0.5
    chance = (rows * columns / (table.sum() + 1)).clamp(max=0.9)
    return -torch.log2(chance).to(torch.float32).view(mask.shape)
