"""A mask that takes part in training, in whatever loop: its weight is drawn somewhere, or the mask itself moves.

What a penalty on a weight would add to the gradient is added to it as it goes by; to the optimizer that is the same as
a penalty in the loss. It is done once in a backward pass, however often the layer was called.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from lissome.compress.method import Method
from lissome.compress.prune.magnitude import Mask


class DrivenMask(Mask):
    """As `Mask`; `step` is called once in every backward pass of training while the mask is awake.

    Buffer `awake`: bool, False until a settling at some strength.
    """

    awake: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.register_buffer("awake", torch.zeros((), dtype=torch.bool, device=weight.device))
        self._due = False

    def forward(self, weight: Tensor) -> Tensor:
        masked = self.masked(weight)
        if self.training and masked.requires_grad and self.awake:
            kept = weight.detach()
            self._due = True

            @torch.no_grad()
            def answer(gradient: Tensor) -> Tensor | None:
                if not self._due:
                    return None
                self._due = False
                pull = self.step(kept)
                return None if pull is None else gradient + pull

            masked.register_hook(answer)  # type: ignore[no-untyped-call]
        return masked

    def masked(self, weight: Tensor) -> Tensor:
        """The weight as the network sees it."""
        # Of a copy: the mask may change during the backward pass that needs it.
        return torch.where(self.mask.clone(), weight, 0.0) + 0.0

    @abstractmethod
    def step(self, weight: Tensor) -> Tensor | None:
        """What to add to the gradient with respect to the masked weight; the mask may change for the next step."""
