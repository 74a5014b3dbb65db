"""Coded weights: codes into a codebook, and where the zeros are. One kind a file; values are immutable and nest."""

from lissome.weights.codebook import Codebook
from lissome.weights.coded import CodedWeight
from lissome.weights.dense import Dense
from lissome.weights.scaled import Scaled
from lissome.weights.sparse import Sparse

__all__ = ["Codebook", "CodedWeight", "Dense", "Scaled", "Sparse"]
