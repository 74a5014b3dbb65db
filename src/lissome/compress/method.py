"""The contract of a compression method: a frozen set of options, and the parametrization that carries it out.

A method is a frozen dataclass (printable, comparable, one line of TOML). Its parametrization is an `nn.Module` that
torch.nn.utils.parametrize chains onto a weight. Laws, tested for every method and every chain:

* ``encode(w, before).to_dense() == forward(w)``, bit for bit;
* a weight that an earlier method made exactly zero stays exactly zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lissome.compress.around import Around
from lissome.errors import RecipeError
from lissome.weights import CodedWeight


class Parametrization(nn.Module, ABC):
    """One method at work on one weight. `where` names the weight in messages; `group` ties weights ruled together.

    around: what is done to the inputs or outputs of the layer that the weight is of, if anything.
    """

    def __init__(self, method: Method, where: str) -> None:
        super().__init__()
        self.method = method
        self.where = where
        self.group = 0
        self.around: Around | None = None

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """The weight as the network sees it; same shape and dtype as `weight`."""

    @abstractmethod
    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        """The coded weight of ``forward(weight)``; `before` is the coded form of `weight` itself."""


@dataclass(frozen=True)
class Member:
    """A parametrization and where it sits: chain `index` of parameter `name` of module `owner`."""

    owner: nn.Module
    name: str
    index: int

    @property
    def parametrization(self) -> Any:
        """The method's parametrization (a `Parametrization`; Any because torch types the list as modules)."""
        return self._chain[self.index]

    @property
    def _chain(self) -> Any:
        return self.owner.parametrizations[self.name]  # type: ignore[index]

    @torch.no_grad()
    def weight(self) -> Tensor:
        """The weight that enters this parametrization: the original, passed through the chain before it."""
        value, start = entering(self._chain)
        for earlier in list(self._chain)[start : self.index]:
            value = earlier(value)
        return value.detach()


@dataclass(frozen=True)
class Method(ABC):
    """Options of a compression method. Subclasses are frozen dataclasses that validate in ``__post_init__``."""

    #: the family the method belongs to: the package it lives in, and the stage that wakes it ("prune", "share", ...)
    family: ClassVar[str]

    @abstractmethod
    def parametrize(self, weight: Tensor, where: str) -> Parametrization:
        """The parametrization for one weight, not yet settled; the weight has entries.

        Raises RecipeError when the method does not fit it.
        """

    @abstractmethod
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        """Decide masks, codes and the like for all weights under one rule, from their values now.

        fraction: 0 (off: the weight passes unchanged) to 1 (the full strength the options ask for).
        """

    @property
    def label(self) -> str:
        """Name in recipes and messages: ``prune.Magnitude``."""
        return f"{self.family}.{type(self).__name__}"

    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        found = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.default is MISSING or value != item.default:
                found[item.name] = value
        return found

    def __str__(self) -> str:
        return f"{self.label}({', '.join(f'{key}={value!r}' for key, value in self.options().items())})"


def entering(chain: Any) -> tuple[Tensor, int]:
    """The first single tensor in a parametrization chain, and the index of the parametrization that takes it.

    That is the original and 0, unless a foreign parametrization such as weight_norm joins several originals into one.
    """
    if chain.is_tensor:
        return chain.original, 0
    parts = [getattr(chain, f"original{index}") for index in range(chain.ntensors)]
    return chain[0](*parts), 1


def refuse(method: Method, where: str, found: str, remedy: str) -> RecipeError:
    """The one wording of a method that cannot be applied: what was asked, where, what was found, what to do."""
    return RecipeError(f"{method} on {where!r}: {found}. {remedy}")
