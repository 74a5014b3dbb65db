"""A search among the schedules of a layer's loops: from the default on, one kind of change after the other, each kept
that measures faster. A dozen schedules in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from lissome.runtime import kernels, schedule
from lissome.runtime.algorithms import Algorithm, Layer, with_schedule
from lissome.runtime.schedule import OUTPUT, PIXELS, WEIGHT, Schedule


def search(
    algorithm: Algorithm, layer: Layer, measured: Callable[[Sequence[Algorithm]], Mapping[str, float]]
) -> dict[str, float]:
    """Seconds by name of schedules of `algorithm`. measured: seconds of algorithms on the layer, run in turns."""
    best, found = schedule.default(layer.shape, layer.lanes, layer.isa, _block(algorithm, layer)), dict[str, float]()
    for change in (_panels, _orders, _tiles):
        options = {(made := with_schedule(algorithm, each)).name: (made, each) for each in change(layer, best)}
        options.setdefault((same := with_schedule(algorithm, best)).name, (same, best))
        seconds = measured([made for made, _ in options.values()])
        found |= seconds
        best = options[min(seconds, key=seconds.__getitem__)][1]
    return found


def _block(algorithm: Algorithm, layer: Layer) -> int:
    return kernels.blocks(algorithm.kernel(layer.isa))[0]


def _panels(layer: Layer, best: Schedule) -> Iterator[Schedule]:
    """Register blocks of other shapes, with as many vectors of outputs in a tile."""
    outputs = math.ceil(layer.shape.k // layer.shape.groups / layer.lanes)
    for vectors in range(1, min(4, outputs) + 1):
        tile_k = max(1, best.tile_k * best.vectors // vectors)
        yield replace(best, vectors=vectors, pixels=PIXELS[layer.isa][vectors - 1], tile_k=tile_k)


def _orders(_layer: Layer, best: Schedule) -> Iterator[Schedule]:
    """Weights or sums that stay, and fewer panels in a tile."""
    for order in (OUTPUT, WEIGHT):
        yield replace(best, order=order)
        yield replace(best, order=order, tile_k=max(1, best.tile_k // 4))


def _tiles(layer: Layer, best: Schedule) -> Iterator[Schedule]:
    """Tiles of half and of twice the pixels."""
    p, q = schedule.extents(layer.shape)
    for more, less in ((2, 1), (1, 2)):
        if p > 1:
            yield replace(best, tile_p=max(1, min(p, best.tile_p * more // less)))
        else:
            yield replace(best, tile_q=max(best.pixels, min(q, best.tile_q * more // less)))
