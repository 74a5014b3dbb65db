"""One stage of training: Adam, cosine learning rate, optional distillation. The loop is short on purpose: read it, copy
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import nn

from lissome.compress.recipe import Fit
from lissome.compress.schedule import Schedule
from lissome.data import Split
from lissome.errors import DataError, RecipeError, TrainingError
from lissome.train import distill
from lissome.train.batches import Batches


class EpochEnd(Protocol):
    """Called after each epoch with the number of epochs done, the mean loss, and the optimizer (for checkpoints)."""

    def __call__(self, done: int, loss: float, optimizer: torch.optim.Optimizer) -> None: ...


def optimizer_for(model: nn.Module, options: Fit) -> torch.optim.Optimizer:
    """The optimizer of a stage; its learning rate is set at every step."""
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=options.lr)


def fit(
    model: nn.Module,
    split: Split,
    options: Fit,
    *,
    seed: tuple[int, ...],
    teacher: nn.Module | None = None,
    schedule: Schedule | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    cycles: int = 1,
    on_epoch: EpochEnd | None = None,
    on_step: Callable[[], None] | None = None,
) -> None:
    """Train `model` in place on `split` for epochs `start` to options.epochs.

    seed: decides batches and shifts, together with the epoch's number. teacher: needed when options.distill > 0; given
    the same inputs. schedule: stepped after each optimizer step. optimizer: one restored from a checkpoint, when
    resuming. cycles: the learning rate starts anew this many times, for a schedule that prunes in rounds. torch's own
    generator (dropout) is seeded for every epoch, and put back at the end.

    Raises RecipeError for distillation without a teacher, TrainingError when the loss becomes NaN or infinite: the
    learning rate is too high.
    """
    if options.distill > 0 and teacher is None:
        raise RecipeError(
            f"distill is {options.distill:g}, but there is no dense network yet to learn from; set it to 0"
        )
    teacher = teacher if options.distill > 0 else None
    batches = Batches(
        split, batch=options.batch, shift=options.shift, seed=seed, teacher=teacher, epochs=options.epochs
    )
    optimizer = optimizer or optimizer_for(model, options)
    cycle = max(1, -(-options.epochs * len(batches) // cycles))
    model.train()
    for epoch in range(start, options.epochs):
        running = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(batches.entropy(epoch))
            for number, (inputs, labels, soft) in enumerate(batches.epoch(epoch), epoch * len(batches)):
                for group in optimizer.param_groups:
                    group["lr"] = options.lr * 0.5 * (1 + math.cos(math.pi * (number % cycle) / cycle))
                logits = model(inputs)
                value = distill.loss(logits, labels, soft, weight=options.distill, temperature=options.temperature)
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                running += float(value.detach())
                if on_step is not None:
                    on_step()
        if not math.isfinite(running):
            raise TrainingError(
                f"training diverged: the loss is {running} in epoch {epoch + 1}: lower lr (now {options.lr:g})"
            )
        if on_epoch is not None:
            on_epoch(epoch + 1, running / len(batches), optimizer)


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, *, batch: int = 1000) -> float:
    """Top-1 in percent over `split`, by torch. The model's train or eval mode is put back.

    Raises DataError when there are no images.
    """
    if not len(split):
        raise DataError("there are no images to measure accuracy on: hold out at least one")
    was_training = model.training
    model.eval()
    right = 0
    for start in range(0, len(split.labels), batch):
        inputs = torch.from_numpy(split.take(np.arange(start, min(start + batch, len(split)))).inputs())
        right += int((model(inputs).argmax(1).numpy() == split.labels[start : start + batch]).sum())
    model.train(was_training)
    return 100.0 * right / len(split.labels)
