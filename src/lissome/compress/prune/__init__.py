"""Pruning: which weights are removed. One criterion a file."""

from lissome.compress.prune.fisher import Fisher
from lissome.compress.prune.lamp import Lamp
from lissome.compress.prune.magnitude import Magnitude

__all__ = ["Fisher", "Lamp", "Magnitude"]
