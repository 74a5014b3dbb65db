"""How large a rank: given, by the energy kept, by the multiply-adds saved, or by variational Bayes.

Energies are squared singular values (of a weight) or eigenvalues (of the covariance of responses): what a truncation to
rank r loses is the sum of those behind the r-th. Multiply-adds saved are a layer's own, or those of all layers of a
rule
together: then ranks are chosen by the product of energies (Zhang et al., TPAMI 2016, section 3.4): accuracy is
empirically close to linear in the logarithm of the PCA energy that a layer keeps, so that the layers' energies
multiply.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lissome.compress.factorize.bayes import bayes_rank
from lissome.compress.method import refuse
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Structural
from lissome.errors import RecipeError


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What a layer's rank is chosen by.

    energies: (R,) float64, descending: what each unit of rank adds. matrix: the weight that is factorised, for Bayes.
    unit: multiply-adds of a unit of rank at one output position; whole: those of the layer as it is.
    """

    layer: Layer
    energies: Tensor
    matrix: Tensor
    unit: int
    whole: int

    @property
    def full(self) -> int:
        """The full rank."""
        return len(self.energies)

    def saves(self, rank: int) -> bool:
        """Whether the factors of this rank cost fewer multiply-adds than the layer does."""
        return rank * self.unit < self.whole


@dataclass(frozen=True)
class Ranked(Structural):
    """A method with one rank a layer. Exactly one of the four measures is given.

    rank: the rank itself, 1 to the layer's full rank.
    energy: share of the energy to keep, in (0, 1].
    speedup: how many times fewer multiply-adds, above 1.
    bayes: the rank of variational Bayesian matrix factorisation, at least 1.
    scope: "layer" (each layer is `speedup` times cheaper) or "rule" (all layers under the rule together are, ranks by
    the product of energies, for which compress_ needs inputs).
    With energy, bayes, or scope "rule", a layer stays as it is when its factors would cost more than it does.
    """

    rank: int | None = None
    energy: float | None = None
    speedup: float | None = None
    bayes: bool = False
    scope: str = "layer"

    def __post_init__(self) -> None:
        given = [name for name in ("rank", "energy", "speedup") if getattr(self, name) is not None]
        given += ["bayes"] * self.bayes
        if len(given) != 1:
            raise RecipeError(f"{self.label} takes one of rank, energy, speedup and bayes, not {given or 'none'}")
        if self.rank is not None and (isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1):
            raise RecipeError(f"{self.label}: rank is a whole number from 1, not {self.rank!r}")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise RecipeError(f"{self.label}: energy is a share in (0, 1], not {self.energy!r}")
        if self.speedup is not None and not 1 < self.speedup < float("inf"):
            raise RecipeError(f"{self.label}: speedup is above 1, not {self.speedup!r}")
        if self.scope not in ("layer", "rule") or (self.scope == "rule" and self.speedup is None):
            raise RecipeError(f"{self.label}: scope is 'layer', or 'rule' together with speedup")

    def ranks(self, spectra: Sequence[Spectrum], observer: Observer | None) -> list[int | None]:
        """A rank for each layer, None for one that stays as it is.

        Raises RecipeError for a rank above the full one, a speed-up that not even rank 1 reaches, and scope "rule"
        without an observer.
        """
        if self.scope == "rule" and self.speedup is not None:
            if observer is None:
                raise RecipeError(
                    f"{self}: the layers' shares of the multiply-adds are not known; give compress_ inputs=..., a few "
                    "hundred calibration inputs"
                )
            return self._by_product(spectra, [observer.places(each.layer.where) for each in spectra])
        return [self._one(spectrum) for spectrum in spectra]

    def _one(self, spectrum: Spectrum) -> int | None:
        where = spectrum.layer.where
        if self.rank is not None:
            if self.rank > spectrum.full:
                raise refuse(self, where, f"the full rank is {spectrum.full}", "Lower the rank, or leave the layer out")
            return self.rank
        if self.speedup is not None:
            rank = int(spectrum.whole / self.speedup / spectrum.unit)
            if rank < 1:
                most = spectrum.whole / spectrum.unit
                raise refuse(self, where, f"rank 1 is {most:.3g} times cheaper", "Lower the speed-up")
            return min(rank, spectrum.full)
        if self.energy is not None:
            rank = by_energy(spectrum.energies, self.energy)
        else:
            values = torch.linalg.svdvals(spectrum.matrix).numpy()
            rank = max(1, bayes_rank(values, (spectrum.matrix.shape[0], spectrum.matrix.shape[1])))
        return rank if spectrum.saves(rank) else None

    def _by_product(self, spectra: Sequence[Spectrum], places: Sequence[int]) -> list[int | None]:
        whole = sum(spectrum.whole * n for spectrum, n in zip(spectra, places, strict=True))
        ranks = by_product(
            [spectrum.energies.numpy() for spectrum in spectra],
            [spectrum.unit * n for spectrum, n in zip(spectra, places, strict=True)],
            [spectrum.whole * n for spectrum, n in zip(spectra, places, strict=True)],
            whole / self.speedup,  # type: ignore[operator]
        )
        if ranks is None:
            least = sum(min(s.unit, s.whole) * n for s, n in zip(spectra, places, strict=True))
            raise RecipeError(f"{self}: rank 1 everywhere is {whole / least:.3g} times cheaper; lower the speed-up")
        return [r if spectrum.saves(r) else None for r, spectrum in zip(ranks, spectra, strict=True)]


def by_energy(energies: Tensor, share: float) -> int:
    """The least rank that keeps `share` of the energy; 1 when there is none."""
    kept = energies.cumsum(0)
    reached = kept >= share * kept[-1] * (1 - 1e-12)  # a share of 1 must not miss the sum by its rounding
    return int(reached.double().argmax()) + 1


def by_product(
    energies: Sequence[np.ndarray], units: Sequence[int], wholes: Sequence[int], budget: float
) -> list[int] | None:
    """Ranks that keep the product of the layers' energies large within a budget of multiply-adds; None: impossible.

    Zhang et al., TPAMI 2016, equations 19 to 21, by their greedy strategy: from full ranks on, the unit of rank goes
    whose removal lowers the logarithm of the product least for the multiply-adds saved,
    (σ_r / Σ_{a ≤ r} σ_a) / unit. A layer costs no more than it does as it is, which is what it costs until its rank is
    low enough.
    """
    ranks = [len(energy) for energy in energies]
    kept = [np.cumsum(energy) for energy in energies]

    def cost(i: int) -> int:
        return min(ranks[i] * units[i], wholes[i])

    def price(i: int) -> float:
        r = ranks[i]
        total = kept[i][r - 1]
        return float(energies[i][r - 1] / total / units[i]) if total > 0 else 0.0

    total = sum(cost(i) for i in range(len(ranks)))
    waiting = [(price(i), i) for i in range(len(ranks)) if ranks[i] > 1]
    heapq.heapify(waiting)
    while total > budget:
        if not waiting:
            return None
        _, i = heapq.heappop(waiting)
        before = cost(i)
        ranks[i] -= 1
        total += cost(i) - before
        if ranks[i] > 1:
            heapq.heappush(waiting, (price(i), i))
    return ranks
