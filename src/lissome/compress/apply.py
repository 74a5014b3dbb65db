"""Putting methods onto a module and taking them off: the only caller of torch.nn.utils.parametrize."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lissome.compress import around
from lissome.compress.inform import inform
from lissome.compress.method import Member, Method, Parametrization, entering, refuse
from lissome.compress.observe import Inputs
from lissome.compress.recipe import FAMILIES, Recipe
from lissome.compress.replace import keep_, known_as, layer_of, replace_, unreplace_
from lissome.compress.structural import Factorized, Layer, Structural
from lissome.errors import RecipeError, WeightError
from lissome.graph.ir import Graph
from lissome.graph.trace import trace
from lissome.weights import CodedWeight, Dense


@dataclass(frozen=True, eq=False)
class Target:
    """A weight that methods may go onto: its path, the modules that hold it (several when tied), its value now.

    names: those under which selectors find it: its path, and for a factor those of the layer that was replaced.
    """

    where: str
    owners: tuple[tuple[nn.Module, str], ...]
    value: Tensor
    names: tuple[str, ...]


def compress_(module: nn.Module, recipe: Recipe | Sequence[Method], *, inputs: Inputs | None = None) -> None:
    """Register the recipe's methods on the weights they select, in place, and settle them from the weights' values now.

    module: any torch module; it keeps its class, its training loop and its state_dict.
    recipe: a Recipe, or a list of methods for every weight of `module` (for one layer: ``compress_(model.fc, [...])``).
    inputs: for methods that look at the network or at responses, a few hundred unlabelled inputs as the network gets
    them, float32 with the batch first (a tuple of tensors for several inputs).

    Structural methods (factorize) come first: they replace layers, and the rest of their chain goes onto the factors.

    A schedule built afterwards (schedule.py) takes the strength back to zero and raises it step by step.
    Build the optimizer after this call: methods may add parameters (codebooks).
    Tied weights stay tied: they share the method as they share the tensor.

    Raises RecipeError when a rule selects nothing or a method does not fit a weight, WeightError for NaN or infinity,
    DataError for inputs or activations that are empty or not finite. The module is as before when an error is raised.
    """
    built = plan(module, recipe)
    rules = structures(module, recipe)
    if not rules:
        _register(module, built, inputs)
        return

    def graph(examples: Inputs) -> Graph:
        tensors = examples if isinstance(examples, tuple) else (examples,)
        return trace(baked_copy(module).cpu(), tuple(each[:1].cpu() for each in tensors))

    before = {id(part) for part in module.modules() if isinstance(part, Factorized)}
    try:
        held = []
        for method, part, where in replace_(module, rules, inputs, graph):
            weight: Tensor = part.weight.detach()  # type: ignore[operator]
            held.append((Target(where, ((part, "weight"),), weight, (where,)), method.parametrize(weight, where)))
            held[-1][1].group = len(held)
        _register(module, held, inputs)
        _register(module, plan(module, recipe), inputs)
    except BaseException:
        unreplace_(module, but=before)
        raise


def inform_(module: nn.Module, inputs: Inputs) -> None:
    """Let the methods that look at the network look again, in place: at the weights as training has made them since.

    They settle on what they see when a schedule next settles them. Raises as `compress_` does.
    """
    inform(module, lambda: baked_copy(module, share=True), [members for _, members in groups(module)], inputs)


def _register(module: nn.Module, built: Sequence[tuple[Target, Parametrization]], inputs: Inputs | None) -> None:
    """Register parametrizations and settle them; nothing stays registered when an error is raised."""
    first = 1 + max((group for group, _ in groups(module)), default=0)
    places = [(owner, name) for target, _ in built for owner, name in target.owners]
    before = {(id(owner), name): dict(_chain_lengths(owner)).get(name, 0) for owner, name in places}
    try:
        for target, parametrization in built:
            parametrization.group += first
            for owner, name in target.owners:
                _separate(owner)
                _hang(owner, parametrization)
                parametrize.register_parametrization(owner, name, parametrization)
        added = [members for group, members in groups(module) if group >= first]
        inform(module, lambda: baked_copy(module, share=True), added, inputs)
        for members in added:
            members[0].parametrization.method.settle(members, 1.0)
    except BaseException:
        for owner, name in places:
            _cut_chain(owner, name, before[id(owner), name])
        raise


def plan(module: nn.Module, recipe: Recipe | Sequence[Method]) -> list[tuple[Target, Parametrization]]:
    """What `compress_` would register, in order, after all the checks that need no settling; changes nothing.

    Raises as `compress_` does.
    """
    built: list[tuple[Target, Parametrization]] = []
    for rule, order, method, chosen in _assigned(module, recipe):
        for target in chosen:
            if not isinstance(method, Structural):
                _check_fits(target, method)
                parametrization = method.parametrize(target.value, target.where)
                parametrization.group = rule * len(FAMILIES) + order
                built.append((target, parametrization))
    return built


def structures(module: nn.Module, recipe: Recipe | Sequence[Method]) -> list[tuple[Structural, list[Layer]]]:
    """The structural methods of a recipe, each with the layers that it would replace; changes nothing.

    A bias that a rule selects goes with its layer. Raises as `compress_` does.
    """
    found: list[tuple[Structural, list[Layer]]] = []
    for _, _, method, chosen in _assigned(module, recipe):
        if isinstance(method, Structural):
            weights = [target for target in chosen if target.where.rpartition(".")[2] != "bias"]
            for target in weights:
                _check_fits(target, method)
            if chosen and not weights:
                raise RecipeError(f"{method}: its rule selects biases only; it replaces layers")
            if weights:
                found.append((method, [layer_of(module, each.where, each.owners, method) for each in weights]))
    return found


def _assigned(module: nn.Module, recipe: Recipe | Sequence[Method]) -> Iterator[tuple[int, int, Method, list[Target]]]:
    """Rule, place in the chain, method, and the weights that it is for; all weights are finite."""
    if not isinstance(recipe, Recipe):
        recipe = Recipe([("*", list(recipe))])
    targets = list(_targets(module))
    for target in targets:
        if not torch.isfinite(target.value).all():
            count = int((~torch.isfinite(target.value)).sum())
            raise WeightError(
                f"{target.where!r} holds {count} NaN or infinite value(s); mend the training that made them first"
            )
    chosen = recipe.assign([(target.names, target.value.dim()) for target in targets])
    for rule, (_, methods) in enumerate(recipe.rules):
        for order, method in enumerate(methods):
            yield rule, order, method, [t for t, selected in zip(targets, chosen, strict=True) if selected == rule]


def uncompress_(module: nn.Module) -> None:
    """Take every lissome method off, in place: the weights are again what the optimizer last made of the originals.

    A layer that was replaced gets back the weight that it had. Parametrizations that are not lissome's stay.
    """
    unreplace_(module)
    for owner in list(module.modules()):
        for name, length in list(_chain_lengths(owner)):
            chain = _chain(owner, name)
            own = [index for index in range(length) if isinstance(chain[index], Parametrization)]
            if len(own) == length:
                _strip(owner, name, leave_parametrized=False)
            else:
                for index in reversed(own):
                    _unhang(owner, chain[index])
                    del chain[index]


def bake_(module: nn.Module) -> None:
    """Make every lissome method permanent, in place: the weights become what the network saw, and training may go on.

    Raises RecipeError, and changes nothing, when another parametrization is on the same weight.
    """
    mine: list[tuple[nn.Module, str]] = []
    for path, owner in module.named_modules():
        for name, _ in _chain_lengths(owner):
            kinds = {isinstance(item, Parametrization) for item in _chain(owner, name)}
            if kinds == {True, False}:
                raise RecipeError(
                    f"{f'{path}.{name}'.lstrip('.')!r} carries parametrizations that are not lissome's; remove those "
                    "first (torch.nn.utils.parametrize.remove_parametrizations)"
                )
            if kinds == {True}:
                mine.append((owner, name))
    for owner, name in mine:
        _strip(owner, name, leave_parametrized=True)
    keep_(module)


def baked_copy(module: nn.Module, *, share: bool = False) -> nn.Module:
    """A deep copy with all parametrizations, foreign ones too, baked in: plain parameters with the values in effect.

    share: parameters and buffers have the memory of the original's, for a copy that is only looked at.
    """
    clone = copy.deepcopy(module, _shared(module) if share else None)
    for owner in list(clone.modules()):
        if parametrize.is_parametrized(owner):
            _own_class(owner)
            for name in list(owner.parametrizations):  # type: ignore[arg-type]
                _strip(owner, name, leave_parametrized=True)
    return clone


def _shared(module: nn.Module) -> dict[int, torch.Tensor]:
    """What copy.deepcopy takes for the copy of each tensor: another of the same memory."""
    memo: dict[int, torch.Tensor] = {}
    for parameter in module.parameters():
        if type(parameter) is nn.Parameter:
            memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
    memo.update((id(buffer), buffer.detach()) for buffer in module.buffers() if type(buffer) is torch.Tensor)
    return memo


def _own_class(owner: nn.Module) -> None:
    """Give a copied module a class of its own.

    torch hangs a parametrized weight on a class made for one module, and copy.deepcopy shares that class: taking the
    parametrization off the copy would take the weight off the original.
    """
    shared = type(owner)
    members = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    owner.__class__ = type(shared.__name__, shared.__bases__, members)


def parametrized(module: nn.Module) -> str | None:
    """The path of the first module in `module` that carries parametrizations, whosever they are; None without any."""
    found = (path for path, owner in module.named_modules() if parametrize.is_parametrized(owner))
    return next(found, None)


def groups(module: nn.Module) -> list[tuple[int, list[Member]]]:
    """Members of each method group on `module`, in the order in which they were registered; tied weights once."""
    found: dict[int, list[Member]] = {}
    seen: set[int] = set()
    for owner in module.modules():
        for name, _ in _chain_lengths(owner):
            for index, parametrization in enumerate(_chain(owner, name)):
                if isinstance(parametrization, Parametrization) and id(parametrization) not in seen:
                    seen.add(id(parametrization))
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
        if "parametrizations" in path.split("."):
            continue
        for name, parameter in owner.named_parameters(recurse=False):
            coded[prefix + name] = _dense(prefix + name, parameter)
        for name, _ in _chain_lengths(owner):
            chain = _chain(owner, name)
            value, start = entering(chain)
            form: CodedWeight = _dense(prefix + name, value)
            for parametrization in list(chain)[start:]:
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


def _targets(module: nn.Module) -> Iterator[Target]:
    """Every floating parameter named weight or bias, each tensor once."""
    found: dict[int, tuple[str, list[tuple[nn.Module, str]]]] = {}
    for path, owner in module.named_modules():
        if "parametrizations" in path.split("."):
            continue
        for name in ("weight", "bias"):
            if name in dict(_chain_lengths(owner)):
                chain = _chain(owner, name)
                identity = id(chain.original if chain.is_tensor else chain)
            elif owner._parameters.get(name) is not None:
                identity = id(owner._parameters[name])
            else:
                continue
            where = f"{path}.{name}" if path else name
            found.setdefault(identity, (where, []))[1].append((owner, name))
    for where, owners in found.values():
        owner, name = owners[0]
        value = getattr(owner, name).detach()
        if value.is_floating_point():
            yield Target(where, tuple(owners), value, known_as(module, where))


def _check_fits(target: Target, method: Method) -> None:
    """The weight has entries, and a later call adds what comes later in the chain (prune, then share), nothing else."""
    if target.value.numel() == 0:
        raise refuse(method, target.where, "the weight has no entries", "Leave the layer out of the recipe")
    owner, name = target.owners[0]
    chain = _chain(owner, name) if name in dict(_chain_lengths(owner)) else []
    for earlier in chain:
        if isinstance(earlier, Parametrization) and FAMILIES.index(earlier.method.family) >= FAMILIES.index(
            method.family
        ):
            raise refuse(
                method,
                target.where,
                f"the weight already carries {earlier.method}",
                f"One method a family, in the order {' → '.join(FAMILIES)}; uncompress_ or bake_ first",
            )


def _chain(owner: nn.Module, name: str) -> Any:
    return owner.parametrizations[name]  # type: ignore[index]


def _chain_lengths(owner: nn.Module) -> Iterator[tuple[str, int]]:
    if parametrize.is_parametrized(owner):
        for name in owner.parametrizations:  # type: ignore[union-attr]
            yield name, len(_chain(owner, name))


def _strip(owner: nn.Module, name: str, *, leave_parametrized: bool) -> None:
    """Remove the whole chain from one parameter. What hangs around the layer stays as it is now, or goes with it."""
    _separate(owner)
    if name == "weight":
        around.fix(owner) if leave_parametrized else around.unhang(owner)
    parametrize.remove_parametrizations(owner, name, leave_parametrized=leave_parametrized)


def _separate(owner: nn.Module) -> None:
    """Give a parametrized module a class of its own.

    torch keeps the parametrized names in a class made for the module, and a deep copy shares that class: changing the
    names of one would break the other.
    """
    if parametrize.is_parametrized(owner):
        kind = type(owner)
        owner.__class__ = type(kind.__name__, kind.__bases__, dict(kind.__dict__))


def _cut_chain(owner: nn.Module, name: str, length: int) -> None:
    """Undo registrations past `length`, leaving what was there before."""
    lengths = dict(_chain_lengths(owner))
    if name not in lengths:
        return
    if length == 0:
        _strip(owner, name, leave_parametrized=False)
        return
    chain = _chain(owner, name)
    while len(chain) > length:
        _unhang(owner, chain[len(chain) - 1])
        del chain[len(chain) - 1]


def _hang(owner: nn.Module, parametrization: Parametrization) -> None:
    """Hang what a method does around its layer onto that."""
    if parametrization.around is None:
        return
    if not isinstance(owner, around.LAYERS):
        found = f"it is the weight of a {type(owner).__name__}, and the method works on a layer's inputs too"
        raise refuse(parametrization.method, parametrization.where, found, "Only convolutions and linear layers fit")
    reason = parametrization.around.refuses(owner)
    if reason:
        raise refuse(parametrization.method, parametrization.where, reason, "Leave the layer out of the recipe")
    around.hang(owner, parametrization.around)


def _unhang(owner: nn.Module, parametrization: nn.Module) -> None:
    if isinstance(parametrization, Parametrization) and parametrization.around is not None:
        around.unhang(owner, parametrization.around)
