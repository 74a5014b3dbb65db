"""The field's networks as torch modules, one file each. A new network is one file and one line in `_HOME`.

>>> from lissome import models
>>> model = models.build("lenet-300-100")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from lissome.errors import LissomeError, MissingExtra

if TYPE_CHECKING:
    from torch import nn

_HOME: Final = {
    "lenet-300-100": ("lissome.models.lenet_300_100", "LeNet300100"),
    "lenet-5": ("lissome.models.lenet_5", "LeNet5"),
}


def names() -> tuple[str, ...]:
    """Names that `build` knows."""
    return tuple(_HOME)


def build(name: str) -> nn.Module:
    """A new network of this name, initialised from torch's current random state, in training mode.

    Raises LissomeError for an unknown name (listing the known ones), MissingExtra without torch.
    """
    if name not in _HOME:
        raise LissomeError(f"unknown network {name!r}; known: {', '.join(_HOME)}")
    home, kind = _HOME[name]
    try:
        module = importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra.of("torch", extra="train", needed_by=f"models.build({name!r})") from error
    model: nn.Module = getattr(module, kind)()
    return model
