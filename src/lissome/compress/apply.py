"""Putting methods onto a module and taking them off: the only caller of torch.nn.utils.parametrize."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lissome.compress.method import Member, Method, Parametrization
from lissome.compress.recipe import Recipe
from lissome.errors import RecipeError, WeightError
from lissome.weights import CodedWeight, Dense


def compress_(module: nn.Module, recipe: Recipe | Sequence[Method]) -> None:
    """Register the recipe's methods on the weights they select, in place, and settle them from the weights' values now.

    module: any torch module; it keeps its class, its training loop and its state_dict.
    recipe: a Recipe, or a list of methods for every weight of `module` (for one layer: ``compress_(model.fc, [...])``).

    A schedule built afterwards (schedule.py) takes the strength back to zero and raises it step by step.
    Build the optimizer after this call: methods may add parameters (codebooks).

    Raises RecipeError when a rule selects nothing or a method does not fit a weight, WeightError for NaN or infinity.
    Nothing is registered when an error is raised.
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe([("*", list(recipe))])
    found = list(_weights(module))
    for where, _, _, weight in found:
        if not torch.isfinite(weight).all():
            count = int((~torch.isfinite(weight)).sum())
            raise WeightError(
                f"{where!r} holds {count} NaN or infinite value(s); mend the training that made them first"
            )
    chosen = recipe.assign([(where, weight.dim()) for where, _, _, weight in found])
    built: list[tuple[nn.Module, str, Parametrization]] = []
    first = 1 + max((group for group, _ in groups(module)), default=0)
    for rule, (_, methods) in enumerate(recipe.rules):
        for order, method in enumerate(methods):
            for (where, owner, name, weight), selected in zip(found, chosen, strict=True):
                if selected == rule:
                    parametrization = method.parametrize(weight, where)
                    parametrization.group = first + rule * 64 + order
                    built.append((owner, name, parametrization))
    before = {id(owner): dict(_chain_lengths(owner)) for owner, _, _ in built}
    try:
        for owner, name, parametrization in built:
            parametrize.register_parametrization(owner, name, parametrization)
        for group, members in groups(module):
            if group >= first:
                members[0].parametrization.method.settle(members, 1.0)
    except Exception:
        for owner, name, _ in built:
            _cut_chain(owner, name, before[id(owner)].get(name, 0))
        raise


def uncompress_(module: nn.Module) -> None:
    """Take every lissome method off, in place: the weights are again what the optimizer last made of the originals."""
    _remove(module, leave_parametrized=False)


def bake_(module: nn.Module) -> None:
    """Make every lissome method permanent, in place: the weights become what the network saw, and training may go
    on.
    """
    _remove(module, leave_parametrized=True)


def baked_copy(module: nn.Module) -> nn.Module:
    """A deep copy with all parametrizations, foreign ones too, baked in: plain parameters with the values in effect."""
    clone = copy.deepcopy(module)
    for owner in list(clone.modules()):
        if parametrize.is_parametrized(owner):
            _own_class(owner)
            for name in list(owner.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(owner, name, leave_parametrized=True)
    return clone


def _own_class(owner: nn.Module) -> None:
    """Give a copied module a class of its own.

    torch hangs a parametrized weight on a class made for one module, and copy.deepcopy shares that class: taking the
    parametrization off the copy would take the weight off the original.
    """
    shared = type(owner)
    members = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    owner.__class__ = type(shared.__name__, shared.__bases__, members)


def groups(module: nn.Module) -> list[tuple[int, list[Member]]]:
    """Members of each method group on `module`, in the order in which they were registered."""
    found: dict[int, list[Member]] = {}
    for owner in module.modules():
        for name, _ in _chain_lengths(owner):
            for index, parametrization in enumerate(_chain(owner, name)):
                if isinstance(parametrization, Parametrization):
                    found.setdefault(parametrization.group, []).append(Member(owner, name, index))
    return sorted(found.items())


@torch.no_grad()
def coded_parameters(module: nn.Module) -> dict[str, CodedWeight]:
    """Coded weight of every parameter, by its plain name (``fc1.weight``), parametrized or not.

    A parametrization that is not lissome's is taken at its value: what follows it starts from a dense weight.
    """
    coded: dict[str, CodedWeight] = {}
    for path, owner in module.named_modules():
        prefix = f"{path}." if path else ""
        if path.endswith("parametrizations") or ".parametrizations." in f".{path}.":
            continue
        for name, parameter in owner.named_parameters(recurse=False):
            coded[prefix + name] = _dense(prefix + name, parameter)
        for name, _ in _chain_lengths(owner):
            chain = _chain(owner, name)
            # A foreign parametrization may start from several tensors, whose join only the chain itself knows.
            value: Tensor = chain.original if hasattr(chain, "original") else getattr(owner, name)
            form: CodedWeight = _dense(prefix + name, value)
            if not hasattr(chain, "original"):
                coded[prefix + name] = form
                continue
            for parametrization in chain:
                after = parametrization(value)
                if isinstance(parametrization, Parametrization):
                    form = parametrization.encode(value, form)
                else:
                    form = _dense(prefix + name, after)
                value = after
            coded[prefix + name] = form
    return coded


def _dense(where: str, value: Tensor) -> Dense:
    try:
        return Dense(value.detach().cpu().float().numpy())
    except WeightError as error:
        raise WeightError(f"{where!r}: {error}") from error


def _weights(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """(path, owner, name, value in effect) of every floating parameter named weight or bias, each tensor once."""
    seen: set[int] = set()
    for path, owner in module.named_modules():
        if ".parametrizations." in f".{path}.":
            continue
        for name in ("weight", "bias"):
            value = getattr(owner, name, None)
            if not isinstance(value, Tensor) or not value.is_floating_point():
                continue
            identity = id(owner._parameters.get(name)) if name in owner._parameters else id(_chain(owner, name))
            if identity not in seen:
                seen.add(identity)
                yield (f"{path}.{name}" if path else name), owner, name, value.detach()


def _chain(owner: nn.Module, name: str) -> Any:
    return owner.parametrizations[name]  # type: ignore[index]


def _chain_lengths(owner: nn.Module) -> Iterator[tuple[str, int]]:
    if parametrize.is_parametrized(owner):
        for name in owner.parametrizations:  # type: ignore[union-attr]
            yield name, len(_chain(owner, name))


def _cut_chain(owner: nn.Module, name: str, length: int) -> None:
    """Undo registrations past `length`, leaving what was there before."""
    lengths = dict(_chain_lengths(owner))
    if name not in lengths:
        return
    if length == 0:
        parametrize.remove_parametrizations(owner, name, leave_parametrized=False)
        return
    chain = _chain(owner, name)
    while len(chain) > length:
        del chain[len(chain) - 1]


def _remove(module: nn.Module, *, leave_parametrized: bool) -> None:
    for owner in list(module.modules()):
        for name, _ in list(_chain_lengths(owner)):
            kinds = {isinstance(item, Parametrization) for item in _chain(owner, name)}
            if kinds == {True}:
                parametrize.remove_parametrizations(owner, name, leave_parametrized=leave_parametrized)
            elif kinds == {True, False}:
                raise RecipeError(
                    f"parameter {name!r} of {type(owner).__name__} mixes lissome's methods with others; "
                    "remove those first (torch.nn.utils.parametrize.remove_parametrizations)"
                )
