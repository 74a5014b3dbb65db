"""Engine: a compiled network. Arrays in, arrays out; NumPy only."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import UnsupportedShape
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import TensorSpec
from lissome.network import Network
from lissome.runtime.codes import scaled
from lissome.runtime.held import Held
from lissome.runtime.kernels import resolve_isa
from lissome.runtime.plan import Plan, Prepared, make_plan
from lissome.runtime.tune import Kept, Measured, Tuner, default_path, overheads

PLANS_KEPT: Final = 8
FLOAT32: Final = np.dtype(np.float32)
EFFORTS: Final = ("off", "quick", "full")
#: all that there are: a forked child gives each a lock of its own, as nobody there would open the parent's
_ENGINES: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()


class Engine:
    """Runs a network on the CPU. Made by `lissome.compile`; safe to use from several threads at once.

    A plan (kernels, places of tensors) is made for each batch size met and the last few are kept. The result for one
    sample does not depend on the number of threads. Dense weights are held packed only; a plan that packs one
    differently makes it from that.
    """

    def __init__(
        self,
        net: Network | Held,
        *,
        threads: int | None = None,
        isa: str | None = None,
        kernels: Mapping[str, str] | None = None,
        tune: str = "off",
        memory: float | None = None,
        on_layer: Callable[[Measured], None] | None = None,
    ) -> None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = available if threads is None else threads
        if not 1 <= self.threads <= 256:
            raise UnsupportedShape(f"threads={threads}; use 1 to 256, or None for one a processor core")
        self.isa = resolve_isa(isa)
        self._net = scaled(Held.of(net) if isinstance(net, Network) else net)
        if tune not in EFFORTS:
            raise ValueError(f"tune={tune!r}; it is one of {', '.join(map(repr, EFFORTS))}")
        if memory is not None and (not memory >= 1 or tune != "off"):
            raise ValueError(
                f"memory={memory} with tune={tune!r}; it is at least 1, and bounds what the cost model takes"
            )
        kept = Kept(default_path(), self.isa, self.threads) if tune != "off" else None
        tuner = None if kept is None else Tuner(kept, tune, on_layer)
        self._prepared = Prepared(
            dict(kernels or {}), tuner, memory=memory, measured=overheads(self.isa, self._net.dense_bytes)
        )
        self._plans: OrderedDict[int, Plan] = OrderedDict()
        self._lock = threading.Lock()
        _ENGINES.add(self)
        self._names = tuple(spec.name for spec in self._net.graph.inputs)
        self._single = len(self._names) == 1 == len(self._net.graph.outputs)
        plan = self._plan(1)
        # The last plan and the shapes of inputs that it is for: a run of those needs no other look at them.
        self._latest: tuple[tuple[Shape, ...], Plan] = (self._shapes(1), plan)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Name, shape and dtype of every input."""
        return self._net.graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self._net.graph.outputs

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that the kernels of the latest plan read, as they lie in memory."""
        return sum(
            packed.nbytes for packed in {id(s.weights): s.weights for s in self._latest[1].steps}.values() if packed
        )

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for input `x`, float32 of shape (N, ...); for networks of one input and one output.

        Raises UnsupportedShape for another dtype or shape.
        """
        if not self._single:
            raise UnsupportedShape(
                f"this network has inputs {[spec.name for spec in self.inputs]} and outputs {list(self.outputs)}; "
                "use engine.run({name: array, ...})"
            )
        plan = self._ready((x,))
        if plan is None:
            return self.run({self._names[0]: x})[self.outputs[0]]
        result = np.empty(plan.outputs[0], FLOAT32)
        plan.program.run((x,), (result,), None)
        return result

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Every output by name, for every input by name; float32, the same batch N ≥ 1 in all.

        Raises UnsupportedShape for a missing or unknown input, another dtype or another shape.
        """
        arrays, plan = list[Any](), None
        if type(inputs) is dict and len(inputs) == len(self._names):
            arrays = [inputs.get(name) for name in self._names]
            plan = self._ready(arrays)
        if plan is None:
            arrays, batch = self._check(inputs)
            plan = self._plan(batch)
            self._latest = tuple(array.shape for array in arrays), plan
        return dict(zip(plan.names, _execute(plan, arrays), strict=True))

    def profile(self, batch: int = 1, repeats: int = 20) -> list[tuple[str, str, float]]:
        """Median seconds of each step over `repeats` runs on random inputs: (nodes, kernel, seconds)."""
        plan, times = self._measure(batch, repeats)
        return [
            (" + ".join(step.nodes), step.kernel, float(time)) for step, time in zip(plan.steps, times, strict=True)
        ]

    def explain(self, batch: int = 1, repeats: int = 20) -> str:
        """A table of what runs for this batch size: kernel, why, time, share of the total, bytes of packed weights."""
        plan, times = self._measure(batch, repeats)
        total = max(float(times.sum()), 1e-12)
        rows = [("node", "kernel", "time", "share", "weight bytes", "why")]
        for step, time in zip(plan.steps, times, strict=True):
            held = f"{step.weights.nbytes:,}" if step.weights else "-"
            rows.append(
                (" + ".join(step.nodes), step.kernel, f"{time * 1e6:.1f} us", f"{time / total:.0%}", held, step.why)
            )
        resident = sum(step.weights.nbytes for step in plan.steps if step.weights)
        return (
            f"{_table(rows)}\nbatch {batch}, {plan.threads} thread(s), {self.isa}: {total * 1e6:.1f} us a run; "
            f"{resident:,} bytes of weights (dense float32: {self._net.dense_bytes:,}), "
            f"{plan.program.arena_bytes:,} bytes of arena"
        )

    def _shapes(self, batch: int) -> tuple[Shape, ...]:
        return tuple(tuple(batch if extent == "N" else int(extent) for extent in spec.shape) for spec in self.inputs)

    def _plan(self, batch: int) -> Plan:
        with self._lock:
            if batch in self._plans:
                self._plans.move_to_end(batch)
                return self._plans[batch]
            plan = make_plan(self._net, batch, self.isa, self.threads, self._prepared)
            self._plans[batch] = plan
            if len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
            return plan

    def _check(self, inputs: Mapping[str, Any]) -> tuple[list[NDArray[np.float32]], int]:
        names = {spec.name for spec in self.inputs}
        if not isinstance(inputs, Mapping) or set(inputs) != names:
            given = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise UnsupportedShape(f"expected a dict with inputs {sorted(names)}, found {given}")
        batch: int | None = None
        arrays = []
        for spec in self.inputs:
            array = np.asarray(inputs[spec.name])
            wanted = f"{spec.dtype} of shape ({', '.join(map(str, spec.shape))})"
            found = f"{array.dtype} of shape {array.shape}"
            if array.dtype != np.float32:
                raise UnsupportedShape(f"input {spec.name!r}: expected {wanted}, found {found}; use .astype('float32')")
            if array.ndim != len(spec.shape) or any(
                extent not in ("N", size) for extent, size in zip(spec.shape, array.shape, strict=True)
            ):
                raise UnsupportedShape(f"input {spec.name!r}: expected {wanted}, found {found}")
            for extent, size in zip(spec.shape, array.shape, strict=True):
                if extent == "N" and (size < 1 or size != (batch or size)):
                    raise UnsupportedShape(
                        f"input {spec.name!r}: expected {wanted} with one N ≥ 1 in all inputs, found {found}"
                    )
                batch = size if extent == "N" else batch
            arrays.append(np.ascontiguousarray(array))
        return arrays, batch or 1

    def _ready(self, arrays: Sequence[Any]) -> Plan | None:
        """The last plan, if these arrays are what it takes as they are."""
        shapes, plan = self._latest
        if len(shapes) != len(arrays):
            return None
        for array, shape in zip(arrays, shapes):  # noqa: B905 (as many: strict would cost a tenth of a microsecond)
            if type(array) is not np.ndarray or array.dtype is not FLOAT32 or array.shape != shape:
                return None
            if not array.flags.c_contiguous:
                return None
        return plan

    def _measure(self, batch: int, repeats: int) -> tuple[Plan, NDArray[np.float64]]:
        plan = self._plan(batch)
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in self._shapes(batch)]
        _execute(plan, arrays)
        times = np.zeros((max(1, repeats), len(plan.steps)))
        for row in times:
            _execute(plan, arrays, row)
        return plan, np.median(times, axis=0)


def _execute(
    plan: Plan, arrays: Sequence[NDArray[np.float32]], seconds: NDArray[np.float64] | None = None
) -> list[NDArray[np.float32]]:
    results = [np.empty(shape, FLOAT32) for shape in plan.outputs]
    plan.program.run(arrays, results, seconds)
    return results


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _renew_locks() -> None:
    for engine in _ENGINES:
        engine._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
