"""Step: one kernel call of a plan, in plain Python, before it becomes native."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.runtime.native import native

#: what a kernel does to its output last: name ("none", "relu", "clip", "leaky_relu", "hard_swish") and two constants
Activation: TypeAlias = tuple[str, float, float]
NONE: Final[Activation] = ("none", 0.0, 0.0)


@dataclass(frozen=True)
class Step:
    """One kernel call. `nodes`: the graph's nodes it stands for. ints, floats: what the kernel's operator takes
    (native/executor/rules.cpp). work: multiply-adds (of stored weights, where the kernel is sparse) or elements read.
    """

    nodes: tuple[str, ...]
    op: str
    kernel: str
    why: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ints: tuple[int, ...]
    floats: tuple[float, ...] = ()
    weights: native.Packed | None = None
    bias: NDArray[np.float32] | None = None
    activation: Activation = NONE
    work: int = 0

    def of(self, weights: native.Packed, bias: NDArray[np.float32] | None, work: int) -> Step:
        """This step with a weight and a bias."""
        return replace(self, weights=weights, bias=bias, work=work)
