"""Filter pruning that shrinks the network: whole channels go, with everything that is tied to them.

Which channels can only go together is read off the graph (graph/coupling.py), so residual sums, concatenations,
depthwise and grouped convolutions stay consistent, whatever the module's own code looks like. A channel's saliency is
the mean over its filters of their squared norm or of their first-order Taylor term, over the mean of its layer, so that
layers of different scales compare (Fang et al., "DepGraph", CVPR 2023, section 3.3; Li et al., "Pruning filters for
efficient ConvNets", ICLR 2017; Molchanov et al., CVPR 2019, equation 8).
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lissome.compress.apply import parametrized
from lissome.compress.recipe import Shrink
from lissome.errors import RecipeError
from lissome.graph import coupling
from lissome.graph.conv_shape import Shape
from lissome.graph.costs import costs
from lissome.graph.coupling import Channel
from lissome.graph.ir import Graph
from lissome.graph.trace import export


def shrink(
    model: nn.Module,
    *,
    example: Tensor | tuple[Tensor, ...],
    macs: float | None = None,
    channels: float | None = None,
    zeros: bool = False,
    saliency: str = "l2",
    least: int = 1,
    multiple: int = 1,
    seed: int = 0,
) -> nn.Module:
    """A copy of `model` without the least salient channels: same class, same code, smaller layers; train it on.

    example: an input, or a tuple of inputs, float32 with the batch first, as for `freeze`.
    macs: share of the multiply-adds to keep, in (0, 1), the layers ranked together; or, instead, channels: share of
    each layer's channels to keep, in (0, 1); or zeros: cut only channels that are gone already, whose filters are all
    zeros or which nothing reads but zeros. The function is the same, but for what biases and batch norms made of
    filters of zeros.
    saliency: "l1" or "l2" (norms of the filters), "taylor" ((Σ g w)², from the gradients that `.grad` holds now) or
    "random" (the baseline; from `seed`).
    least: channels that each layer keeps at least. multiple: layers keep a multiple of so many of their removable
    channels, as vector units like it, and at least what the target leaves them.
    Channels of inputs and outputs stay, and those that the module's own code counts (padding with so many channels,
    slices at fixed places). Raises RecipeError when the target cannot be reached (it says how far it could go), when
    parametrizations are on the model, and when a layer's code turns out to fix its number of channels; TraceError for a
    module that cannot be traced. `model` is left as it is.
    """
    how = Shrink(macs, channels, zeros, saliency, least, multiple, seed)
    path = parametrized(model)
    if path is not None:
        raise RecipeError(
            f"{path or type(model).__name__!r} carries parametrizations: shrink first and compress_ after that, or "
            "bake_ the model (or remove_parametrizations, for those that are not lissome's)"
        )
    graph, extents, found = removable(model, example)
    state = {name: value.detach() for name, value in model.state_dict(keep_vars=True).items()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    scores = _dead(found, state) if zeros else _scores(found, state, gradients, how)
    removed = _choose(graph, extents, found, scores, how)
    small = copy.deepcopy(model)
    _cut(small, [found[index] for index in removed])
    _check(small, example, model)
    return small


def removable(
    model: nn.Module, example: Tensor | tuple[Tensor, ...]
) -> tuple[Graph, dict[str, Shape], tuple[Channel, ...]]:
    """The graph of `model`, the shapes of its parameters, and the channels that can go, as cuts of the module's own."""
    traced = export(copy.deepcopy(model), example)
    extents = {name: tuple(value.shape) for name, value in traced.values.items()}
    found = []
    for channel in coupling.channels(traced.graph, extents):
        # A PReLU's slopes are its weight in another shape, channels first in both; numbers of formulas have one entry.
        cuts = (replace(cut, name=traced.sources.get(cut.name, (cut.name,))[0]) for cut in channel.cuts)
        found.append(Channel(tuple(cuts)))
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    return traced.graph, {**extents, **own}, tuple(found)


def _scores(
    found: Sequence[Channel], state: Mapping[str, Tensor], gradients: Mapping[str, Tensor | None], how: Shrink
) -> NDArray[np.float64]:
    """Saliency of each channel over the mean of its family."""
    if how.saliency == "random":
        return np.random.default_rng(how.seed).random(len(found))
    norms: dict[tuple[str, int], NDArray[np.float64]] = {}
    raw = np.zeros(len(found))
    for index, channel in enumerate(found):
        parts: list[float] = []
        for cut in channel.cuts:
            if cut.made and state[cut.name].dim() > 1:
                if (cut.name, cut.axis) not in norms:
                    norms[cut.name, cut.axis] = _norms(cut.name, cut.axis, state, gradients, how.saliency)
                parts.extend(norms[cut.name, cut.axis][list(cut.indices)])
        raw[index] = np.mean(parts) if parts else np.inf  # nothing makes it: it stays
    families: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for index, channel in enumerate(found):
        families[channel.family].append(index)
    for members in families.values():
        mean = raw[members].mean()
        if 0 < mean < np.inf:
            raw[members] /= mean
    return raw


def _dead(found: Sequence[Channel], state: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """0 for a channel that only filters of zeros make, or only columns of zeros read; infinity for the others."""
    live: dict[tuple[str, int], NDArray[np.bool_]] = {}
    scores = np.full(len(found), np.inf)
    for index, channel in enumerate(found):
        ends: dict[bool, list[bool]] = {True: [], False: []}
        for cut in channel.cuts:
            weight = state[cut.name]
            if weight.dim() > 1:
                if (cut.name, cut.axis) not in live:
                    others = [axis for axis in range(weight.dim()) if axis != cut.axis]
                    live[cut.name, cut.axis] = (weight != 0).sum(others).cpu().numpy() > 0
                ends[cut.made].append(bool(live[cut.name, cut.axis][list(cut.indices)].any()))
        if any(some and not any(some) for some in ends.values()):
            scores[index] = 0.0
    return scores


def _norms(
    name: str, axis: int, state: Mapping[str, Tensor], gradients: Mapping[str, Tensor | None], saliency: str
) -> NDArray[np.float64]:
    """Saliency of each slice of one weight along one axis."""
    weight = state[name].double()
    gradient = gradients.get(name)
    if saliency == "taylor":
        if gradient is None or not gradient.any():
            raise RecipeError(f"shrink(saliency='taylor'): {name!r} has no gradient; run loss.backward() before")
        weight = weight * gradient.double()
    others = [place for place in range(weight.dim()) if place != axis]
    if saliency == "taylor":
        norms = weight.sum(others).square()
    else:
        norms = weight.abs().sum(others) if saliency == "l1" else weight.square().sum(others)
    if not torch.isfinite(norms).all():
        raise RecipeError(f"{name!r} or its gradient holds NaN or infinity; mend the training that made them first")
    found: NDArray[np.float64] = norms.cpu().numpy()
    return found


class _Budget:
    """Channels left along each axis of each parameter, and the multiply-adds that the layers then have."""

    def __init__(self, graph: Graph, extents: Mapping[str, Shape], found: Sequence[Channel], how: Shrink) -> None:
        self.how = how
        self.full = {(cut.name, cut.axis): extents[cut.name][cut.axis] for channel in found for cut in channel.cuts}
        self.left = dict(self.full)
        self.layers: dict[str, list[float]] = defaultdict(list)
        by_node = costs(graph, extents)
        for node in graph.nodes:
            if by_node[node.name].macs:
                self.layers[node.inputs[1]].append(by_node[node.name].macs)
        self.total = sum(map(sum, self.layers.values()))
        self.macs = self.total

    def fits(self, channel: Channel) -> bool:
        """Whether every layer that the channel is cut from keeps enough without it."""
        return all(self.left[cut.name, cut.axis] - len(cut.indices) >= self._floor(cut) for cut in channel.cuts)

    def _floor(self, cut: Any) -> int:
        full = self.full[cut.name, cut.axis]
        if self.how.channels is not None and cut.made:
            return max(self.how.least, round(self.how.channels * full))
        return self.how.least

    def remove(self, channel: Channel) -> None:
        touched = {cut.name for cut in channel.cuts if cut.name in self.layers}
        self.macs -= sum(self._macs(name) for name in touched)
        for cut in channel.cuts:
            self.left[cut.name, cut.axis] -= len(cut.indices)
        self.macs += sum(self._macs(name) for name in touched)

    def _macs(self, name: str) -> float:
        share = 1.0
        for axis in (0, 1):
            if (name, axis) in self.full:
                share *= self.left[name, axis] / self.full[name, axis]
        return share * sum(self.layers[name])


def _choose(
    graph: Graph, extents: Mapping[str, Shape], found: Sequence[Channel], scores: NDArray[np.float64], how: Shrink
) -> list[int]:
    """Indices of the channels that go: the least salient first, until the target is met."""
    budget = _Budget(graph, extents, found, how)
    if how.channels is None and not budget.total:
        raise RecipeError("shrink(macs=…): the network has no multiply-adds")
    removed: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for index in np.argsort(scores, kind="stable").tolist():
        if how.macs is not None and budget.macs <= how.macs * budget.total:
            break
        if np.isfinite(scores[index]) and budget.fits(found[index]):
            budget.remove(found[index])
            removed[found[index].family].append(index)
    if how.macs is not None and budget.macs > how.macs * budget.total:
        raise RecipeError(
            f"shrink(macs={how.macs}): with {how.least} channel(s) left in every layer that can lose some, "
            f"{budget.macs / budget.total:.1%} of the multiply-adds remain; ask for that or more"
        )
    counts = {family: sum(channel.family == family for channel in found) for family in removed}
    kept: list[int] = []
    for family, indices in removed.items():
        surplus = (counts[family] - len(indices)) % how.multiple
        back = (how.multiple - surplus) % how.multiple if surplus else 0
        kept.extend(indices[: len(indices) - back])  # the last ones taken are the most salient of them
    if not kept and how.zeros:
        raise RecipeError("shrink(zeros=True): every channel is made and read; prune whole filters or channels first")
    if not kept:
        raise RecipeError("shrink: no channel can go: the network's inputs, outputs or own code fix all of them")
    return sorted(kept)


def _cut(model: nn.Module, gone: Sequence[Channel]) -> None:
    """Cut the channels out of the parameters and buffers of `model`, and tell its layers their new sizes."""
    cuts: dict[tuple[str, int], set[int]] = defaultdict(set)
    for channel in gone:
        for cut in channel.cuts:
            cuts[cut.name, cut.axis].update(cut.indices)
    aliases = _aliases(model)
    for (name, axis), indices in cuts.items():
        value = getattr(*_owner(model, name))
        keep = torch.tensor(sorted(set(range(value.shape[axis])) - indices), device=value.device)
        smaller = value.detach().index_select(axis, keep).contiguous()
        if isinstance(value, nn.Parameter):
            smaller = nn.Parameter(smaller, requires_grad=value.requires_grad)
        for alias in aliases[name]:
            owner, attribute = _owner(model, alias)
            setattr(owner, attribute, smaller)
    for owner in model.modules():
        _resize(owner)


def _aliases(model: nn.Module) -> dict[str, list[str]]:
    """Every name of each tensor of the state, by each of its names: tied layers hold one tensor twice."""
    state = model.state_dict(keep_vars=True)
    names: dict[int, list[str]] = defaultdict(list)
    for name, value in state.items():
        names[id(value)].append(name)
    return {name: names[id(value)] for name, value in state.items()}


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute


def _resize(owner: nn.Module) -> None:
    """What a layer says of its own size, from the weights that it has now."""
    if isinstance(owner, nn.modules.conv._ConvNd) and owner.weight is not None:
        made, read = owner.weight.shape[:2]
        if isinstance(owner, nn.modules.conv._ConvTransposeNd):
            return  # its channels stay (graph/coupling.py)
        if 1 < owner.groups == owner.in_channels:  # depthwise: a group a channel
            owner.groups = made // (owner.out_channels // owner.groups)
        owner.in_channels, owner.out_channels = read * owner.groups, made
    elif isinstance(owner, nn.Linear):
        owner.out_features, owner.in_features = owner.weight.shape
    elif isinstance(owner, nn.modules.batchnorm._BatchNorm) and owner.running_mean is not None:
        owner.num_features = len(owner.running_mean)
    elif isinstance(owner, nn.PReLU):
        owner.num_parameters = len(owner.weight)


@torch.no_grad()
def _check(small: nn.Module, example: Tensor | tuple[Tensor, ...], model: nn.Module) -> None:
    """Run the smaller network once: its code may fix a number of channels, which no graph tells."""
    examples = example if isinstance(example, tuple) else (example,)
    training = small.training
    try:
        small.eval()(*examples)
    except (RuntimeError, ValueError, IndexError) as error:
        raise RecipeError(
            f"{type(model).__name__}: its own code fixes a number of channels, so that it does not run without those "
            f"that were removed: {error}"
        ) from error
    finally:
        small.train(training)
