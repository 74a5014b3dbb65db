"""Quantization: values on a grid of few bits. One method a file."""

from lissome.compress.quantize.affine import PostTraining
from lissome.compress.quantize.rate_distortion import RateDistortion

__all__ = ["PostTraining", "RateDistortion"]
