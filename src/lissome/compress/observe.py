"""What layers see and answer on calibration inputs: in the network as it was given, and as it is compressed so far.

A method that reconstructs responses needs samples of them, and which of the later steps its errors meet. Responses are
sampled at a few positions of every input, the same positions in both networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lissome.errors import DataError, RecipeError
from lissome.graph.ir import Graph, Node

Inputs: TypeAlias = Tensor | tuple[Tensor, ...]

#: positions of a feature map at which responses are sampled in one input (Zhang et al. take 10)
POSITIONS: Final = 10
BATCH: Final = 25


def checked(inputs: Inputs) -> tuple[Tensor, ...]:
    """Calibration inputs, one tensor for each input of the network. Raises DataError when empty or not finite."""
    examples = inputs if isinstance(inputs, tuple) else (inputs,)
    if not examples or any(not each.numel() for each in examples):
        raise DataError("no calibration inputs; 200 to 500 unlabelled ones are usual")
    if any(not torch.isfinite(each).all() for each in examples):
        raise DataError("the calibration inputs hold NaN or infinity; mend what prepares them")
    return examples


@dataclass(frozen=True, eq=False)
class Samples:
    """float64 rows, one a sample: `inputs` (n, d) patches, in the order of the flattened weight, and `outputs` (n,
    K).
    """

    inputs: Tensor
    outputs: Tensor


@dataclass(frozen=True, eq=False)
class Follower:
    """What a layer's responses y meet next: a batch norm, as scale · y + shift of each output (K,), then perhaps a
    ReLU.
    """

    scale: Tensor
    shift: Tensor
    relu: bool


class Observer:
    """Samples of what layers compute. Made before any layer is replaced.

    model: in evaluation mode. graph: gives what it computes, asked when needed. layers: by their paths.
    inputs: float32, the batch first.
    Raises DataError for no inputs, or NaN or infinity in them or in an activation.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: Callable[[], Graph],
        layers: Mapping[str, nn.Module],
        inputs: Inputs,
        *,
        seed: int = 0,
    ) -> None:
        examples = checked(inputs)
        self.model, self.layers, self.seed = model, dict(layers), seed
        self._trace = graph
        self.count = len(examples[0])
        self.batches = list(zip(*(torch.split(each, BATCH) for each in examples), strict=True))
        self.order: list[str] = []
        self.calls: dict[str, int] = dict.fromkeys(layers, 0)
        self._places: dict[str, int] = dict.fromkeys(layers, 0)
        self._original = self._run(list(layers), with_inputs=False, first=True)

    def places(self, where: str) -> int:
        """Output positions that a layer computes for one input, over all its calls."""
        self._reached(where)
        return self._places[where] // self.count

    def original(self, where: str) -> Tensor:
        """Sampled responses (n, K) of a layer in the network as it was given."""
        self._reached(where)
        return self._original[where].outputs

    def current(self, where: str, *, with_inputs: bool = False) -> Samples:
        """The same samples of a layer that is still in place, in the network as it is now.

        with_inputs: the patches too, for a convolution without groups or a linear layer; else they are empty.
        """
        self._reached(where)
        return self._run([where], with_inputs=with_inputs)[where]

    @cached_property
    def graph(self) -> Graph:
        """What the network computes."""
        return self._trace()

    def follower(self, where: str) -> Follower:
        """What the responses of a layer meet next; a scale of ones where nothing follows that could be told."""
        outputs = self.original(where).shape[1]
        scale, shift = torch.ones(outputs, dtype=torch.float64), torch.zeros(outputs, dtype=torch.float64)
        nodes = [node for node in self.graph.nodes if f"{where}.weight".lstrip(".") in node.inputs]
        after = _reader(self.graph, nodes[0]) if len(nodes) == 1 else None
        if after is not None and after.op == "BatchNormalization":
            gamma, beta, mean, variance = (self._value(name) for name in after.inputs[1:])
            scale = gamma / torch.sqrt(variance + float(after.attributes["epsilon"]))  # type: ignore[arg-type]
            shift = beta - mean * scale
            after = _reader(self.graph, after)
        return Follower(scale, shift, after is not None and after.op == "Relu")

    def _value(self, name: str) -> Tensor:
        path, _, leaf = name.rpartition(".")
        value: Tensor = getattr(self.model.get_submodule(path), leaf)
        return value.detach().double().cpu()

    def _reached(self, where: str) -> None:
        if not self.calls[where]:
            raise RecipeError(f"{where!r} is not called for the calibration inputs; leave it out of the recipe")

    @torch.no_grad()
    def _run(self, names: Sequence[str], *, with_inputs: bool, first: bool = False) -> dict[str, Samples]:
        """Feed all batches and sample the layers `names`; a run after the first ends when the last of them has
        answered.
        """
        taken: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}
        draws = {name: torch.Generator().manual_seed(self.seed + number) for number, name in enumerate(self.layers)}
        left = 0

        def watch(name: str) -> Callable[..., None]:
            def hook(module: Any, arguments: tuple[Tensor, ...], answer: Tensor) -> None:
                nonlocal left
                if first:
                    self._count(name, answer)
                taken[name].append(_sample(module, arguments[0], answer, draws[name], with_inputs=with_inputs))
                left -= 1
                if not first and not left:
                    raise _Enough

            return hook

        with _hooks([(self.layers[name], watch(name)) for name in names]):
            for batch in self.batches:
                left = sum(self.calls[name] for name in names) // len(self.batches)
                try:
                    self.model(*batch)
                except _Enough:
                    continue
        return {name: _joined(name, samples) for name, samples in taken.items() if samples}

    def _count(self, name: str, answer: Tensor) -> None:
        if not self.calls[name]:
            self.order.append(name)
        self.calls[name] += 1
        self._places[name] += answer.numel() // answer.shape[1 if answer.dim() == 4 else -1]


class _Enough(Exception):
    """Ends a forward pass whose rest nobody looks at."""


@contextmanager
def _hooks(watched: Sequence[tuple[nn.Module, Callable[..., None]]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in watched]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _joined(name: str, samples: Sequence[tuple[Tensor, Tensor]]) -> Samples:
    inputs, outputs = (torch.cat(parts).double().cpu() for parts in zip(*samples, strict=True))
    if not torch.isfinite(outputs).all() or not torch.isfinite(inputs).all():
        raise DataError(
            f"the activations of {name!r} hold NaN or infinity on the calibration inputs; look there for the cause"
        )
    return Samples(inputs, outputs)


def _sample(
    module: Any, x: Tensor, answer: Tensor, generator: torch.Generator, *, with_inputs: bool
) -> tuple[Tensor, Tensor]:
    """Inputs and outputs of one call at random positions, POSITIONS of each input or all that there are."""
    if not isinstance(module, nn.Conv2d):
        rows, answers = x.reshape(len(x), -1, x.shape[-1]), answer.reshape(len(x), -1, answer.shape[-1])
        chosen = _positions(len(x), rows.shape[1], generator)
        number = torch.arange(len(x)).unsqueeze(1)
        return rows[number, chosen].flatten(0, 1), answers[number, chosen].flatten(0, 1)
    high, wide = answer.shape[2:]
    chosen = _positions(len(x), high * wide, generator)
    number = torch.arange(len(x)).unsqueeze(1)
    outputs = answer.flatten(2).mT[number, chosen].flatten(0, 1)
    if not with_inputs:
        return outputs[:, :0], outputs
    top, left = chosen // wide, chosen % wide
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    sides = module._reversed_padding_repeated_twice
    padded = F.pad(x, sides, mode) if any(sides) else x
    down = top.unsqueeze(2) * module.stride[0] + torch.arange(module.kernel_size[0]) * module.dilation[0]
    across = left.unsqueeze(2) * module.stride[1] + torch.arange(module.kernel_size[1]) * module.dilation[1]
    # (N, P, R, S, C): indices around a slice put the slice last.
    patches = padded[number[:, :, None, None], :, down.unsqueeze(3), across.unsqueeze(2)]
    return patches.permute(0, 1, 4, 2, 3).flatten(0, 1).flatten(1), outputs


def _positions(count: int, places: int, generator: torch.Generator) -> Tensor:
    """(count, P) position numbers: all of them when they are few."""
    if places <= POSITIONS:
        return torch.arange(places).expand(count, places)
    return torch.randint(places, (count, POSITIONS), generator=generator)


def _reader(graph: Graph, node: Node) -> Node | None:
    """The one node that reads a node's result; None when several do or it leaves the graph."""
    if node.outputs[0] in graph.outputs:
        return None
    readers = [other for other in graph.nodes if node.outputs[0] in other.inputs]
    return readers[0] if len(readers) == 1 else None
