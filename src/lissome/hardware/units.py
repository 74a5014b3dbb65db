"""Units as types: a type checker refuses seconds where hertz are wanted, and a machine refuses what is no clock at all.

Energies are picojoules throughout, times seconds or cycles, sizes bytes or bits; the unit is in each name.
"""

from __future__ import annotations

import math
from typing import Final, NewType

from lissome.errors import HardwareError

Hertz = NewType("Hertz", float)
BytesPerSecond = NewType("BytesPerSecond", float)
OpsPerSecond = NewType("OpsPerSecond", float)
Seconds = NewType("Seconds", float)
Picojoules = NewType("Picojoules", float)
Milliwatts = NewType("Milliwatts", float)

KIB: Final = 1024
MIB: Final = 1024**2
# Outside these a figure was written in another unit: no accelerator has a clock of 700 Hz or a memory of 34 B/s.
_PLAUSIBLE: Final = {"Hz": (1e5, 1e11), "B/s": (1e5, 1e16), "op/s": (1e5, 1e19)}


def mhz(value: float) -> Hertz:
    """Hertz of a figure in megahertz."""
    return Hertz(value * 1e6)


def gbps(value: float) -> BytesPerSecond:
    """Bytes a second of a figure in 10^9 bytes a second."""
    return BytesPerSecond(value * 1e9)


def tops(value: float) -> OpsPerSecond:
    """Operations a second of a figure in 10^12 operations a second; a multiply-add counts 2."""
    return OpsPerSecond(value * 1e12)


def energy_pj(power: Milliwatts, time: Seconds) -> Picojoules:
    """Energy of a power that is drawn for a time: 1 mW for 1 s is 10^9 pJ."""
    return Picojoules(power * time * 1e9)


def check_rate(value: float, unit: str, what: str) -> None:
    """Raise HardwareError when `value` cannot be a rate in `unit` ("Hz", "B/s" or "op/s")."""
    least, most = _PLAUSIBLE[unit]
    if not (math.isfinite(value) and least <= value <= most):
        raise HardwareError(
            f"{what} is {value:g} {unit}; a machine has {least:g} to {most:g} {unit}: "
            "is the figure in another unit? (lissome.hardware.units has mhz, gbps and tops)"
        )


def check_count(value: int, what: str) -> None:
    """Raise HardwareError when `value` is not a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise HardwareError(f"{what} is {value!r}; it is a whole number, at least 1")
