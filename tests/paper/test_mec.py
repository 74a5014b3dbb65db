"""MEC (Cho and Brand, ICML 2017): the lowered input is more than twice smaller than im2col's on the paper's layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import functional, kernels, mec

pytestmark = [pytest.mark.native, pytest.mark.paper]

SHAPES = Path(__file__).parents[2] / "bench" / "shapes" / "mec.txt"


def _layers():
    for line in SHAPES.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, *values = line.split()
            c, h, w, k, r, s, stride, _pad = map(int, values)
            yield name, ConvShape(1, c, h, w, k, r, s, 1, stride, stride)


LAYERS = dict(_layers())


@pytest.mark.parametrize("name", LAYERS)
def test_memory_on_the_papers_layers(name):
    """cv1 to cv12: the workspace that the kernel has is at least twice smaller than the matrix that im2col would be."""
    shape = LAYERS[name]
    weight = np.zeros((shape.k, shape.c, shape.r, shape.s), np.float32)
    isa = kernels.instruction_sets()[0]
    ready = functional.prepare(shape, weight, None, kernel="mec", threads=1, isa=isa)
    im2col_bytes = 4 * shape.p * shape.q * shape.depth
    tail = 64  # of every arena, for kernels that read whole vectors
    assert ready.workspace_bytes == 4 * mec.lowered_floats(shape) + tail
    assert im2col_bytes / ready.workspace_bytes > 2


def test_the_papers_example():
    """Figure 2: a 7x7 input and a 3x3 filter make 105 numbers, where im2col makes 225."""
    shape = ConvShape(1, 1, 7, 7, 1, 3, 3)
    assert mec.lowered_floats(shape) == 105
    assert shape.p * shape.q * shape.depth == 225
