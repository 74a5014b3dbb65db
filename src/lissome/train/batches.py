"""Batches of images from memory, shuffled and shifted by a generator that depends on (seed, stage, epoch) only.

An epoch can therefore be repeated or resumed alone and gives the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lissome.data import Split
from lissome.errors import DataError


class Batches:
    """Shuffled batches of (inputs, labels, soft): float32 (B, C, H, W) in [0, 1], int64 (B,), and the teacher's logits
    for the same inputs, float32 (B, classes), or None without a teacher. An incomplete last batch is left out unless it
    is the only one.

    shift: each image moves by up to this many pixels each way, zeros coming in.
    teacher: asked once for every shift of every image when that costs less than asking at every one of `epochs`.

    Raises DataError when there are no images.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        shift: int,
        seed: tuple[int, ...],
        teacher: nn.Module | None = None,
        epochs: int = 1,
    ) -> None:
        if not len(split):
            raise DataError("there are no images to train on: hold out fewer for validation")
        self.labels = torch.from_numpy(split.labels)
        self.batch = min(batch, len(self.labels))
        self.shift, self.seed = shift, seed
        images = torch.from_numpy(split.images)
        height, width = images.shape[-2:]
        padded = F.pad(images, (shift, shift, shift, shift))
        # (N, C, 2·shift + 1, 2·shift + 1, H, W): every shifted view of every image, without a copy.
        self.views = padded.unfold(2, height, 1).unfold(3, width, 1)
        self.teacher = teacher
        self.answers = self._ask_all(teacher) if teacher is not None and (2 * shift + 1) ** 2 <= epochs else None

    def __len__(self) -> int:
        return len(self.labels) // self.batch

    def entropy(self, number: int) -> int:
        """The seed of epoch `number`, for whatever is random in it."""
        return int(np.random.SeedSequence([*self.seed, number]).generate_state(1, np.uint64)[0] >> 1)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """The batches of epoch `number`."""
        generator = torch.Generator().manual_seed(self.entropy(number))
        order = torch.randperm(len(self.labels), generator=generator)
        for start in range(0, len(self) * self.batch, self.batch):
            chosen = order[start : start + self.batch]
            down, right = torch.randint(2 * self.shift + 1, (2, self.batch), generator=generator)
            inputs = _inputs(self.views[chosen, :, down, right])
            soft: Tensor | None = None
            if self.answers is not None:
                soft = self.answers[down, right, chosen]
            elif self.teacher is not None:
                with torch.no_grad():
                    soft = self.teacher(inputs)
            yield inputs, self.labels[chosen], soft

    @torch.no_grad()
    def _ask_all(self, teacher: nn.Module) -> Tensor:
        """(down, right, N, classes): always asked in the same order, so that a resumed run learns the same."""
        sides = range(2 * self.shift + 1)
        blocks = torch.split(self.views, 1000)
        rows = [
            [torch.cat([teacher(_inputs(b[:, :, down, right])) for b in blocks]) for right in sides] for down in sides
        ]
        return torch.stack([torch.stack(row) for row in rows])


def _inputs(images: Tensor) -> Tensor:
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)
