"""Putting structural methods onto a module and taking them off: which layers a rule means, and what they were
before.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

from torch import nn

from lissome.compress.method import refuse
from lissome.compress.observe import Inputs, Observer
from lissome.compress.structural import Factorized, Layer, Structural, install, restore
from lissome.graph.ir import Graph


def layer_of(module: nn.Module, where: str, owners: Sequence[tuple[nn.Module, str]], method: Structural) -> Layer:
    """The layer whose weight is `where`, held by `owners`. Raises RecipeError when `method` cannot replace it."""
    path, _, name = where.rpartition(".")
    owner = owners[0][0]
    if name != "weight" or type(owner) not in (nn.Linear, nn.Conv2d):
        found = f"it belongs to a {type(owner).__name__}"
        if hasattr(owner, "parametrizations"):
            found = "the layer already carries methods or other parametrizations"
        raise refuse(method, where, found, "Only plain nn.Linear and nn.Conv2d are replaced; leave it out")
    if len(owners) > 1:
        raise refuse(method, where, f"{len(owners)} layers share the weight", "Untie them, or leave them out")
    if isinstance(owner, nn.Conv2d) and owner.groups > 1:
        raise refuse(method, where, f"it has {owner.groups} groups", "Leave grouped convolutions out of the recipe")
    for outer, factorized in _factorized(module):
        if factorized.origin is not None and (not outer or path.startswith(f"{outer}.")):
            found = f"it is a factor of {factorized.origin.method}"
            raise refuse(method, where, found, "uncompress_ or bake_ first")
    return Layer(path, owner)  # type: ignore[arg-type]


def replace_(
    module: nn.Module,
    rules: Sequence[tuple[Structural, Sequence[Layer]]],
    inputs: Inputs | None,
    graph: Callable[[Inputs], Graph],
) -> Iterator[tuple[Structural, nn.Module, str]]:
    """Replace layers in place, rule after rule. Yields, for each sparse factor, its method, itself and its path.

    graph: traces `module`, for the inputs, when a method asks what follows a layer. Raises what the methods raise;
    then some are replaced.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        everything = {layer.where: layer.module for _, layers in rules for layer in layers}
        observer = None if inputs is None else Observer(module, lambda: graph(inputs), everything, inputs)
        for method, layers in rules:
            chosen = list(layers)
            if observer is not None:
                order = {where: number for number, where in enumerate(observer.order)}
                chosen.sort(key=lambda layer: order.get(layer.where, len(order)))
            for made in method.replace(chosen, observer):
                install(made, method)
                for path, part in made.factors.named_modules():
                    if part in made.sparse:
                        yield method, part, f"{made.layer.where}.factors.{path}.weight".lstrip(".")
    finally:
        for part, training in modes:
            part.training = training
            if isinstance(part, Factorized):
                part.factors.train(training)


def unreplace_(module: nn.Module, *, but: Container[int] = ()) -> None:
    """Every replaced layer is again what it was, unless it was made permanent or its id is in `but`."""
    for _, factorized in list(_factorized(module)):
        if id(factorized) not in but:
            restore(factorized)


def keep_(module: nn.Module) -> None:
    """Replacements become permanent."""
    for _, factorized in _factorized(module):
        factorized.origin = None


def known_as(module: nn.Module, where: str) -> tuple[str, ...]:
    """The names under which a selector finds a parameter: its own, and that of the layer that it is a factor of."""
    leaf = where.rpartition(".")[2]
    outer = [path for path, _ in _factorized(module) if not path or where.startswith(f"{path}.")]
    return where, *(f"{path}.{leaf}".lstrip(".") for path in outer)


def _factorized(module: nn.Module) -> Iterator[tuple[str, Factorized]]:
    for path, found in module.named_modules():
        if isinstance(found, Factorized):
            yield path, found
