"""Binary and ternary weights, and binary activations: a sign, and perhaps a scale or a zero. One method a file."""

from lissome.compress.binarize.binary_net import BinaryNet
from lissome.compress.binarize.connect import BinaryConnect
from lissome.compress.binarize.ternary import TernaryWeight
from lissome.compress.binarize.ternary_connect import TernaryConnect
from lissome.compress.binarize.trained_ternary import TrainedTernary
from lissome.compress.binarize.weight import BinaryWeight
from lissome.compress.binarize.xnor import XNORNet

__all__ = [
    "BinaryConnect",
    "BinaryNet",
    "BinaryWeight",
    "TernaryConnect",
    "TernaryWeight",
    "TrainedTernary",
    "XNORNet",
]
