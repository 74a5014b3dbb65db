"""Separable filters: a k × k convolution becomes one of k × 1 and one of 1 × k.

Jaderberg, Vedaldi, Zisserman (BMVC 2014, scheme 2): r vertical filters of all channels, then d horizontal ones of
these r. The best such pair for the weights is the truncated singular value decomposition of W[c, i; d, j] as a matrix
of c k rows and d k columns (Tai et al., ICLR 2016, theorem 1): no iteration, no local minimum.
Cost of a position: r k (c + d) multiply-adds for k²c d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lissome.compress.factorize.ranks import Ranked, Spectrum
from lissome.compress.factorize.svd import truncated
from lissome.compress.method import refuse
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement, convolution, convolution_of, offset


@dataclass(frozen=True)
class Spatial(Ranked):
    """Replace a convolution by a vertical and a horizontal one. Options are those of `Ranked`."""

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        spectra = [self._spectrum(layer) for layer in layers]
        for spectrum, rank in zip(spectra, self.ranks(spectra, observer), strict=True):
            if rank is None:
                continue
            module = convolution_of(self, spectrum.layer)
            k, c, high, wide = module.weight.shape
            left, right = truncated(spectrum.matrix, rank)
            down = convolution(left.T.reshape(rank, c, high, 1), like=module, axes=(True, False))
            wide_weight = right.reshape(rank, k, 1, wide).transpose(0, 1)
            across = convolution(wide_weight, offset(module), like=module, axes=(False, True))
            yield Replacement(spectrum.layer, nn.Sequential(down, across))

    def _spectrum(self, layer: Layer) -> Spectrum:
        module = convolution_of(self, layer)
        k, c, high, wide = module.weight.shape
        if high == 1 or wide == 1:
            raise refuse(self, layer.where, f"its window is {high}×{wide}", "Leave the layer out of the recipe")
        weight = module.weight.detach().double().cpu().permute(1, 2, 0, 3).reshape(c * high, k * wide)
        unit = c * high * module.stride[1] + k * wide  # the first factor is not yet strided across
        return Spectrum(layer, torch.linalg.svdvals(weight).square(), weight, unit, k * c * high * wide)


def product(down: Tensor, across: Tensor) -> Tensor:
    """The weight (K, C, R, S) that the factors (r, C, R, 1) and (K, r, 1, S) stand for."""
    return torch.einsum("rci,krj->kcij", down[..., 0], across[:, :, 0])
