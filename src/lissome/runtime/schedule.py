"""How a direct convolution's loop nest runs (native/conv/dense_nest.h): plain data, with a good default by shape.

A schedule changes speed, and the order in which an output's products are added, but never which products.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import Final

from lissome.graph.conv_shape import ConvShape

#: loop orders: what stays near while the rest streams past (native/core/schedule.h)
OUTPUT, WEIGHT, INPUT = 0, 1, 2
#: pixels of a register block with 1, 2, 3 and 4 vectors of outputs, as in native/conv/block.h
PIXELS: Final = {"avx512": (14, 14, 9, 6), "neon": (12, 12, 8, 6), "avx2": (12, 6, 4, 3), "scalar": (12, 6, 4, 3)}
#: sums that a processor needs in flight so that none waits for another
CHAINS: Final = {"avx512": 4, "neon": 8, "avx2": 9, "scalar": 4}
FETCH: Final = 2.5  # slots in which the second cache brings a vector
SECOND_CACHE: Final = 512 * 1024  # bytes of weights, or twice the bytes of inputs, that stay in a core's own cache
PANEL_PART: Final = 256 * 1024  # bytes of a panel's weights that stay while a tile's pixels pass
MOST: Final = 1 << 31  # above any extent
TASKS: Final = 16  # at least, where a layer can be cut into as many: threads then finish together


@dataclass(frozen=True)
class Schedule:
    """Order and tiles of the loop nest.

    order: OUTPUT (sums stay in registers until done), WEIGHT (a tile of weights stays while the tile's pixels pass) or
    INPUT (a register block's inputs stay while the tile's panels pass). vectors: of output channels in a panel, 1 to 4.
    pixels: in a register block at most. tile_k: panels, tile_c: input blocks, tile_p, tile_q: output rows and columns
    in a tile. A 1x1 convolution of stride 1 has one row of all its pixels.
    """

    order: int
    vectors: int
    pixels: int
    tile_k: int
    tile_c: int
    tile_p: int
    tile_q: int

    def values(self) -> tuple[int, ...]:
        """As native code takes it."""
        return astuple(self)

    def __str__(self) -> str:
        return ",".join(map(str, self.values()))

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that prints as `text`. Raises ValueError for any other text."""
        values = [int(value) for value in text.split(",")]
        if len(values) != 7 or not (0 <= values[0] <= INPUT and 1 <= values[1] <= 4 and min(values[2:]) >= 1):
            raise ValueError(f"{text!r} is no schedule: order 0 to 2, vectors 1 to 4, and five numbers from 1 on")
        if max(values) >= MOST:
            raise ValueError(f"{text!r} is no schedule: its numbers are below {MOST}")
        return cls(*values)


def default(shape: ConvShape, lanes: int, isa: str, block: int) -> Schedule:
    """A good schedule for a layer. block: channels in a block of the input, 1 for a plain image."""
    p, q = extents(shape)
    channels, outputs = shape.c // shape.groups, math.ceil(shape.k // shape.groups / lanes)
    loads = (0.5, 0.2) if shape.r * shape.s == 1 else (0.3, 0.3)  # measured on AMD Zen 4
    vectors = min(range(1, min(4, outputs) + 1), key=lambda v: (_slots(q, outputs, v, isa, loads), v))
    panels = math.ceil(outputs / vectors)
    panel_bytes = channels * shape.r * shape.s * vectors * lanes * 4
    row_bytes = channels * shape.w * shape.stride_h * 4 if shape.p == p else channels * 4
    room = max(1, SECOND_CACHE // 2 // row_bytes)
    pixels = PIXELS[isa][vectors - 1]
    few = panel_bytes * panels <= SECOND_CACHE
    schedule = Schedule(
        order=OUTPUT if few else WEIGHT,
        vectors=vectors,
        pixels=pixels,
        tile_k=panels if few else max(1, SECOND_CACHE // panel_bytes),
        tile_c=_tile_c(math.ceil(channels / block), panel_bytes),
        tile_p=min(p, room) if p > 1 else 1,
        tile_q=q if p > 1 else min(q, max(4 * pixels, room // pixels * pixels)),
    )
    return _cut(schedule, p, q, panels, shape.groups * shape.n)


def extents(shape: ConvShape) -> tuple[int, int]:
    """Rows and columns of outputs as the loop nest counts them: those of a 1x1 convolution lie in one row."""
    point = shape.r == shape.s == shape.stride_h == shape.stride_w == 1
    padded = shape.pad_top or shape.pad_left or shape.pad_bottom or shape.pad_right
    return (1, shape.p * shape.q) if point and not padded else (shape.p, shape.q)


def _slots(q: int, outputs: int, vectors: int, isa: str, loads: tuple[float, float]) -> float:
    """Multiply-add slots of one row's register blocks for one input channel and tap. loads: those that a vector of
    weights and an input take.
    """
    total = 0.0
    for wide, panels in ((vectors, outputs // vectors), (outputs % vectors, 1)):
        if wide and panels:
            count = math.ceil(q / PIXELS[isa][wide - 1])
            for pixels, blocks in ((q // count, count - q % count), (q // count + 1, q % count)):
                waits = loads[0] * wide + loads[1] * pixels
                slots = max(pixels * wide, pixels + wide, CHAINS[isa], FETCH * wide)
                total += blocks * panels * (slots + waits)
    return total


def _tile_c(blocks: int, panel_bytes: int) -> int:
    """Input blocks whose weights stay in the second cache, beside all else that passes through it."""
    return math.ceil(blocks / min(blocks, math.ceil(panel_bytes / PANEL_PART)))


def _cut(schedule: Schedule, p: int, q: int, panels: int, planes: int) -> Schedule:
    """The schedule with smaller tiles, until there are enough for threads to share."""
    while True:
        k, rows, columns = schedule.tile_k, schedule.tile_p, schedule.tile_q
        tasks = planes * math.ceil(panels / k) * math.ceil(p / rows) * math.ceil(q / columns)
        if tasks >= TASKS:
            return schedule
        if schedule.order == WEIGHT and k > 1:
            schedule = replace(schedule, tile_k=math.ceil(k / 2))
        elif rows > 1:
            schedule = replace(schedule, tile_p=math.ceil(rows / 2))
        elif p == 1 and columns > 2 * schedule.pixels:
            whole = math.ceil(min(columns, q) / schedule.pixels)  # register blocks, none of them cut
            schedule = replace(schedule, tile_q=math.ceil(whole / 2) * schedule.pixels)
        elif k > 1:
            schedule = replace(schedule, tile_k=math.ceil(k / 2))
        else:
            return schedule
