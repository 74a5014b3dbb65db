"""Choosing kernels by measuring them on this machine; what was measured is kept for the next time."""

from lissome.runtime.tune.kept import Kept, default_path
from lissome.runtime.tune.measure import Measured, Tuner

__all__ = ["Kept", "Measured", "Tuner", "default_path"]
