"""Low rank and its kin: a layer becomes several smaller ones. One decomposition a file."""

from lissome.compress.factorize.asymmetric import Asymmetric
from lissome.compress.factorize.cp import CP
from lissome.compress.factorize.depthwise import DepthwiseSeparable
from lissome.compress.factorize.low_rank_sparse import LowRankSparse
from lissome.compress.factorize.pca import PCA
from lissome.compress.factorize.spatial import Spatial
from lissome.compress.factorize.svd import SVD
from lissome.compress.factorize.tensor_train import TensorTrain
from lissome.compress.factorize.tucker import Tucker

__all__ = ["CP", "PCA", "SVD", "Asymmetric", "DepthwiseSeparable", "LowRankSparse", "Spatial", "TensorTrain", "Tucker"]
