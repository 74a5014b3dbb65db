"""Mixed precision: how many bits each layer gets under a budget for all, at the least cost in all.

What HAQ searches for by reinforcement learning (Wang et al., CVPR 2019) is a knapsack once the cost of a layer's bits
is known and the costs of layers add up, as to second order they do (Dong et al., HAWQ, ICCV 2019). It is solved
exactly: layer by layer, only those choices are kept that no other has both fewer bits and a smaller cost than.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lissome.errors import RecipeError

#: choices kept at once; of more, which takes hundreds of layers of odd sizes, evenly spread ones: exact no longer
MOST = 200_000


def allocate(costs: Sequence[Mapping[int, float]], sizes: Sequence[int], budget: int) -> list[int]:
    """The number of bits of each layer: of those that Σ bits · size ≤ budget, the choice with the least Σ cost.

    costs: for each layer, what each number of bits costs. sizes: how often a layer's bits count (its weights for a
    budget of bytes, its multiply-adds for one of bit operations).
    Raises RecipeError when even the fewest bits are too many.
    """
    least = sum(min(choices) * size for choices, size in zip(costs, sizes, strict=True))
    if least > budget:
        raise RecipeError(f"a budget of {budget:,} bits: the layers need {least:,} at the least")
    front: list[tuple[int, float, tuple[int, ...]]] = [(0, 0.0, ())]
    left = least
    for choices, size in zip(costs, sizes, strict=True):
        left -= min(choices) * size
        tried = [
            (used + bits * size, cost + choices[bits], (*chosen, bits))
            for used, cost, chosen in front
            for bits in choices
            if used + bits * size + left <= budget
        ]
        front = _undominated(tried)
    return list(min(front, key=lambda choice: (choice[1], choice[0]))[2])


def _undominated(tried: list[tuple[int, float, tuple[int, ...]]]) -> list[tuple[int, float, tuple[int, ...]]]:
    tried.sort(key=lambda choice: choice[:2])
    kept: list[tuple[int, float, tuple[int, ...]]] = []
    for choice in tried:
        if not kept or choice[1] < kept[-1][1]:
            kept.append(choice)
    if len(kept) > MOST:
        kept = [kept[i * (len(kept) - 1) // (MOST - 1)] for i in range(MOST)]
    return kept
