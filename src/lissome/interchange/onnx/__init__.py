"""ONNX in and out (docs/onnx.md)."""

from lissome.interchange.onnx.load import from_onnx

__all__ = ["from_onnx"]
