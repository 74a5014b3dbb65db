"""Principal components of the responses: a convolution becomes d' filters k × k × c, then d of 1 × 1 × d'.

Responses of natural inputs lie near a subspace of far fewer dimensions than they have. With U the leading eigenvectors
of their covariance, y ≈ U Uᵀ (y − ȳ) + ȳ, so that the layer becomes Uᵀ W, and then U with a bias (Zhang et al., TPAMI
2016, section 3.1; the lecture's scheme). That is the least squared error of the responses, where `SVD` has the least
one of the weights, as if inputs were white noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lissome.compress.factorize.ranks import Ranked
from lissome.compress.factorize.responses import principal, responses, spectrum_of, split
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement


@dataclass(frozen=True)
class PCA(Ranked):
    """Replace a convolution or linear layer by two, by the principal components of its responses.

    Options are those of `Ranked`; energies are those of the responses. compress_ needs inputs.
    """

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        seen = self.calibrated(observer)
        ranks = self.ranks([spectrum_of(layer, seen) for layer in layers], seen)
        for layer, rank in zip(layers, ranks, strict=True):
            if rank is not None:
                projection = principal(responses(layer, seen), rank)
                yield Replacement(layer, split(layer.module, projection, seen.follower(layer.where)))
