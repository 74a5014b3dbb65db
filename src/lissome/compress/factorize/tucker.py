"""Tucker-2 decomposition of a kernel: 1 × 1 × c → r_in, k × k × r_in → r_out, 1 × 1 × r_out → d.

W[d, c, i, j] ≈ Σ_ab U[d, a] G[a, b, i, j] V[c, b]: the kernel is reduced along its channels, not along its window (Kim
et al., ICLR 2016, "Compression of deep convolutional neural networks for fast and low power mobile applications",
section 3). U and V are the leading singular vectors of W unfolded along each mode (HOSVD), then improved by turns,
each the best for the other (higher-order orthogonal iteration, De Lathauwer et al. 2000).
Cost of a position: c r_in + k² r_in r_out + r_out d multiply-adds for k² c d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from lissome.compress.factorize.bayes import bayes_rank
from lissome.compress.factorize.ranks import Ranked, by_energy
from lissome.compress.method import refuse
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement, convolution, convolution_of, offset
from lissome.errors import RecipeError

TURNS: Final = 50


@dataclass(frozen=True)
class Tucker(Ranked):
    """Replace a convolution by three: into fewer channels, the window, and out of them.

    Options are those of `Ranked`, of each of the two modes: energy keeps its share of the energy along each; speedup
    takes the pair that keeps the largest product of both; scope is "layer".
    rank: of the output channels. rank_in: of the input channels; as `rank`, or all of them when they are fewer.
    """

    rank_in: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope != "layer":
            raise RecipeError("factorize.Tucker: scope is 'layer'")
        wrong = isinstance(self.rank_in, bool) or not isinstance(self.rank_in, int) or self.rank_in < 1
        if self.rank_in is not None and (self.rank is None or wrong):
            raise RecipeError(f"factorize.Tucker: rank_in is a whole number from 1, beside rank, not {self.rank_in!r}")

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        del observer
        for layer in layers:
            module = convolution_of(self, layer)
            weight = module.weight.detach().double().cpu()
            ranks = self._pair(layer, module, weight)
            if ranks is None:
                continue
            out, core, into = tucker(weight, *ranks)
            first = convolution(into.T[:, :, None, None])
            last = convolution(out[:, :, None, None], offset(module))
            yield Replacement(layer, nn.Sequential(first, convolution(core, like=module), last))

    def _pair(self, layer: Layer, module: nn.Conv2d, weight: Tensor) -> tuple[int, int] | None:
        """Ranks of output and input channels; None for a layer that stays as it is."""
        spectra = [_energies(weight, mode) for mode in (0, 1)]
        most = [int(min(unfolded(weight, mode).shape)) for mode in (0, 1)]
        cost = costs(module)
        whole = weight.numel()
        if self.rank is not None:
            pair = self.rank, min(self.rank, most[1]) if self.rank_in is None else self.rank_in
            if pair[0] > most[0] or pair[1] > most[1]:
                raise refuse(self, layer.where, f"the full ranks are {most[0]} out, {most[1]} in", "Lower the ranks")
            return pair
        if self.speedup is not None:
            best = best_pair(spectra[0], spectra[1], cost[: most[0], : most[1]], whole / self.speedup)
            if best is None:
                most_saved = f"ranks 1 are {whole / cost[0, 0]:.3g} times cheaper"
                raise refuse(self, layer.where, most_saved, "Lower the speed-up")
            return best
        if self.energy is not None:
            kept = [by_energy(torch.from_numpy(each), self.energy) for each in spectra]
        else:
            shapes = [unfolded(weight, mode).shape for mode in (0, 1)]
            kept = [max(1, bayes_rank(np.sqrt(e), (s[0], s[1]))) for e, s in zip(spectra, shapes, strict=True)]
        return (kept[0], kept[1]) if cost[kept[0] - 1, kept[1] - 1] < whole else None


def best_pair(out: np.ndarray, into: np.ndarray, cost: np.ndarray, budget: float) -> tuple[int, int] | None:
    """Ranks within a budget whose energies, kept along each mode, have the largest product; None: there are none."""
    kept = np.multiply.outer(np.cumsum(out)[: cost.shape[0]], np.cumsum(into)[: cost.shape[1]])
    score = np.where(cost <= budget, kept, -1.0)
    best = np.unravel_index(int(score.argmax()), score.shape)
    return None if score[best] < 0 else (int(best[0]) + 1, int(best[1]) + 1)


def costs(module: nn.Conv2d) -> np.ndarray:
    """Multiply-adds at one output position for ranks out (rows, from 1) and in (columns)."""
    d, c, high, wide = module.weight.shape
    out, into = np.arange(1, d + 1)[:, np.newaxis], np.arange(1, c + 1)[np.newaxis]
    made: np.ndarray = c * into * module.stride[0] * module.stride[1] + high * wide * into * out + out * d
    return made


def tucker(weight: Tensor, rank_out: int, rank_in: int) -> tuple[Tensor, Tensor, Tensor]:
    """Factors U (d, rank_out) and V (c, rank_in) with orthonormal columns, and the core G (rank_out, rank_in, R, S)."""
    out, into = _leading(unfolded(weight, 0), rank_out), _leading(unfolded(weight, 1), rank_in)
    kept = -1.0
    for _ in range(TURNS):
        out = _leading(unfolded(torch.einsum("kcij,cb->kbij", weight, into), 0), rank_out)
        into = _leading(unfolded(torch.einsum("kcij,ka->acij", weight, out), 1), rank_in)
        core = torch.einsum("kcij,ka,cb->abij", weight, out, into)
        before, kept = kept, float(core.square().sum())
        if kept <= before * (1 + 1e-12):
            break
    return out, core, into


def unfolded(weight: Tensor, mode: int) -> Tensor:
    """The tensor as a matrix whose rows go over one of its axes."""
    return weight.movedim(mode, 0).flatten(1)


def _leading(of: Tensor, count: int) -> Tensor:
    vectors: Tensor = torch.linalg.svd(of, full_matrices=False)[0]
    return vectors[:, :count]


def _energies(weight: Tensor, mode: int) -> np.ndarray:
    found: np.ndarray = torch.linalg.svdvals(unfolded(weight, mode)).square().numpy()
    return found
