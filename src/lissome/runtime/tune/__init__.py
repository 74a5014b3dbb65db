"""Choosing kernels by measuring them on this machine; what was measured is kept for the next time."""

from lissome.runtime.tune.calibration import Calibration, calibrate, overheads
from lissome.runtime.tune.kept import Kept, default_path
from lissome.runtime.tune.measure import Measured, Tuner

__all__ = ["Calibration", "Kept", "Measured", "Tuner", "calibrate", "default_path", "overheads"]
