"""One-dimensional k-means: Lloyd's iteration as everyone else computes it, only faster; and inputs that break it."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lissome.compress.share.lloyd import INITS, initial, kmeans, nearest

values_1d = npst.arrays(np.float32, st.integers(1, 60), elements=st.floats(-8, 8, width=32))


def inertia(values, centroids):
    """Sum of squared distances to the nearest centroid, by comparing with every one of them, in float64."""
    return (np.abs(values.astype(np.float64)[:, None] - centroids.astype(np.float64)).min(axis=1) ** 2).sum()


def plain_lloyd(values, centroids, iterations=300):
    """Lloyd's iteration as the textbook has it: assign every value, move every centroid, until nothing moves.

    Returns the centroids, and whether a cluster was empty on the way, for which the textbook has no rule.
    """
    for _ in range(iterations):
        codes = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
        if np.unique(codes).size < centroids.size:
            return centroids, True
        moved = np.array([values[codes == k].mean() for k in range(centroids.size)])
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids, False


def a_layer(size=4000, seed=0):
    """Weights as a pruned layer has them: two lobes and nothing near zero."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, size).astype(np.float32)
    return values[np.abs(values) > 0.4]


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("clusters", [2, 5, 16])
def test_agrees_with_scikit_learn(init, clusters):
    """From the same start, scikit-learn's Lloyd (n_init=1) ends at the same inertia, as long as no cluster empties.

    Both stop at a fixed point of the same map up to rounding: scikit-learn sums in float64 in another order (relative
    1e-15 × n), and our centroids are rounded to float32, which raises inertia by at most n · (2⁻²⁴ · max|c|)² above a
    minimum. Hence 1e-6 relative.
    """
    sklearn = pytest.importorskip("sklearn.cluster")
    even = np.random.default_rng(0).uniform(-1, 1, 2000)
    values = (np.sign(even) * np.abs(even) ** 1.5).astype(np.float32)
    ordered = np.sort(values).astype(np.float64)
    start = initial(ordered, clusters, init, seed=3)
    theirs = sklearn.KMeans(clusters, init=start[:, None], n_init=1, algorithm="lloyd", tol=0, max_iter=1000)
    theirs.fit(ordered[:, None])
    assert not plain_lloyd(ordered, start)[1]
    ours = kmeans(values, clusters, init=init, seed=3, iterations=1000)
    assert inertia(values, ours) == pytest.approx(theirs.inertia_, rel=1e-6)


@settings(deadline=None, max_examples=80)
@given(values=values_1d, clusters=st.integers(1, 8), init=st.sampled_from(INITS), seed=st.integers(0, 5))
def test_agrees_with_the_textbook(values, clusters, init, seed):
    """On any data every centroid is where the textbook's loop from the same start puts it, rounded to float32."""
    ours = kmeans(values, clusters, init=init, seed=seed)
    assert ours.dtype == np.float32
    assert (np.diff(ours) > 0).all()
    ordered = np.sort(values).astype(np.float64)
    if np.unique(values).size > clusters:
        assert ours.size == clusters
        start = initial(ordered, clusters, init, seed)
        rounding = values.size * (2.0**-24 * 8) ** 2
        assert inertia(values, ours) <= inertia(values, start) + rounding
        theirs, emptied = plain_lloyd(ordered, start)
        if not emptied:
            assert np.abs(ours - theirs).max() <= 8 * 2.0**-24
    else:
        assert np.array_equal(ours, np.unique(values))


@pytest.mark.parametrize("init", INITS)
def test_every_code_is_used(init):
    """A cluster that empties is started anew: a layer with a gap around zero wastes no entry of its codebook."""
    values = a_layer()
    centroids = kmeans(values, 16, init=init)
    assert centroids.size == 16
    assert (np.bincount(nearest(values, centroids), minlength=16) > 0).all()


@pytest.mark.parametrize("init", INITS)
def test_inertia_never_rises(init):
    """More iterations never make the fit worse, up to the rounding of centroids to float32."""
    values = a_layer(1000)
    found = [inertia(values, kmeans(values, 9, init=init, iterations=n)) for n in range(1, 40)]
    slack = values.size * (2.0**-24 * np.abs(values).max()) ** 2
    assert all(after <= before + slack for before, after in itertools.pairwise(found))
    assert found[-1] < found[0]


@pytest.mark.parametrize("init", INITS)
def test_returned_centroids_are_the_means_of_their_members(init):
    """At the end every centroid is the mean of the values nearest to it: the fixed point of Lloyd's iteration."""
    values = a_layer(3000)
    centroids = kmeans(values, 7, init=init, iterations=1000)
    codes = nearest(values, centroids)
    for k, centroid in enumerate(centroids):
        assert centroid == np.float32(values[codes == k].astype(np.float64).mean())


def test_linear_init_spreads_evenly_over_the_range():
    """Linear: from the smallest to the largest value in equal steps (Han et al. 2016, section 3.2)."""
    ordered = np.array([-2.0, 0.0, 0.1, 0.2, 2.0])
    assert initial(ordered, 5, "linear", 0).tolist() == [-2, -1, 0, 1, 2]


def test_density_init_spreads_evenly_over_the_distribution():
    """Density: as many values between two neighbouring starts as between any other two."""
    ordered = np.sort(np.random.default_rng(0).normal(size=10_001))
    start = initial(ordered, 8, "density", 0)
    counts = np.histogram(ordered, np.concatenate([[-np.inf], start, [np.inf]]))[0]
    assert np.abs(counts[1:-1] - 1250).max() <= 1
    assert np.abs(counts[[0, -1]] - 625).max() <= 1


@pytest.mark.parametrize("init", ["random", "kmeans++"])
def test_random_inits_draw_observations(init):
    """Random and k-means++ start from values that occur, differ with the seed and repeat with it."""
    ordered = np.sort(np.random.default_rng(0).normal(size=500))
    starts = [initial(ordered, 6, init, seed) for seed in (1, 1, 2)]
    assert np.isin(starts[0], ordered).all()
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize(
    ("values", "clusters", "expected"),
    [
        ([], 4, []),
        ([1.5], 4, [1.5]),
        ([2.0] * 100, 1, [2.0]),
        ([2.0] * 100, 4, [2.0]),
        ([1.0, 2.0, 1.0, 2.0], 2, [1.0, 2.0]),
        ([3.0, 1.0, 2.0], 16, [1.0, 2.0, 3.0]),
        ([-1.0, 0.0, 1.0], 1, [0.0]),
        ([0.0, 0.0, 9.0, 9.0, 9.5, 9.5], 1, [37 / 6]),
    ],
)
def test_degenerate_inputs(init, values, clusters, expected):
    """Nothing, one value, constant, fewer distinct values than clusters, one cluster: the exact answer, no warning."""
    found = kmeans(np.array(values, np.float32), clusters, init=init)
    assert found.tolist() == np.array(expected, np.float32).tolist()


@pytest.mark.parametrize("init", INITS)
def test_well_separated_lumps_are_found_exactly(init):
    """Plateaus far apart: with a cluster for each, nothing is lost, whatever the start."""
    values = np.repeat(np.array([-3.0, -1.0, 1.0, 3.0], np.float32), 50)
    assert kmeans(values, 4, init=init).tolist() == [-3, -1, 1, 3]


def test_few_distinct_values_in_a_huge_array_are_kept_exactly():
    """Three values, one of them once in 3 million: all three are found, the rare one too."""
    values = np.full(3_000_000, 0.25, np.float32)
    values[::2] = -0.25
    values[1_234_567] = 0.3
    assert kmeans(values, 4).tolist() == [np.float32(-0.25), np.float32(0.25), np.float32(0.3)]


def test_shape_and_order_of_the_values_do_not_matter():
    """A tensor of any shape, in any order, has the same centroids."""
    values = a_layer(1200)[:600]
    shuffled = np.random.default_rng(5).permutation(values).reshape(20, 30)
    assert np.array_equal(kmeans(values, 8), kmeans(shuffled, 8))


def test_a_large_offset_does_not_cost_the_digits_of_a_small_cluster():
    """The mean of a cluster of two is exact although the running sum before it is ten million times larger."""
    values = np.concatenate([np.full(200_000, 1000.1), [1500.0, 1500.5], np.linspace(-1, 0, 50)]).astype(np.float32)
    assert np.float32(1500.25) in kmeans(values, 3)


@settings(deadline=None, max_examples=60)
@given(values=values_1d, centroids=npst.arrays(np.float32, st.integers(1, 9), elements=st.floats(-8, 8, width=32)))
def test_nearest_is_nearest(values, centroids):
    """The code of a value names a centroid at the least distance, the lower one on a tie."""
    centroids = np.unique(centroids)
    distance = np.abs(values.astype(np.float64)[:, None] - centroids.astype(np.float64))
    codes = nearest(values, centroids)
    assert np.array_equal(distance[np.arange(values.size), codes], distance.min(axis=1))
    assert nearest(np.array([1.5], np.float32), np.array([1.0, 2.0], np.float32)).tolist() == [0]


@pytest.mark.slow
def test_ten_million_values_take_seconds():
    """10⁷ values into 32 clusters in well under 20 s of one core: the time of a sort and a few passes."""
    values = np.random.default_rng(0).normal(size=10_000_000).astype(np.float32)
    began = time.process_time()
    centroids = kmeans(values, 32)
    assert time.process_time() - began < 20
    assert centroids.size == 32
