"""What every operator means: slow, plain, in float64 NumPy; a family of operators a file, as in graph/rules/.

An operator is a function of the node and its inputs, None for one left out, that returns the output, or a tuple of
outputs where there are several. `runtime.reference` runs whole networks with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Table: TypeAlias = Mapping[str, Callable[..., "Array | tuple[Array, ...]"]]
