"""Batches of images from memory, shuffled and shifted by a generator that depends on (seed, stage, epoch) only.

An epoch can therefore be repeated or resumed alone and gives the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lissome.data import Split


class Batches:
    """Shuffled batches of (inputs float32 (B, C, H, W) in [0, 1], labels int64 (B,)); an incomplete last batch is left
    out unless it is the only one. shift: each image moves by up to this many pixels each way, zeros coming in.
    """

    def __init__(self, split: Split, *, batch: int, shift: int, seed: tuple[int, ...]) -> None:
        self.labels = torch.from_numpy(split.labels)
        self.batch = min(batch, len(self.labels))
        self.shift, self.seed = shift, seed
        images = torch.from_numpy(split.images)
        height, width = images.shape[-2:]
        padded = F.pad(images, (shift, shift, shift, shift))
        # (N, C, 2·shift + 1, 2·shift + 1, H, W): every shifted view of every image, without a copy.
        self.views = padded.unfold(2, height, 1).unfold(3, width, 1)

    def __len__(self) -> int:
        return len(self.labels) // self.batch

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of epoch `number`."""
        entropy = np.random.SeedSequence([*self.seed, number]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(entropy >> 1))
        order = torch.randperm(len(self.labels), generator=generator)
        for start in range(0, len(self) * self.batch, self.batch):
            chosen = order[start : start + self.batch]
            down, right = torch.randint(2 * self.shift + 1, (2, self.batch), generator=generator)
            images = self.views[chosen, :, down, right]
            inputs = images.float().div_(255).contiguous(memory_format=torch.channels_last)
            yield inputs, self.labels[chosen]
