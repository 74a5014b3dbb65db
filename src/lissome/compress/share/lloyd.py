"""k-means in one dimension, exactly as Lloyd's iteration defines it, at the price of one sort.

In one dimension clusters are intervals, so an iteration needs no pass over the data: the boundaries between centroids
are found by bisection in the sorted values and the new means by differences of prefix sums. 10^8 weights take the time
of sorting them. Initialisations as in Han et al., ICLR 2016, section 3.2, and k-means++ (Arthur and Vassilvitskii
2007).
"""

from __future__ import annotations

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
        if total == 0:
            break
        centroids.append(float(rng.choice(sample, p=distance / total)))
        distance = np.minimum(distance, (sample - centroids[-1]) ** 2)
    return np.sort(np.array(centroids))


def kmeans(
    values: NDArray[np.floating], clusters: int, *, init: str = "linear", seed: int = 0, iterations: int = 300
) -> NDArray[np.float32]:
    """Centroids (float32, ascending, at most `clusters`: empty clusters are dropped) of `values`, any shape, finite.

    Runs until no boundary moves or `iterations` is reached. Deterministic for a seed.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float32), axis=None).astype(np.float64)
    if ordered.size == 0:
        return np.zeros(0, dtype=np.float32)
    distinct = (
        np.unique(ordered[:: max(1, ordered.size // 1_000_000)]) if ordered.size > 2_000_000 else np.unique(ordered)
    )
    if distinct.size <= clusters and ordered.size <= 2_000_000:
        return distinct.astype(np.float32)
    prefix = np.concatenate([[0.0], np.cumsum(ordered)])
    centroids = np.unique(initial(ordered, clusters, init, seed))
    edges = np.zeros(0, dtype=np.int64)
    for _ in range(iterations):
        cuts = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        found = np.concatenate([[0], cuts, [ordered.size]])
        if np.array_equal(found, edges):
            break
        edges = found
        count = np.diff(edges)
        filled = count > 0
        centroids[filled] = np.diff(prefix[edges])[filled] / count[filled]
        centroids = np.sort(centroids)
    used = (
        np.diff(np.concatenate([[0], np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2), [ordered.size]]))
        > 0
    )
    return np.unique(centroids[used].astype(np.float32))


def nearest(values: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """Index of the nearest of the ascending `centroids` for every value (the lower one on a tie)."""
    return np.searchsorted((centroids[1:].astype(np.float64) + centroids[:-1]) / 2, values.astype(np.float64))
