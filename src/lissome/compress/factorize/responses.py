"""Responses of a layer under a projection of low rank, and the two layers that compute it.

A layer's responses y = W x + w₀ are what the next step makes of them: behind a batch norm z = scale · y + shift, and
where scale is small an error hurts little. So methods find P, Q and b with z ≈ P Qᵀ ẑ + b, ẑ being the layer's own
answer to the inputs that the compressed network has for it. The two layers are Qᵀ diag(scale) W, and what takes its
result to responses that the batch norm, which stays, turns into P Qᵀ ẑ + b.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lissome.compress.factorize.ranks import Spectrum
from lissome.compress.observe import Follower, Observer
from lissome.compress.structural import Layer, Replaceable, layer_like, matrix, mixing, offset


@dataclass(frozen=True, eq=False)
class Projection:
    """z ≈ left rightᵀ z + bias; left, right: (K, r) float64, bias: (K,)."""

    left: Tensor
    right: Tensor
    bias: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """Rows of z, projected."""
        return z @ self.right @ self.left.T + self.bias


def responses(layer: Layer, observer: Observer) -> Tensor:
    """What follows the layer makes of its responses in the original network, (n, K)."""
    follower = observer.follower(layer.where)
    return observer.original(layer.where) * follower.scale + follower.shift


def covariance(z: Tensor, other: Tensor | None = None) -> Tensor:
    """E[(z − z̄)(o − ō)ᵀ] over rows, o = z unless given."""
    other = z if other is None else other
    return (z - z.mean(0)).T @ (other - other.mean(0)) / len(z)


def spectrum_of(layer: Layer, observer: Observer) -> Spectrum:
    """The eigenvalues of the covariance of a layer's responses, with what the two layers cost."""
    weight = matrix(layer.module)
    outputs, inputs = weight.shape
    energies = torch.linalg.eigvalsh(covariance(responses(layer, observer))).flip(0).clamp(min=0)[: min(weight.shape)]
    scaled = observer.follower(layer.where).scale.unsqueeze(1) * weight
    return Spectrum(layer, energies, scaled, inputs + outputs, inputs * outputs)


def principal(z: Tensor, rank: int) -> Projection:
    """The projection onto the `rank` leading principal components: least Σ‖z − (M z + b)‖² of all M of this rank."""
    mean = z.mean(0)
    basis = torch.linalg.eigh(covariance(z)).eigenvectors.flip(1)[:, :rank]
    return Projection(basis, basis, mean - basis @ (basis.T @ mean))


def reduced_rank(target: Tensor, z: Tensor, rank: int) -> Projection:
    """Least Σ‖target − (M z + b)‖² over M of this rank: reduced-rank regression, the paper's generalised SVD.

    With C the covariances, the unconstrained M̂ = C_tz C_zz⁻¹ is projected onto the leading eigenvectors of M̂ C_zz M̂ᵀ.
    Where samples are few, M̂ leans towards the identity (`leaning`).
    """
    unit = torch.eye(z.shape[1], dtype=z.dtype)
    spread, cross = leaning(covariance(z), covariance(target, z), unit, len(z))
    free = cross @ torch.linalg.pinv(spread, rtol=1e-10, hermitian=True)
    left = torch.linalg.eigh(free @ cross.T).eigenvectors.flip(1)[:, :rank]
    right = free.T @ left
    return Projection(left, right, target.mean(0) - left @ (right.T @ z.mean(0)))


def leaning(spread: Tensor, cross: Tensor, towards: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Covariances whose regression leans towards a map that is known beforehand, the more the fewer samples there are.

    White inputs of variance tr(spread) / samples are added that `towards` (outputs, inputs) answers: as much as one
    sample's worth along every axis, which is nothing beside many samples and decides where there are fewer than axes.
    """
    variance = spread.trace() / samples
    return spread + variance * torch.eye(len(spread), dtype=spread.dtype), cross + variance * towards


def split(module: Replaceable, projection: Projection, follower: Follower) -> nn.Module:
    """The two layers that give the follower what `projection` makes of its inputs."""
    scale, shift = follower.scale, follower.shift
    weight, bias = matrix(module), offset(module)
    own = shift if bias is None else scale * bias + shift
    first = (projection.right.T * scale) @ weight
    back = torch.where(scale == 0, 0.0, 1 / torch.where(scale == 0, 1.0, scale))
    second = back.unsqueeze(1) * projection.left
    moved = back * (projection.left @ (projection.right.T @ own) + projection.bias - shift)
    even = (second.norm() / first.norm().clamp(min=1e-30)).sqrt().clamp(min=1e-30)  # one scale for both weights
    return nn.Sequential(layer_like(module, even * first), mixing(module, second / even, moved))
