"""A network of the field as the file that every runtime is given: ONNX, an input, and the output that is right.

Weights are random (He et al., ICCV 2015; batch norms keep the statistics of one batch of noise), so that activations
stay in the range that trained ones have and nothing needs to be downloaded; speed does not depend on them. The right
output is torch's in float64. Files are kept under build/bench and made again when lissome is newer.
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


def sample(name: str) -> Sample:
    """The sample of the network that `lissome.models.build` knows by `name`, made when it is absent or old."""
    model, kept = FOLDER / f"{name}.onnx", FOLDER / f"{name}.npz"
    newest = max(path.stat().st_mtime for path in Path(ls.__file__).parent.rglob("*.py"))
    if not kept.exists() or not model.exists() or kept.stat().st_mtime < newest:
        FOLDER.mkdir(parents=True, exist_ok=True)
        _make(name, model, kept)
    with np.load(kept) as arrays:
        return Sample(model, arrays["x"], arrays["y"], int(arrays["macs"]))


def _make(name: str, model: Path, kept: Path) -> None:
    import torch

    from lissome.graph.trace import export

    torch.manual_seed(0)
    module = ls.models.build(name)
    _initialise_(module)
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


def _initialise_(module: torch.nn.Module) -> None:  # noqa: F821, torch is imported where a sample is made
    """Random weights and one batch's statistics, in place; the module is left in evaluation mode."""
    import torch
    from torch import nn

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the plain mean of what it sees
    module.train()
    with torch.no_grad():
        module(torch.randn(4, *module.input_shape))
    module.eval()
