"""Quantization: values on a grid of few bits. One method a file."""

from lissome.compress.quantize.fake import FakeQuantized
from lissome.compress.quantize.fixed_point import DynamicFixedPoint
from lissome.compress.quantize.log_domain import Log
from lissome.compress.quantize.lsq import LSQ
from lissome.compress.quantize.number_format import Format
from lissome.compress.quantize.post_training import PostTraining
from lissome.compress.quantize.rate_distortion import RateDistortion

__all__ = ["LSQ", "DynamicFixedPoint", "FakeQuantized", "Format", "Log", "PostTraining", "RateDistortion"]
