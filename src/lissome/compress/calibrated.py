"""The contract of a calibrated method: one that decides a layer from what the layer really sees.

`calibrate_` (calibrate.py) shows it; until then the method sleeps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.network import Network


@dataclass(frozen=True)
class Seen:
    """What one layer sees, its inputs as G groups of patches of d numbers: means over images and positions, float64.

    reference: the layer's weight in the original network. gram: (G, d, d), E[x̂ x̂ᵀ] of the compressed network's inputs.
    cross: (G, d, d), E[x x̂ᵀ] with the original's. mean, reference_mean: (G, d), E[x̂] and E[x]. power: (G,), the mean
    over the d inputs of E[x²]. images, samples: how many images the means are over, and how many patches of them.
    importance: (K,), what a unit of squared error of each output channel costs, in nats an image.
    """

    reference: Tensor
    gram: Tensor
    cross: Tensor
    mean: Tensor
    reference_mean: Tensor
    power: Tensor
    importance: Tensor
    images: int
    samples: int

    @property
    def rows(self) -> Tensor:
        """The original weight as (G, K / G, d), float64."""
        return self.reference.double().reshape(self.mean.shape[0], -1, self.mean.shape[1])

    def shift(self, weight: Tensor) -> Tensor:
        """What the mean output of each channel lacks with `weight` on the compressed network's inputs; (K,) float64."""
        now = weight.double().reshape(self.rows.shape) @ self.mean.unsqueeze(2)
        return (self.rows @ self.reference_mean.unsqueeze(2) - now).flatten()


class Calibrated(Method):
    """A method that sleeps until `calibrate_` shows it what its layer sees."""

    @property
    def weighs(self) -> bool:
        """Whether `weigh` and `assign` are to be called before anything is decided."""
        return False

    def weigh(self, member: Member, seen: Seen) -> Mapping[int, float]:
        """What each choice that a layer has would cost, in nats an image, from what it sees in the original network."""
        del member, seen
        return {}

    def assign(self, weighed: Sequence[tuple[Member, Mapping[int, float]]]) -> None:
        """Choose for all layers under one rule together."""

    def see(self, member: Member, inputs: Sequence[Tensor]) -> None:
        """Look at the inputs of a layer as the compressed network has them, batch by batch, before `decide`."""

    @abstractmethod
    def decide(self, member: Member, seen: Seen, *, centred: bool) -> None:
        """Decide a layer's weight. centred: a calibrated bias follows, which takes up any constant error."""

    @abstractmethod
    def decide_bias(self, member: Member, target: Tensor, importance: Tensor) -> None:
        """Decide a bias, best at `target` (K,) float64."""

    def order(
        self, weights: Sequence[str], network: Callable[[], Network], densities: Callable[[], Mapping[str, float]]
    ) -> list[str] | None:
        """In which order its layers are decided, by the names of their weights; None: as the network calls them.

        network: the original one. densities: the share of each layer's inputs that is not zero. Both are made when
        asked for.
        """
        del weights, network, densities
        return None
