"""Trained quantization by weight sharing (Han et al., ICLR 2016, section 3).

A layer's surviving weights are clustered by k-means; from then on each weight is a code into the layer's codebook.
Assignments stay fixed, and the codebook is trained: the gradient of a centroid is the sum of the gradients of its
members (equation 3), which is what the lookup's backward pass computes. Pruned weights stay exactly zero, apart from
the codebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lissome.compress.method import Member, Method, Parametrization, refuse
from lissome.compress.share.lloyd import INITS, kmeans, nearest
from lissome.errors import RecipeError
from lissome.weights import Codebook, CodedWeight, Sparse
from lissome.weights.codebook import MAX_ENTRIES
from lissome.weights.formats import FORMATS

_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float8_e4m3": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
}


class _Lookup(torch.autograd.Function):
    """table[codes], whose backward sums gradients by code: d loss / d C_k = Σ_ij d loss / d W_ij · 1(I_ij = k)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.entries = table.numel()
        return table[codes.long()]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (codes,) = ctx.saved_tensors
        # Summed in float64: a bin may hold millions of gradients, and the order of the sum must not matter much.
        grouped = torch.bincount(codes.flatten().long(), weights=gradients[0].flatten().double(), minlength=ctx.entries)
        return grouped.to(gradients[0].dtype), None


class Shared(Parametrization):
    """codebook[codes], zero where pruned; passes the weight through until it is settled.

    Parameter `codebook`: (clusters,), trained. Buffers: `codes`, integers of the weight's shape, 0 for a pruned weight
    and 1 + index into the codebook elsewhere; `settled`, bool.
    """

    codes: Tensor
    settled: Tensor

    def __init__(self, method: KMeans, where: str, weight: Tensor) -> None:
        super().__init__(method, where)
        self.format = method.format
        self.codebook = nn.Parameter(torch.zeros(method.entries, dtype=weight.dtype, device=weight.device))
        dtype = torch.uint8 if method.entries < 256 else torch.int32
        self.register_buffer("codes", torch.zeros_like(weight, dtype=dtype))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool, device=weight.device))

    def rounded(self) -> Tensor:
        """The codebook as its storage format holds it, at most the format's largest number; gradients pass straight
        through the rounding.
        """
        value = self.codebook.detach()
        if self.format != "float32":
            dtype = _DTYPES[self.format]
            largest = min(torch.finfo(dtype).max, torch.finfo(value.dtype).max)
            value = value.clamp(-largest, largest).to(dtype).to(value.dtype)
        # The difference is exactly +0, so the sum is the rounded value bit for bit, −0 excepted, which becomes +0.
        return value + (self.codebook - self.codebook.detach())

    def forward(self, weight: Tensor) -> Tensor:
        if not self.settled:
            return weight
        table = torch.cat([torch.zeros_like(self.codebook[:1]), self.rounded()])
        shared: Tensor = _Lookup.apply(table, self.codes)  # type: ignore[no-untyped-call]
        return shared

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if not self.settled:
            return before
        codes = self.codes.cpu().numpy().reshape(-1)
        codebook = self.rounded().detach().cpu().float().numpy()
        table = np.concatenate([np.zeros(1, dtype=np.float32), codebook])
        dense = bool(codes.all())
        # A survivor whose centroid became zero is no survivor, unless every weight has a code.
        positions = np.arange(codes.size) if dense else np.flatnonzero(table[codes])
        kept = codes[positions]
        # Training may reorder the centroids or make two equal; a packed codebook is ascending and holds what is used.
        present = np.flatnonzero(np.bincount(kept, minlength=table.size))
        used, ranks = np.unique(table[present], return_inverse=True)
        packed = np.zeros(table.size, dtype=np.int64)
        packed[present] = ranks
        if dense:
            return Codebook(packed[kept].reshape(tuple(weight.shape)), used, self.format)
        if not used.size:
            used = np.zeros(1, dtype=np.float32)
        return Sparse(tuple(weight.shape), positions, Codebook(packed[kept], used, self.format))


@dataclass(frozen=True)
class KMeans(Method):
    """Share weights within each layer through a codebook found by k-means.

    bits or clusters: the codebook has 2^bits or `clusters` entries (1 to 65,536); exactly one is given. A layer left
    with fewer distinct weights than that, by pruning say, keeps one entry for each.
    init: "linear" (the paper's best), "density", "random" or "kmeans++", the last two drawn from `seed`.
    format: how a codebook entry is stored, and rounded to while it is trained (weights.formats.FORMATS).

    Raises RecipeError for options outside these ranges, and for a codebook larger than its layer.
    """

    family: ClassVar[str] = "share"

    bits: int | None = None
    clusters: int | None = None
    init: str = "linear"
    format: str = "float16"
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.bits is None) == (self.clusters is None):
            raise RecipeError("share.KMeans takes either bits or clusters")
        if self.bits is not None and not 1 <= self.bits <= 16:
            raise RecipeError(f"share.KMeans: bits is 1 to 16, not {self.bits!r}")
        if not 1 <= self.entries <= MAX_ENTRIES:
            raise RecipeError(f"share.KMeans: clusters is 1 to {MAX_ENTRIES:,}, not {self.clusters!r}")
        if self.init not in INITS:
            raise RecipeError(f"share.KMeans: unknown init {self.init!r}; known: {', '.join(INITS)}")
        if self.seed < 0:
            raise RecipeError(f"share.KMeans: seed is a whole number from 0, not {self.seed!r}")
        if self.format not in FORMATS:
            raise RecipeError(f"share.KMeans: unknown format {self.format!r}; known: {', '.join(FORMATS)}")

    @property
    def entries(self) -> int:
        """Most entries that the codebook may have."""
        return self.clusters if self.clusters is not None else 2 ** (self.bits or 0)

    def parametrize(self, weight: Tensor, where: str) -> Shared:
        if self.entries > weight.numel():
            raise refuse(
                self,
                where,
                f"a codebook of {self.entries:,} entries is larger than the layer of {weight.numel():,} weights",
                "Take a smaller codebook, or leave this layer out",
            )
        return Shared(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        for member in members:
            shared = member.parametrization
            shared.settled.fill_(value=fraction >= 1)
            if fraction < 1:
                continue
            weight = member.weight().cpu().float().numpy()
            alive = weight != 0
            centroids = kmeans(weight[alive], self.entries, init=self.init, seed=self.seed)
            codes = np.zeros(weight.shape, dtype=np.int64)
            if centroids.size:
                codes[alive] = 1 + nearest(weight[alive], centroids)
            padded = np.zeros(self.entries, dtype=np.float32)
            padded[: centroids.size] = centroids
            shared.codes.copy_(torch.from_numpy(codes))
            shared.codebook.copy_(torch.from_numpy(padded))
