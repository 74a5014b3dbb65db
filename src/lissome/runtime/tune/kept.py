"""Measurements kept on disk: by processor, instruction set, threads and build, then by layer.

A JSON file that is replaced as a whole after every layer, so that a run that is killed loses one layer at most. A
damaged or foreign file is never trusted: what it says is checked entry by entry, and dropped.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lissome import __version__
from lissome.files import write_atomic
from lissome.runtime.native import native

MAX_BYTES: Final = 64 << 20


def default_path() -> Path:
    """LISSOME_CACHE, else XDG_CACHE_HOME/lissome, else ~/.cache/lissome; the file in it is tuned.json."""
    folder = os.environ.get("LISSOME_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "lissome")
    return Path(folder).expanduser() / "tuned.json"


@functools.cache
def machine() -> str:
    """The processor and this build of the native code: a measurement says nothing about others."""
    build = hashlib.sha256(Path(native.__file__).read_bytes()).hexdigest()[:12]
    return f"{processor()}; lissome {__version__} {build}"


@functools.cache
def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    parts = [line.partition(":") for line in reversed(lines)]
    facts = {name.strip(): value.strip() for name, _, value in parts}
    known = [facts.get(name, "") for name in ("model name", "cpu family", "model", "stepping", "cache size")]
    return " ".join(filter(None, known)) or platform.processor() or platform.machine()


class Kept:
    """Seconds of each algorithm for each layer on this machine. path: the file, None to keep nothing.

    A file that cannot be read counts as empty; one that cannot be written raises OSError naming it.
    """

    def __init__(self, path: Path | None, isa: str, threads: int) -> None:
        self.path = path
        self.group = f"{machine()}; {isa}; {threads} thread(s)"
        self._all = _read(path) if path is not None else {}

    def get(self, layer: str) -> Mapping[str, float]:
        """Seconds by algorithm for a layer, empty when it was never measured."""
        return self._all.get(self.group, {}).get(layer, {})

    def put(self, layer: str, seconds: Mapping[str, float]) -> None:
        """Keep what was measured for a layer, at once. Other processes' results are kept too."""
        if self.path is not None:
            self._all = _read(self.path)
        self._all.setdefault(self.group, {})[layer] = dict(seconds)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, json.dumps(self._all, indent=1, sort_keys=True).encode())


def _read(path: Path) -> dict[str, dict[str, dict[str, float]]]:
    """What the file holds of the right form."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    groups = found.items() if isinstance(found, dict) else ()
    kept = {
        group: {layer: times for layer, times in layers.items() if _are_times(times)}
        for group, layers in groups
        if isinstance(layers, dict)
    }
    return {group: layers for group, layers in kept.items() if layers}


def _are_times(found: object) -> bool:
    return isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(value, float) and 0 < value < float("inf") for name, value in found.items()
    )
