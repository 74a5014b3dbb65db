"""lissome: compress a trained network, pack it into one small file, run it from that file.

Names resolve on first use (PEP 562), so that loading and running a packed file imports neither torch nor anything else
that it does not need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__: Final = "0.1.0"

_HOME: Final = {
    "Network": "lissome.network",
    "Recipe": "lissome.compress.recipe",
    "Stage": "lissome.compress.recipe",
    "bake_": "lissome.compress.apply",
    "compress_": "lissome.compress.apply",
    "uncompress_": "lissome.compress.apply",
    "freeze": "lissome.compress.freeze",
    "shrink": "lissome.compress.shrink",
    "arrange": "lissome.pack.arrange",
    "save": "lissome.pack.container",
    "load": "lissome.pack.container",
    "inspect": "lissome.pack.inspect",
    "profile": "lissome.report.profile",
    "compile": "lissome.api",
    "conv2d": "lissome.runtime.functional",
    "from_caffe": "lissome.interchange.caffe",
    "export_onnx": "lissome.interchange.onnx",
    "from_onnx": "lissome.interchange.onnx",
    "Engine": "lissome.runtime.engine",
}
_MODULES: Final = {
    "factorize": "lissome.compress.factorize",
    "prune": "lissome.compress.prune",
    "binarize": "lissome.compress.binarize",
    "quantize": "lissome.compress.quantize",
    "share": "lissome.compress.share",
    "schedule": "lissome.compress.schedule",
    "models": "lissome.models",
    "data": "lissome.data",
    "hardware": "lissome.hardware",
    "train": "lissome.train",
    "errors": "lissome.errors",
}

__all__ = [  # written out: type checkers do not run code
    "Engine",
    "Network",
    "Recipe",
    "Stage",
    "__version__",
    "arrange",
    "bake_",
    "binarize",
    "compile",
    "compress_",
    "conv2d",
    "data",
    "errors",
    "export_onnx",
    "factorize",
    "freeze",
    "from_caffe",
    "from_onnx",
    "hardware",
    "inspect",
    "load",
    "models",
    "profile",
    "prune",
    "quantize",
    "save",
    "schedule",
    "share",
    "shrink",
    "train",
    "uncompress_",
]

if TYPE_CHECKING:
    from lissome import data, errors, hardware, models, train
    from lissome.api import compile
    from lissome.compress import binarize, factorize, prune, quantize, schedule, share
    from lissome.compress.apply import bake_, compress_, uncompress_
    from lissome.compress.freeze import freeze
    from lissome.compress.recipe import Recipe, Stage
    from lissome.compress.shrink import shrink
    from lissome.interchange.caffe import from_caffe
    from lissome.interchange.onnx import export_onnx, from_onnx
    from lissome.network import Network
    from lissome.pack.arrange import arrange
    from lissome.pack.container import load, save
    from lissome.pack.inspect import inspect
    from lissome.report.profile import profile
    from lissome.runtime.engine import Engine
    from lissome.runtime.functional import conv2d


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'lissome' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
