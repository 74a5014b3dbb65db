"""k-means in one dimension, exactly as Lloyd's iteration defines it, at the price of one sort.

In one dimension clusters are intervals, so an iteration needs no pass over the data: the boundaries between centroids
are found by bisection in the sorted values and the new means by differences of prefix sums. 10^8 weights take the time
of sorting them. Initialisations as in Han et al., ICLR 2016, section 3.2, and k-means++ (Arthur and Vassilvitskii
2007).
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

INITS: Final = ("linear", "density", "random", "kmeans++")


def initial(ordered: NDArray[np.float64], clusters: int, init: str, seed: int) -> NDArray[np.float64]:
    """`clusters` starting centroids for sorted values: "linear" (evenly over [min, max], the paper's best), "density"
    (evenly over the cumulative distribution), "random" (Forgy: distinct observations) or "kmeans++".
    """
    if init == "linear":
        return np.linspace(ordered[0], ordered[-1], clusters)
    if init == "density":
        return np.quantile(ordered, (np.arange(clusters) + 0.5) / clusters)
    rng = np.random.default_rng(seed)
    if init == "random":
        return np.sort(rng.choice(ordered, clusters, replace=False))
    # The D² weights need not see all of 10^8 values: a sorted sample keeps their distribution.
    sample = ordered if ordered.size <= 100_000 else ordered[np.sort(rng.choice(ordered.size, 100_000, replace=False))]
    centroids = [float(rng.choice(sample))]
    distance = (sample - centroids[0]) ** 2
    while len(centroids) < clusters:
        total = distance.sum()
        if total == 0:  # the sample has no further value: what is left starts empty
            centroids += centroids[:1] * (clusters - len(centroids))
            break
        centroids.append(float(rng.choice(sample, p=distance / total)))
        distance = np.minimum(distance, (sample - centroids[-1]) ** 2)
    return np.sort(np.array(centroids))


def kmeans(
    values: NDArray[np.floating], clusters: int, *, init: str = "linear", seed: int = 0, iterations: int = 300
) -> NDArray[np.float32]:
    """Centroids (float32, ascending) of `values` (any shape, finite): `clusters` of them, or one for each distinct
    value when there are fewer.

    Runs until no boundary moves or `iterations` is reached. A cluster that lost its last member starts again at the
    value farthest from its centroid, one cluster an iteration. Deterministic for a seed.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float32), axis=None).astype(np.float64)
    if ordered.size == 0:
        return np.zeros(0, dtype=np.float32)
    steps = np.flatnonzero(ordered[1:] != ordered[:-1])
    if steps.size < clusters:
        distinct: NDArray[np.float32] = ordered[np.concatenate([[0], steps + 1])].astype(np.float32)
        return distinct
    del steps
    prefix = np.zeros(ordered.size + 1)
    np.cumsum(ordered, out=prefix[1:])
    centroids = initial(ordered, clusters, init, seed)
    edges = _edges(ordered, centroids)
    for _ in range(iterations):
        count = np.diff(edges)
        filled = count > 0
        centroids[filled] = np.diff(prefix[edges])[filled] / count[filled]
        if not filled.all():
            strays = np.abs(ordered - np.repeat(centroids, count))
            centroids[filled.argmin()] = ordered[strays.argmax()]
            centroids.sort()
        before, edges = edges, _edges(ordered, centroids)
        if np.array_equal(before, edges):
            break
    # Differences of long prefix sums lose digits; the means that are returned are summed afresh, cluster by cluster.
    means = [ordered[low:high].mean() for low, high in itertools.pairwise(edges) if low < high]
    return np.unique(np.array(means, dtype=np.float32))


def _edges(ordered: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cluster k is ordered[edges[k] : edges[k + 1]]; a value halfway belongs to the lower centroid."""
    cuts = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2, side="right")
    return np.concatenate([[0], cuts, [ordered.size]])


def nearest(values: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """Index of the nearest of the ascending `centroids` for every value (the lower one on a tie)."""
    return np.searchsorted((centroids[1:].astype(np.float64) + centroids[:-1]) / 2, values.astype(np.float64))
