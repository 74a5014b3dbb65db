"""What a layer's remaining weights should be, so that its output stays as it was: least squares, in closed form.

The output wanted of a filter is w₀ᵀ x, of the original weights and inputs; it is made as wᵀ x̂ with w zero outside a
support. With G = E[x̂ x̂ᵀ] and C = E[x x̂ᵀ] that is (G w)_S = (C ᵀw₀)_S on the support S.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor

from lissome.compress.calibrated import Seen
from lissome.compress.method import Member, refuse

_ITERATIONS: Final = 1000
#: of what is left of the right-hand side
_TOLERANCE: Final = 1e-9


def wanted(seen: Seen) -> Tensor:
    """E[y x̂ᵀ], with y the original output: (G, R, d) float64."""
    return seen.rows @ seen.cross


def reconstruct(seen: Seen, weight: Tensor, kept: Tensor) -> Tensor:
    """The weights, zero where not `kept`, of least squared output error; all (G, R, d), float64.

    They lean towards `weight`, the more the fewer samples there are: by one sample's worth of white inputs, patches of
    one image being alike and counted as their root. Inputs that are always zero leave weights as they were.
    """
    dimensions = weight.shape[2]
    power = seen.gram.diagonal(dim1=1, dim2=2).mean(1)
    lean = (power * dimensions / math.sqrt(seen.images * seen.samples)).clamp(min=1e-12).view(-1, 1, 1)
    target = wanted(seen) + lean * weight
    found = torch.zeros_like(weight)
    for group, (gram, own) in enumerate(zip(seen.gram, kept, strict=True)):
        system = gram + lean[group] * torch.eye(dimensions, dtype=gram.dtype)
        if bool((own == own[:1]).all()):  # whole channels: one system for all filters
            places = own[0].nonzero().flatten()
            solved = torch.linalg.solve(system[places][:, places], target[group][:, places].mT)
            found[group][:, places] = solved.mT
            continue
        found[group] = conjugate_gradients(system, target[group], own)
    return found


def conjugate_gradients(system: Tensor, target: Tensor, kept: Tensor) -> Tensor:
    """For each row the w, zero where not `kept`, with (system w)_S = target_S; system (d, d), the others (R, d).

    Every row has a support of its own, but one product serves them all: systems of their own would take R d³.
    """
    scale = 1 / system.diagonal().sqrt()  # units in which all inputs have the same power
    system = system * scale * scale.unsqueeze(1)
    own = kept.to(system.dtype)
    found = torch.zeros_like(target)
    left = target * scale * own
    direction, power = left.clone(), left.square().sum(1, keepdim=True)
    enough = _TOLERANCE**2 * power
    for _ in range(_ITERATIONS):
        if not (power > enough).any():
            break
        along = (direction @ system) * own
        length = power / (direction * along).sum(1, keepdim=True).clamp(min=torch.finfo(power.dtype).tiny)
        length = torch.where(power > enough, length, 0.0)
        found += length * direction
        left = left - length * along
        new = left.square().sum(1, keepdim=True)
        direction = left + new / power.clamp(min=torch.finfo(power.dtype).tiny) * direction
        power = new
    return found * scale


@torch.no_grad()
def rewrite(member: Member, values: Tensor, kept: Tensor) -> None:
    """Put restored values into the weight itself, where training goes on from them; elsewhere it stays as it was.

    Raises RecipeError for a weight that a parametrization of another's makes from several tensors.
    """
    chain: Any = member.owner.parametrizations[member.name]  # type: ignore[index]
    mask = member.parametrization
    if not chain.is_tensor:
        found = "the weight is made by a parametrization that is not lissome's"
        raise refuse(mask.method, mask.where, found, "Remove that first (remove_parametrizations)")
    original: Tensor = chain.original
    original.copy_(torch.where(kept.view(original.shape), values.view(original.shape).to(original.dtype), original))
