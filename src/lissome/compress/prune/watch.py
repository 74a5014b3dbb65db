"""A mask that watches the gradient of its weight go by: the ground of criteria that ask what the loss says."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

import torch
from torch import Tensor

from lissome.compress.prune.magnitude import Mask

#: decay of running means per backward pass: they remember about the last 1,000, as Adam's second moment does
DECAY: Final = 0.999


class WatchedMask(Mask):
    """As `Mask`; `observe` is called in every backward pass of training."""

    def forward(self, weight: Tensor) -> Tensor:
        masked = super().forward(weight)
        if self.training and masked.requires_grad:
            kept = weight.detach()

            @torch.no_grad()
            def watch(gradient: Tensor) -> None:
                self.observe(kept, gradient)

            masked.register_hook(watch)  # type: ignore[no-untyped-call]
        return masked

    @abstractmethod
    def observe(self, weight: Tensor, gradient: Tensor) -> None:
        """Take note of a weight before masking and of the loss's gradient with respect to it after masking."""
