"""calibrate_: methods that decide from what a layer really sees, on a few hundred unlabelled inputs.

The network is walked once, operator by operator, with all calibration inputs side by side in two versions: as the
original network computes them, and as the compressed one does so far. At a layer whose weight carries a calibrated
method, the second moments of both versions of its inputs say what the method needs: which outputs the original gave,
and which inputs the compressed layer has to make them from. So each layer makes good what those before it lost.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from lissome.compress.apply import baked_copy, groups
from lissome.compress.around import Around
from lissome.compress.calibrated import Calibrated, Seen
from lissome.compress.importance import importance
from lissome.compress.layers import Layer, call
from lissome.compress.method import Member
from lissome.compress.observe import checked
from lissome.compress.recipe import FAMILIES
from lissome.errors import DataError, RecipeError
from lissome.graph.trace import export, program
from lissome.network import Network
from lissome.weights import Dense

__all__ = ["Calibrated", "Seen", "calibrate_"]


def calibrate_(
    model: nn.Module,
    inputs: Tensor,
    *,
    reference: nn.Module | None = None,
    family: str | None = None,
    batch: int = 25,
    seed: int = 0,
) -> None:
    """Let the calibrated methods on `model` decide, in place, layer by layer.

    inputs: unlabelled inputs as the network gets them, float32 with the batch first; 200 to 500 images do.
    reference: the network whose results are to be kept, with parameters of the same names; by default `model` as it is
    now, its calibrated methods asleep. Pruned without training since, a model does better with what it was before; and
    methods that restore weights (`prune`) have changed the originals, so that a second calibration wants it too.
    family: let those of one family decide, "prune" say; by default all, one family after the other.
    A weight that several layers read is decided at the first. The result depends on `inputs` and `seed` alone.
    Raises RecipeError when no calibrated method is on the model or one is on a weight that no convolution or linear
    layer reads; DataError for no inputs and for NaN or infinity in them or in an activation, naming the layer;
    TraceError as `freeze` does. The model is as before when an error is raised.
    """
    chosen = FAMILIES if family is None else (family,)
    families = [members for members in (_members(model, each) for each in chosen) if members]
    if not families:
        raise RecipeError("the model carries no calibrated method; call compress_ with one first")
    checked(inputs)
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            original = (baked_copy(reference) if reference is not None else _asleep(model, chosen)).eval()
            for members in families:
                _Walk(original, model, members, list(torch.split(inputs, batch))).run()
    except BaseException:
        model.load_state_dict(state)
        raise
    finally:
        for module, mode in was_training.items():
            module.training = mode


def _members(model: nn.Module, family: str) -> dict[str, Member]:
    """The calibrated members of a family by the names of their parameters; of tied weights, by every name."""
    shared = {
        id(member.parametrization): member
        for _, some in groups(model)
        for member in some
        if isinstance(member.parametrization.method, Calibrated) and member.parametrization.method.family == family
    }
    named = {}
    for path, owner in model.named_modules():
        for name, chain in getattr(owner, "parametrizations", {}).items():
            for item in chain:
                if id(item) in shared:
                    named[f"{path}.{name}".lstrip(".")] = shared[id(item)]
    return named


def _asleep(model: nn.Module, families: Sequence[str]) -> nn.Module:
    """A plain copy of the model as it is without its calibrated methods of these families, with its other methods."""
    clone = copy.deepcopy(model)
    for _, members in groups(clone):
        method = members[0].parametrization.method
        if isinstance(method, Calibrated) and method.family in families:
            method.settle(members, 0.0)
    return baked_copy(clone)


class _Walk:
    """Passes through the exported graph, nodes outside, batches inside."""

    def __init__(
        self, original: nn.Module, model: nn.Module, members: Mapping[str, Member], batches: list[Tensor]
    ) -> None:
        self.members, self.batches = members, batches
        self.done: set[int] = set()
        self.network = original
        exported: Any = program(original, (batches[0][:1],)).module()
        self.graph: fx.Graph = exported.graph
        self.original = _constants(exported) | _constants(original)
        self.current = self.original | _constants(baked_copy(model))
        self.changed = {name for name, value in self.current.items() if not torch.equal(value, self.original[name])}
        self.inputs: dict[fx.Node, tuple[fx.Node, Around]] = {}  # those whose inputs a method changes
        self.layers: dict[fx.Node, Layer] = {}  # those that are the first to read a weight or bias to decide
        decided: set[int] = set()
        for node in self.graph.nodes:
            layer = Layer.of(node, self.original)
            if layer is not None and layer.weight in members:
                around = members[layer.weight].parametrization.around
                if around is not None:
                    self.inputs[node] = layer.input, around
                own = {id(members[name].parametrization) for name in (layer.weight, layer.bias) if name in members}
                if not own <= decided:
                    self.layers[node] = layer
                    decided |= own
        waiting = [name for name, member in members.items() if id(member.parametrization) not in decided]
        if waiting:
            raise RecipeError(
                f"calibrated methods are on {', '.join(map(repr, waiting))}, which no convolution (over one or two "
                "axes) or linear layer whose weight carries one reads; leave them out of the recipe"
            )

    @torch.no_grad()
    def run(self) -> None:
        with torch.enable_grad():
            costs = importance(self.graph, self.original, list(self.layers.values()), self.batches)
        self._weigh(costs)
        for now in self._rounds():
            for node, pairs in self._values(now):
                self._decide(node, pairs, costs[node])

    def _weigh(self, costs: Mapping[fx.Node, Tensor]) -> None:
        """Show methods that choose for several layers together what the original network has."""
        waiting = [
            node for node, layer in self.layers.items() if self.members[layer.weight].parametrization.method.weighs
        ]
        weighed: dict[int, list[tuple[Member, Mapping[int, float]]]] = {}
        known: set[int] = set()
        for node, pairs in self._values(waiting) if waiting else ():
            member = self.members[self.layers[node].weight]
            part = member.parametrization
            if id(part) not in known:
                known.add(id(part))
                alone = [(original, original) for original, _ in pairs]
                seen = self._seen(self.layers[node], alone, costs[node])
                weighed.setdefault(part.group, []).append((member, part.method.weigh(member, seen)))
        for some in weighed.values():
            some[0][0].parametrization.method.assign(some)

    def _rounds(self) -> list[list[fx.Node]]:
        """The layers that one pass decides: all of them, or, of a method with an order of its own, one at a time."""
        methods = {node: self.members[layer.weight].parametrization.method for node, layer in self.layers.items()}
        rounds: list[list[fx.Node]] = []
        for method in dict.fromkeys(methods.values()):
            own = {self.layers[node].weight: node for node, each in methods.items() if each == method}
            order = method.order(list(own), self._frozen, lambda own=own: self._densities(list(own.values())))
            if order is not None:
                rounds += [[own[name]] for name in order]
        apart = {node for each in rounds for node in each}
        together = [node for node in self.layers if node not in apart]
        return [together, *rounds] if together else rounds

    def _values(self, now: Sequence[fx.Node]) -> Iterator[tuple[fx.Node, list[tuple[Any, Any]]]]:
        """For each layer of `now`, as the network calls them, its inputs in both networks, batch by batch."""
        values: dict[fx.Node, list[tuple[Any, Any]]] = {}
        last = {read: node for node in self.graph.nodes for read in node.all_input_nodes}
        left = len(now)
        for node in self.graph.nodes:
            if node.op == "placeholder":
                values[node] = [(x, x) for x in self.batches]
            elif node.op == "call_function":
                if node in now:
                    yield node, values[self.layers[node].input]
                    left -= 1
                    if not left:
                        return
                values[node] = [self._both(node, values, i) for i in range(len(self.batches))]
            for read in node.all_input_nodes:
                if last[read] is node:
                    values.pop(read, None)

    def _frozen(self) -> Network:
        """The original network."""
        traced = export(copy.deepcopy(self.network).cpu(), self.batches[0][:1].cpu())
        return Network(traced.graph, {name: Dense(value.numpy()) for name, value in traced.values.items()})

    def _densities(self, nodes: Sequence[fx.Node]) -> dict[str, float]:
        """The share of each layer's inputs that is not zero, in the original network, by the name of its weight."""
        found = {}
        for node, pairs in self._values(nodes):
            inputs = [original for original, _ in pairs]
            found[self.layers[node].weight] = sum(int(x.count_nonzero()) for x in inputs) / sum(
                x.numel() for x in inputs
            )
        return found

    def _both(self, node: fx.Node, values: Mapping[fx.Node, list[tuple[Any, Any]]], i: int) -> tuple[Any, Any]:
        """What a call gives in the original and in the compressed network; one object where that is the same."""
        original = call(node, lambda read: values[read][i][0], self.original)
        if any(
            str(read.target) in self.changed if read.op == "get_attr" else values[read][i][0] is not values[read][i][1]
            for read in node.all_input_nodes
        ):
            read_from, around = self.inputs.get(node, (None, None))

            def current(read: fx.Node) -> Any:
                x = values[read][i][1]
                return around(x) if around is not None and read is read_from else x

            return original, call(node, current, self.current)
        return original, original

    def _seen(self, layer: Layer, pairs: list[tuple[Tensor, Tensor]], costs: Tensor) -> Seen:
        sums: list[Tensor] = []
        samples = 0
        for original, current in pairs:
            if not torch.isfinite(current).all() or not torch.isfinite(original).all():
                raise DataError(f"the calibration inputs of the layer of {layer.weight!r} hold NaN or infinity")
            p, q = layer.patches(original, current) if current is not original else layer.patches(original) * 2
            found = [each.double() for each in (q.mT @ q, p.mT @ q, q.sum(1), p.sum(1), p.square().mean(2).sum(1))]
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
            samples += p.shape[1]
        images = sum(len(batch) for batch in self.batches)
        gram, cross, mean, reference_mean, power = (each / samples for each in sums)
        return Seen(self.original[layer.weight], gram, cross, mean, reference_mean, power, costs, images, samples)

    def _decide(self, node: fx.Node, pairs: list[tuple[Tensor, Tensor]], costs: Tensor) -> None:
        layer = self.layers[node]
        weight, bias = self.members[layer.weight], self.members.get(layer.bias)
        fresh = id(weight.parametrization) not in self.done
        if fresh:
            weight.parametrization.method.see(weight, [current for _, current in pairs])
        if node in self.inputs:
            around = self.inputs[node][1]
            pairs = [(original, around(current)) for original, current in pairs]
        seen = self._seen(layer, pairs, costs)
        if fresh:
            weight.parametrization.method.decide(weight, seen, centred=bias is not None)
            self._take(weight)
        if bias is not None and id(bias.parametrization) not in self.done:
            target = self.original[layer.bias].double() + seen.shift(self.current[layer.weight])
            bias.parametrization.method.decide_bias(bias, target, seen.importance)
            self._take(bias)

    def _take(self, member: Member) -> None:
        self.done.add(id(member.parametrization))
        for name, each in self.members.items():
            if each.parametrization is member.parametrization:
                self.current[name] = getattr(member.owner, member.name).detach()
                self.changed.add(name)


def _constants(model: nn.Module) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {name: value.detach() for name, value in (parameters | dict(model.named_buffers())).items()}
