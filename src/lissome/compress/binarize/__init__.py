"""Binary and ternary weights: a sign, and perhaps a scale or a zero. One method a file."""

from lissome.compress.binarize.connect import BinaryConnect
from lissome.compress.binarize.ternary import TernaryWeight
from lissome.compress.binarize.trained_ternary import TrainedTernary
from lissome.compress.binarize.weight import BinaryWeight

__all__ = ["BinaryConnect", "BinaryWeight", "TernaryWeight", "TrainedTernary"]
