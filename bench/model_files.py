"""A network of the field as the file that every runtime is given: ONNX, an input, and the output that is right.

Weights are random (He et al., ICCV 2015; batch norms keep the statistics of one batch of noise), so that activations
stay in the range that trained ones have and nothing needs to be downloaded; speed does not depend on them. The right
output is torch's in float64. Files are kept under build/bench and made again when lissome is newer.

A network may be pruned by magnitude, and the weights left shared, before its statistics are taken.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

import lissome as ls
from lissome.graph.costs import costs
from lissome.weights import Dense

FOLDER: Final = Path(__file__).resolve().parent.parent / "build" / "bench"


@dataclass(frozen=True)
class Sample:
    """An ONNX file with one input x (1, ...) float32 and its output y in float64; macs: of direct convolution."""

    model: Path
    x: NDArray[np.float32]
    y: NDArray[np.float64]
    macs: int


@dataclass(frozen=True)
class Pruning:
    """How a network's weights are pruned before it is written.

    label: in the file's name. densities: share of weights that each layer (convolution, linear) keeps, in order; a
    single one is for all but the first and the depthwise. bits: 2**bits values are left of each layer; none: all.
    """

    label: str
    densities: tuple[float, ...]
    bits: tuple[int, ...] = ()


def sample(name: str, pruning: Pruning | None = None) -> Sample:
    """The sample of the network that `lissome.models.build` knows by `name`, made when it is absent or old.

    "linear-4096-1000" is one linear layer of so many inputs and outputs.
    """
    stem = f"{name}-{pruning.label}" if pruning else name
    model, kept = FOLDER / f"{stem}.onnx", FOLDER / f"{stem}.npz"
    newest = max(path.stat().st_mtime for path in Path(ls.__file__).parent.rglob("*.py"))
    if not kept.exists() or not model.exists() or kept.stat().st_mtime < newest:
        FOLDER.mkdir(parents=True, exist_ok=True)
        _make(name, pruning, model, kept)
    with np.load(kept) as arrays:
        return Sample(model, arrays["x"], arrays["y"], int(arrays["macs"]))


def _make(name: str, pruning: Pruning | None, model: Path, kept: Path) -> None:
    import torch

    from lissome.graph.trace import export

    torch.manual_seed(0)
    module = _build(name)
    _initialise_(module, pruning)
    x = torch.randn(1, *module.input_shape)
    traced = export(copy.deepcopy(module), x)  # as it was written: what `ls.freeze` joins, only lissome may know
    fixed = [replace(spec, shape=(1, *spec.shape[1:])) for spec in traced.graph.inputs]  # ncnn, MNN: no open batch
    weights = {parameter: Dense(value.detach().numpy()) for parameter, value in traced.values.items()}
    net = ls.Network(replace(traced.graph, inputs=tuple(fixed)), weights)
    ls.export_onnx(net, model)
    shapes = {parameter: weight.shape for parameter, weight in weights.items()}
    macs = sum(cost.macs for cost in costs(net.graph, shapes).values())
    with torch.no_grad():
        y = module.double()(x.double())
    np.savez(kept, x=x.numpy(), y=y.numpy(), macs=macs)


def _build(name: str) -> torch.nn.Module:  # noqa: F821, torch is imported where a sample is made
    if not name.startswith("linear-"):
        return ls.models.build(name)
    import torch

    inputs, outputs = map(int, name.split("-")[1:])
    module = torch.nn.Sequential(torch.nn.Linear(inputs, outputs))
    module.input_shape = (inputs,)
    return module


def _initialise_(module: torch.nn.Module, pruning: Pruning | None) -> None:  # noqa: F821
    """Random weights, pruned, and one batch's statistics, in place; the module is left in evaluation mode."""
    import torch
    from torch import nn

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for number, layer in enumerate(layers):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups > 1
        if pruning and (len(pruning.densities) > 1 or (number > 0 and not depthwise)):
            density = pruning.densities[number % len(pruning.densities)]
            bits = pruning.bits[number] if pruning.bits else 0
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(_pruned(layer.weight.numpy(), density, bits)))
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the plain mean of what it sees
    module.train()
    with torch.no_grad():
        module(torch.randn(4, *module.input_shape))
    module.eval()


def _pruned(weight: NDArray[np.float32], density: float, bits: int) -> NDArray[np.float32]:
    """The largest weights, with the power that all had, which keeps activations in range; rounded to shared values."""
    size = np.abs(weight)
    count = max(1, round(density * size.size))
    kept = size >= np.partition(size.reshape(-1), -count)[-count]
    power = np.square(weight, dtype=np.float64).sum() / np.square(weight[kept], dtype=np.float64).sum()
    left = weight[kept] * np.float32(np.sqrt(power))
    if bits:
        values = np.linspace(left.min(), left.max(), 2**bits, dtype=np.float32)
        left = values[np.rint((left - values[0]) / (values[1] - values[0])).astype(np.int64).clip(0, values.size - 1)]
    result = np.zeros_like(weight)
    result[kept] = left
    return result
