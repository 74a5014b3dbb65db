"""Weight sharing: many weights, few values. One way to find the values a file."""

from lissome.compress.share.kmeans import KMeans

__all__ = ["KMeans"]
