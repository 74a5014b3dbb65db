"""What the machine reaches, measured: within what physics allows, and refused where it cannot be measured."""

import math

import pytest

from lissome.errors import UnsupportedShape
from lissome.runtime.kernels import instruction_sets
from lissome.runtime.machine import cache_bytes, copy_gbps, peak_gflops, peak_integer_gops, read_gbps
from lissome.runtime.native import native

pytestmark = pytest.mark.native

# No processor has more than four vector units or load ports, or runs faster than 7 GHz: a rate above that is of a loop
# that the compiler has removed.
LANES = {"avx512": 16, "avx2": 8, "neon": 4, "scalar": 4}
UNITS, GHZ = 4, 7.0


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("threads", [1, 2])
def test_multiply_adds_are_really_done(isa, threads):
    """The peak is positive and no higher than units, lanes and clock allow: no loop was optimised away."""
    assert 0.01 < peak_gflops(threads, isa, 0.01) < 2 * threads * UNITS * LANES[isa] * GHZ


@pytest.mark.parametrize("isa", instruction_sets())
def test_products_of_codes_are_really_done(isa):
    """The integer peak is positive and no higher than four products a lane, units and clock allow."""
    assert 0.01 < peak_integer_gops(1, isa, 0.01) < 2 * 4 * UNITS * LANES[isa] * GHZ


@pytest.mark.parametrize("isa", instruction_sets())
def test_reading_is_really_done(isa):
    """Reading from the first cache is positive and no faster than load ports and clock allow."""
    assert 0.01 < read_gbps(1, 1, isa, 0.01) < 4 * UNITS * LANES[isa] * GHZ


@pytest.mark.parametrize("isa", instruction_sets())
def test_copying_is_really_done(isa):
    """Copying within the first cache is positive and no faster than its ports and the clock allow."""
    assert 0.01 < copy_gbps(1, 1, isa, 0.01) < 8 * UNITS * LANES[isa] * GHZ


def test_memory_is_slower_than_the_first_cache():
    """A working set beyond the last cache is read more slowly than one inside the first: sizes are in bytes."""
    assert read_gbps(len(cache_bytes()) + 1, 1, None, 0.05) < read_gbps(1, 1, None, 0.05)


def test_caches_grow():
    """Every level of cache is larger than the one before it, and the first is at least 4 KiB."""
    sizes = cache_bytes()
    assert sizes[0] >= 4096
    assert list(sizes) == sorted(set(sizes))


def test_what_cannot_be_measured_is_refused():
    """A level, instruction set, number of threads, time or size that does not exist is one clear error."""
    with pytest.raises(ValueError, match="level 0"):
        read_gbps(0)
    with pytest.raises(UnsupportedShape, match="z80"):
        peak_gflops(1, "z80")
    for threads, seconds in ((0, 0.01), (-1, 0.01), (257, 0.01), (1, 0.0), (1, math.nan), (1, math.inf)):
        with pytest.raises(ValueError, match="1 to 256 threads"):
            native.measure_multiply_adds("scalar", threads, seconds)
    for size in (-1, 0, 1023, 2**33):
        with pytest.raises(ValueError, match="1 KiB to 4 GiB"):
            native.measure_read("scalar", 1, size, 0.01)
        with pytest.raises(ValueError, match="1 KiB to 4 GiB"):
            native.measure_copy("scalar", 1, size, 0.01)
