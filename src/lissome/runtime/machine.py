"""What this machine reaches at most, measured: multiply-adds per second, bytes per second from each level of memory.

The best of many short trials, each level once a process: other work only ever makes a trial slower. Numbers are of all
threads together. `bench/peak.py` prints them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from lissome.runtime.kernels import integer_isa, resolve_isa
from lissome.runtime.native import native

_LINUX: Final = Path("/sys/devices/system/cpu/cpu0/cache")
# Where the system does not tell: what the smallest processors of the last ten years have.
_USUAL: Final = (32 * 1024, 256 * 1024, 2 * 1024 * 1024)
_UNITS: Final = {"K": 1024, "M": 1024**2, "G": 1024**3}


@functools.cache
def cache_bytes() -> tuple[int, ...]:
    """Bytes of the data caches that processor 0 reads through, the first level first."""
    found: dict[int, int] = {}
    try:
        for index in _LINUX.glob("index*"):
            if (index / "type").read_text().strip() != "Instruction":
                size = (index / "size").read_text().strip()
                found[int((index / "level").read_text())] = int(size.rstrip("KMG")) * _UNITS.get(size[-1:], 1)
    except (OSError, ValueError):
        return _USUAL
    return tuple(found[level] for level in sorted(found)) or _USUAL


@functools.cache
def peak_gflops(threads: int = 1, isa: str | None = None, seconds: float = 0.1) -> float:
    """Measured peak of float32 multiply-adds in 10^9 operations a second; a multiply-add counts 2.

    isa: the widest instruction set when None. Raises UnsupportedShape for one that this machine lacks.
    """
    return native.measure_multiply_adds(resolve_isa(isa), threads, seconds) / 1e9


@functools.cache
def peak_integer_gops(threads: int = 1, isa: str | None = None, seconds: float = 0.1) -> float:
    """Measured peak of products of 8-bit codes, summed in 32 bits, in 10^9 operations a second; one counts 2.

    isa and errors as for `peak_gflops`; of what extends an instruction set (VNNI), where this machine has it.
    """
    return 2 * native.measure_code_products(integer_isa(resolve_isa(isa)), threads, seconds) / 1e9


@functools.cache
def read_gbps(level: int, threads: int = 1, isa: str | None = None, seconds: float = 0.1) -> float:
    """Measured reading in 10^9 bytes a second from a working set of each thread's own.

    level: 1 for the first cache, and so on; one more than there are caches for memory. The set is half of that
    cache (of a thread's share, at the last level), or four times the last one, 256 MB at most.
    Raises UnsupportedShape for an instruction set that this machine lacks, ValueError for a level that it lacks.
    """
    return native.measure_read(resolve_isa(isa), threads, _working_set(level, threads), seconds) / 1e9


@functools.cache
def copy_gbps(level: int, threads: int = 1, isa: str | None = None, seconds: float = 0.1) -> float:
    """Measured copying from one half of the set of `read_gbps` to the other: 10^9 bytes read and written a second."""
    return native.measure_copy(resolve_isa(isa), threads, _working_set(level, threads), seconds) / 1e9


def _working_set(level: int, threads: int) -> int:
    """Bytes for each thread that live at a level of the memory."""
    caches = cache_bytes()
    if not 1 <= level <= len(caches) + 1:
        raise ValueError(f"level {level}; this machine has caches 1 to {len(caches)}, and memory as {len(caches) + 1}")
    if level > len(caches):
        return min(4 * caches[-1], 256_000_000)
    return caches[level - 1] // 2 // (threads if level == len(caches) else 1)
