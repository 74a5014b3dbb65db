"""Energy-aware pruning: the layers that take most energy first, each made good at once (Yang, Chen and Sze, "Designing
energy-efficient convolutional neural networks using energy-aware pruning", CVPR 2017, section 4).

Layers that are pruned early can lose more, since those after them have not moved yet; so the order is that of the
energy which the hardware model (hardware/energy.py, from the authors' own method) estimates, the share of zeros among
the inputs counted in. Of each layer the smallest weights go, and more than wanted; those whose absence hurts the output
most come back; and the weights left are found anew by least squares, so that the output feature map stays. After the
last layer the network is fine-tuned as a whole: that is the user's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lissome.compress.calibrated import Seen
from lissome.compress.method import Member
from lissome.compress.prune.looking import Looking
from lissome.compress.prune.magnitude import keep_largest, set_masks
from lissome.compress.prune.reconstruct import reconstruct, rewrite, wanted
from lissome.errors import RecipeError
from lissome.hardware.energy import Hierarchy
from lissome.hardware.workload import count
from lissome.network import Network

#: in so many steps weights come back: each changes what the others would bring
STEPS: Final = 4


@dataclass(frozen=True)
class EnergyAware(Looking):
    """Prune each weight under the rule to one sparsity, in the order of the layers' energy, and restore its output.

    sparsity: share of each weight to remove, in [0, 1). restored: of the weights that stay, the share that is chosen by
    what their absence does to the output, the others by magnitude, in [0, 1].
    Sleeps until `calibrate_` shows it inputs; a schedule puts it to sleep. Raises RecipeError for shares out of range,
    a weight of one dimension, and when a layer's weight would lose every entry.
    """

    sparsity: float = 0.8
    restored: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.restored <= 1:
            raise RecipeError(f"prune.EnergyAware: restored is a share in [0, 1], not {self.restored!r}")

    def order(
        self, weights: Sequence[str], network: Callable[[], Network], densities: Callable[[], Mapping[str, float]]
    ) -> list[str]:
        spent = energies(network(), densities())
        return sorted(weights, key=lambda name: -spent.get(name, 0.0))

    @torch.no_grad()
    def decide(self, member: Member, seen: Seen, *, centred: bool) -> None:
        del centred
        weight = member.weight()
        rows = weight.double().reshape(seen.rows.shape)
        if not rows.any():
            return  # a layer of zeros has nothing to lose
        stay = round((1 - self.sparsity) * rows.numel())
        large = stay - round(self.restored * stay)
        kept = keep_largest(rows.abs(), 1 - large / rows.numel()) if large else torch.zeros_like(rows, dtype=torch.bool)
        kept &= rows != 0
        kept = bring_back(seen, rows, kept, stay)
        set_masks(self, [member], [kept.reshape(weight.shape)])
        rewrite(member, reconstruct(seen, rows, kept), kept)


def energies(network: Network, densities: Mapping[str, float]) -> dict[str, float]:
    """Picojoules for one input, by the name of the weight that a node multiplies by; densities: of its inputs."""
    read = {node.name: node.inputs[1] for node in network.graph.nodes if len(node.inputs) > 1}
    given = {node: densities[weight] for node, weight in read.items() if weight in densities}
    estimate = Hierarchy().estimate(count(network, input_density=given))
    spent: dict[str, float] = {}
    for layer in estimate.layers:
        if layer.name in read:
            spent[read[layer.name]] = spent.get(read[layer.name], 0.0) + sum(layer.energy_pj.values())
    return spent


def bring_back(seen: Seen, rows: Tensor, kept: Tensor, stay: int) -> Tensor:
    """`kept` and more, `stay` in all: those whose return, at their old value, lowers the squared output error most.

    With the error's slope s = w₀ᵀ C − wᵀ G of the weights w that are there, weight j brings 2 w_j s_j − w_j² G_jj.
    """
    goal, power = wanted(seen), seen.gram.diagonal(dim1=1, dim2=2).unsqueeze(1)
    for left in range(STEPS, 0, -1):
        missing = stay - int(kept.sum())
        if missing <= 0:
            break
        slope = goal - (rows * kept) @ seen.gram
        gain = 2 * rows * slope - rows.square() * power
        gain = torch.where(kept | (rows == 0), -torch.inf, gain).flatten()
        take = min(-(-missing // left), int(torch.isfinite(gain).sum()))
        best = gain.argsort(descending=True, stable=True)[:take]
        kept = kept.flatten().index_fill(0, best, value=True).view(kept.shape)
    return kept
