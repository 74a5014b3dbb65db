"""Weight sharing: many weights, few values. One way to find the values a file."""

from lissome.compress.share.kmeans import KMeans
from lissome.compress.share.straight_through import StraightThrough

__all__ = ["KMeans", "StraightThrough"]
