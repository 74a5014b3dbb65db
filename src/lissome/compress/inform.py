"""Methods that look at the whole network before they settle: what they are shown.

`compress_` informs them once, with the inputs that it was given; `inform_` again, when training has moved on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lissome.compress.method import Member, Method
from lissome.compress.observe import Inputs, checked
from lissome.errors import RecipeError


class Informed(Method):
    """A method that measures the network on calibration inputs before it settles for the first time."""

    @property
    def looks(self) -> bool:
        """Whether these options need inputs."""
        return True

    @abstractmethod
    def inform(self, plain: nn.Module, members: Mapping[str, Member], inputs: tuple[Tensor, ...]) -> None:
        """Measure the network, and keep in the members' buffers what settling needs.

        plain: a copy as it is now, without parametrizations, in evaluation mode. members: by the names of their
        parameters in it. inputs: not empty, finite, the batch first. Raises DataError when a result is not finite.
        """


def inform(
    model: nn.Module, plain: Callable[[], nn.Module], found: Sequence[Sequence[Member]], inputs: Inputs | None
) -> None:
    """Inform those of the groups `found` on `model` whose method looks at the network; plain: makes a copy of it.

    Raises RecipeError when one does and there are no inputs, DataError for inputs that are empty or not finite.
    """
    for members in found:
        method = members[0].parametrization.method
        if not isinstance(method, Informed) or not method.looks:
            continue
        if inputs is None:
            raise RecipeError(f"{method} looks at the network: give compress_ inputs=..., some hundred without labels")
        with torch.random.fork_rng(devices=[]):
            method.inform(
                _tied(model, plain().eval()), {name_of(model, each): each for each in members}, checked(inputs)
            )


def _tied(model: nn.Module, plain: nn.Module) -> nn.Module:
    """`plain`, its parameters one where those of `model` are: baking gives each layer a weight of its own."""
    first: dict[int, tuple[nn.Module, str]] = {}
    for path, owner in model.named_modules():
        for name, chain in getattr(owner, "parametrizations", {}).items():
            place = (plain.get_submodule(path), name)
            source, leaf = first.setdefault(id(chain.original if chain.is_tensor else chain), place)
            if source is not place[0]:
                setattr(*place, getattr(source, leaf))
    return plain


def name_of(model: nn.Module, member: Member) -> str:
    """The plain name of a member's parameter in `model`: ``fc1.weight``."""
    path = next(path for path, owner in model.named_modules() if owner is member.owner)
    return f"{path}.{member.name}".lstrip(".")
