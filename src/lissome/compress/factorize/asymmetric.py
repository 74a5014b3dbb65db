"""Asymmetric reconstruction through the ReLU: Zhang, Zou, He, Sun (CVPR 2015; TPAMI 2016, "Accelerating very deep
convolutional networks for classification and detection").

As `PCA`, a layer becomes d' filters k × k × c and d of 1 × 1 × d', y ≈ M ŷ + b with M of rank d'. But
- *asymmetric* (section 3.3): the inputs are those that the compressed network really has, ŷ = W x̂, and the target is
  the response of the original network, so that each layer makes good what those before it lost;
- *non-linear* (section 3.2): what is reconstructed is what the ReLU lets through, min Σ‖r(y) − r(M ŷ + b)‖². With
  auxiliary z it is relaxed to Σ‖r(y) − r(z)‖² + λ‖z − (M ŷ + b)‖² and solved by turns: z entry by entry in closed
  form, M and b by a regression of reduced rank. λ is 0.01 for 25 turns, then 1 for 25, as in the paper.
Ranks over the layers of a rule (section 3.4): scope="rule".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lissome.compress.factorize.ranks import Ranked
from lissome.compress.factorize.responses import Projection, principal, reduced_rank, responses, spectrum_of, split
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement

#: (λ, turns), in this order
PENALTIES: Final = ((0.01, 25), (1.0, 25))


@dataclass(frozen=True)
class Asymmetric(Ranked):
    """Replace a convolution or linear layer by two that reconstruct what the network makes of its responses.

    Options are those of `Ranked`; energies are those of the responses. compress_ needs inputs.
    nonlinear: reconstruct through the ReLU where one follows, perhaps behind a batch norm; a residual sum in between,
    or another activation, makes it linear. asymmetric: from the inputs that the compressed network has; else from the
    original's. Without both it is `PCA`.
    """

    nonlinear: bool = True
    asymmetric: bool = True

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        seen = self.calibrated(observer)
        ranks = self.ranks([spectrum_of(layer, seen) for layer in layers], seen)
        for layer, rank in zip(layers, ranks, strict=True):
            if rank is not None:
                follower = seen.follower(layer.where)
                target = own = responses(layer, seen)
                if self.asymmetric:
                    own = seen.current(layer.where).outputs * follower.scale + follower.shift
                projection = reduced_rank(target, own, rank) if self.asymmetric else principal(target, rank)
                if self.nonlinear and follower.relu:
                    projection = through_relu(target, own, projection)
                yield Replacement(layer, split(layer.module, projection, follower))


def through_relu(target: Tensor, own: Tensor, start: Projection) -> Projection:
    """The projection that brings Σ‖r(target) − r(M own + b)‖² down from `start`, of its rank; the best one on the
    way.
    """
    wanted = target.clamp(min=0)
    best, least = start, relu_error(wanted, start(own))
    made = start
    for penalty, turns in PENALTIES:
        for _ in range(turns):
            made = reduced_rank(auxiliary(wanted, made(own), penalty), own, start.left.shape[1])
            error = relu_error(wanted, made(own))
            if error < least:
                best, least = made, error
    return best


def auxiliary(wanted: Tensor, made: Tensor, penalty: float) -> Tensor:
    """The argmin over z of (wanted − r(z))² + penalty (z − made)², entry by entry; wanted = r(y) ≥ 0.

    Where z ≤ 0 the best is min(0, made), where z ≥ 0 it is max(0, (penalty made + wanted) / (penalty + 1)); the
    cheaper.
    """
    below = made.clamp(max=0)
    above = ((penalty * made + wanted) / (penalty + 1)).clamp(min=0)
    cost_below = wanted.square() + penalty * (below - made).square()
    cost_above = (wanted - above).square() + penalty * (above - made).square()
    return torch.where(cost_below < cost_above, below, above)


def relu_error(wanted: Tensor, made: Tensor) -> float:
    """Σ‖wanted − r(made)‖²."""
    return float((wanted - made.clamp(min=0)).square().sum())
