"""Truncated singular value decomposition of the weight: the best approximation of its rank (Eckart and Young, 1936).

A linear layer N × M becomes M → r → N (Denton et al., NIPS 2014, section 3.2; Xue et al., Interspeech 2013). A
convolution of d filters of k × k × c is a matrix of d rows too: it becomes r filters of k × k × c, then d of 1 × 1 × r
(the lecture's scheme). Both factors get the square roots of the singular values, so that their weights have one scale.
Cost of a position: r (k²c + d) multiply-adds for k²c d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lissome.compress.factorize.ranks import Ranked, Spectrum
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement, layer_like, matrix, mixing, offset


@dataclass(frozen=True)
class SVD(Ranked):
    """Replace a linear layer or a convolution by two, by the singular value decomposition of its weight.

    Options are those of `Ranked`: one of rank, energy, speedup (with a scope) and bayes.
    """

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        spectra = [spectrum_of(layer) for layer in layers]
        for layer, rank in zip(layers, self.ranks(spectra, observer), strict=True):
            if rank is not None:
                first, second = truncated(matrix(layer.module), rank)
                factors = (layer_like(layer.module, second), mixing(layer.module, first, offset(layer.module)))
                yield Replacement(layer, nn.Sequential(*factors))


def spectrum_of(layer: Layer) -> Spectrum:
    """The squared singular values of a layer's weight, with what the two layers cost."""
    weight = matrix(layer.module)
    outputs, inputs = weight.shape
    return Spectrum(layer, torch.linalg.svdvals(weight).square(), weight, inputs + outputs, inputs * outputs)


def truncated(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (outputs, rank) and (rank, inputs) whose product is the best approximation of this rank."""
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root.unsqueeze(1) * vh[:rank]
