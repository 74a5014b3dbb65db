"""Places in the arena."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lissome.runtime.place import ALIGNMENT, arrange
from lissome.runtime.plan import WORK_EACH, workers

_tensor = st.tuples(st.integers(0, 12), st.integers(0, 5), st.integers(1, 1000))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_tensor, max_size=20))
def test_tensors_alive_together_never_overlap(tensors):
    """Whatever the lifetimes and sizes: aligned offsets, and no two tensors share a byte at one step."""
    lifetimes = {str(i): [first, first + length] for i, (first, length, _) in enumerate(tensors)}
    sizes = {str(i): 4 * size for i, (_, _, size) in enumerate(tensors)}
    offsets = arrange(lifetimes, sizes)
    assert set(offsets) == set(sizes)
    assert all(offset % ALIGNMENT == 0 for offset in offsets.values())
    for a, b in itertools.combinations(sizes, 2):
        together = lifetimes[a][0] <= lifetimes[b][1] and lifetimes[b][0] <= lifetimes[a][1]
        apart = offsets[a] + sizes[a] <= offsets[b] or offsets[b] + sizes[b] <= offsets[a]
        assert apart or not together


def test_a_chain_needs_two_places():
    """In a chain of equal tensors, each takes the place of the one before the last."""
    offsets = arrange({str(i): [i, i + 1] for i in range(6)}, {str(i): 640 for i in range(6)})
    assert max(offsets.values()) == 640


def test_small_work_is_not_shared():
    """Threads are used only where each has enough to do."""
    assert workers(WORK_EACH - 1, 8) == 1
    assert workers(3 * WORK_EACH, 8) == 3
    assert workers(10**12, 8) == 8
