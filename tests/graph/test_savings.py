"""What lightweight convolutions save, against the figures of the papers."""

import pytest
import torch
from torch import nn

from lissome.graph.savings import savings
from lissome.graph.trace import export


def saved(shape, *layers):
    """The savings in a chain of layers for one input of this shape."""
    traced = export(nn.Sequential(*layers), torch.zeros(1, *shape))
    return savings(traced.graph, {name: tuple(value.shape) for name, value in traced.values.items()})


def test_depthwise_separable_as_the_lecture_counts_it():
    """7×7×3 to 5×5×128 by 3×3: 86,400 MACs and 3,456 weights against 10,275 and 411 (27 + 384), 1/128 + 1/9."""
    (one,) = saved((3, 7, 7), nn.Conv2d(3, 3, 3, groups=3), nn.BatchNorm2d(3), nn.ReLU6(), nn.Conv2d(3, 128, 1))
    assert (one.kind, one.nodes) == ("depthwise separable", ("0", "3"))
    assert (one.standard_macs, one.standard_weights) == (86_400, 3_456)
    assert (one.macs, one.weights) == (10_275, 411)
    assert 1 / one.ratio == pytest.approx(1 / 128 + 1 / 9)


def test_factorised():
    """1×7 and 7×1 stand for 7×7 from the channels of the first to the filters of the second: 2n weights against n²."""
    (one,) = saved(
        (8, 17, 17), nn.Conv2d(8, 16, (1, 7), padding=(0, 3)), nn.ReLU(), nn.Conv2d(16, 24, (7, 1), padding=(3, 0))
    )
    assert (one.kind, one.nodes) == ("factorised", ("0", "2"))
    assert (one.weights, one.standard_weights) == (8 * 16 * 7 + 16 * 24 * 7, 8 * 24 * 49)
    assert (one.macs, one.standard_macs) == (289 * one.weights, 289 * one.standard_weights)


@pytest.mark.parametrize(
    ("layer", "kind", "ratio"),
    [
        (nn.Conv2d(12, 8, 3, groups=4, stride=2, padding=1), "grouped", 4),
        (nn.Conv2d(12, 24, 3, groups=12), "depthwise", 12),
        (nn.Conv2d(12, 8, 1), "pointwise", 9),
        (nn.Conv2d(12, 8, 1, stride=2), "pointwise", 9),
        (nn.Conv2d(12, 8, 1, groups=2), "grouped", 2),
        (nn.Conv2d(12, 8, (1, 5), padding=(0, 2)), "factorised", 5),
    ],
)
def test_alone(layer, kind, ratio):
    """A lightweight convolution on its own: fewer by the groups, by 3×3, or by the side that it lacks."""
    (one,) = saved((12, 10, 10), layer, nn.ReLU())
    assert (one.kind, one.ratio, one.standard_weights / one.weights) == (kind, ratio, ratio)


def test_no_pair_where_another_reads_between():
    """A depthwise convolution whose result is used elsewhere too is not taken for a separable one."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(4, 4, 3, groups=4)
            self.point = nn.Conv2d(4, 6, 1)

        def forward(self, x):
            x = self.wide(x)
            return self.point(x).sum((1, 2, 3)) + x.sum((1, 2, 3))

    assert [one.kind for one in saved((4, 6, 6), Two())] == ["depthwise", "pointwise"]


def test_standard_convolutions_save_nothing():
    """Ordinary windows, and strides and dilations of them, are no lightweight convolutions."""
    assert (
        saved((3, 12, 12), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 5, stride=2), nn.Conv2d(5, 6, 2, dilation=2))
        == ()
    )
