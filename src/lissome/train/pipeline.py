"""The staged run behind `lissome compress`: dense training, pruning, sharing; a checkpoint after every epoch.

A run that was killed at any point goes on from its last checkpoint and ends with the same weights, bit for bit, as one
that was left alone (same machine, library versions and thread count).
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lissome import models
from lissome.compress.apply import baked_copy, compress_, groups, inform_, plan, structures
from lissome.compress.calibrate import Calibrated, calibrate_
from lissome.compress.equalise import equalise_
from lissome.compress.fold import fold_batch_norms_
from lissome.compress.inform import Informed
from lissome.compress.recipe import Fit, Recipe, Shrink, Stage
from lissome.compress.schedule import Cubic, Iterative, Schedule
from lissome.compress.shrink import shrink
from lissome.data import Dataset, Split
from lissome.errors import DataError, FormatError, RecipeError
from lissome.train import checkpoint
from lissome.train.fit import accuracy, fit, optimizer_for

#: optimizer steps between two settlings of a gradual schedule: masks need not move at every step
EVERY = 50
#: images that calibrated methods see, the first of the training split
CALIBRATION = 500


@dataclass(frozen=True)
class Progress:
    """Where a run is: stage and epoch (both counted from 1), what it reached, and what is left.

    accuracy: top-1 in percent on the validation split. left_s: estimate of the seconds left over all stages.
    """

    stage: int
    stages: int
    name: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    left_s: float


@dataclass
class Outcome:
    """What a run made.

    reference: the dense network (plain parameters). model: the compressed one (parametrized). teacher: the network that
    taught, when the recipe names one. accuracies: validation top-1 in percent after each stage, by its name.
    """

    reference: nn.Module
    model: nn.Module
    teacher: nn.Module | None = None
    accuracies: list[tuple[str, float]] = field(default_factory=list)


def run(
    recipe: Recipe,
    model: nn.Module,
    dataset: Dataset,
    *,
    trained: bool = False,
    work: Path | None = None,
    holdout: int | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
    on_stage: Callable[[Stage, nn.Module], None] | None = None,
) -> Outcome:
    """Take `model` through the recipe's stages, in place, training on dataset.train less a validation split.

    trained: the model carries trained weights, so leading stages that only train are left out.
    work: folder for checkpoints; None keeps none. A folder of another recipe, network or data set is refused.
    holdout: validation images, taken from the training split (default: a tenth, at most 5,000); the test split is not
    read. on_epoch, on_stage: called after each epoch and after each stage; exceptions they raise end the run.

    Raises RecipeError, before any training, when the recipe has no stage or does not fit the model; DataError for fewer
    than one image to validate on; FormatError for damaged checkpoints.
    """
    stages = _stages(recipe, trained=trained)
    _check_fit(recipe, model, stages, dataset)
    count = min(5_000, len(dataset.train.labels) // 10) if holdout is None else holdout
    if count < 1:
        raise DataError(f"{count} images to validate on; at least 1 is needed, of {len(dataset.train.labels)}")
    split, validation = dataset.holdout(count, recipe.seed)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    identity = _identity(recipe, model, dataset, trained=trained, count=count)
    state = _State(recipe, model, work, identity=identity, split=split)
    state.open()
    teacher = _train_teacher(recipe, dataset, work=work, count=count, on_epoch=on_epoch)
    clock = _Clock(stages, state.stage, state.epoch)
    while state.stage < len(stages):
        stage = stages[state.stage]
        schedule = state.begin(stage)
        if stage.settle and not state.epoch:
            _calibrate(model, stage, split)

        def epoch_end(done: int, loss: float, optimizer: torch.optim.Optimizer) -> None:
            state.save(epoch=done, optimizer=optimizer, schedule=schedule)  # noqa: B023
            if on_epoch is not None:
                reached = accuracy(model, validation)
                left = clock.left(state.stage, done)
                number, name = state.stage + 1, stage.settle or "train"  # noqa: B023
                on_epoch(Progress(number, len(stages), name, done, stage.epochs, loss, reached, left))  # noqa: B023

        fit(
            model,
            split,
            stage,
            seed=(recipe.seed, state.stage),
            teacher=teacher if teacher is not None else state.reference,
            schedule=schedule,
            optimizer=state.optimizer,
            start=state.epoch,
            cycles=stage.rounds if stage.schedule == "iterative" else 1,
            on_epoch=epoch_end,
        )
        state.accuracies.append((stage.settle or "train", accuracy(model, validation)))
        state.finish()
        if on_stage is not None:
            on_stage(stage, model)
    model.eval()
    reference = state.reference if state.reference is not None else baked_copy(model)
    return Outcome(reference, model, teacher, state.accuracies)


def _train_teacher(
    recipe: Recipe,
    dataset: Dataset,
    *,
    work: Path | None,
    count: int,
    on_epoch: Callable[[Progress], None] | None,
) -> nn.Module | None:
    """The recipe's teacher, trained; a run of its own, with checkpoints of its own, on the same images."""
    if recipe.teacher is None:
        return None
    fields = {name: getattr(recipe.teacher, name) for name in Fit.__dataclass_fields__}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = models.build(recipe.teacher.network)
    alone = Recipe(stages=[Stage(**fields)], seed=recipe.seed)
    folder = None if work is None else work / "teacher"
    return run(alone, network, dataset, work=folder, holdout=count, on_epoch=on_epoch).model


def _calibrate(model: nn.Module, stage: Stage, split: Split) -> None:
    """Let the stage's methods decide, where they are of those that have to see inputs first."""
    settled = (members[0].parametrization.method for _, members in groups(model))
    if any(isinstance(method, Calibrated) and method.family == stage.settle for method in settled):
        images = split.take(np.arange(min(CALIBRATION, len(split))))
        calibrate_(model, torch.from_numpy(images.inputs()), family=stage.settle)


def shrink_(model: nn.Module, how: Shrink, split: Split) -> None:
    """Cut channels out of `model`, in place. Raises as `shrink` does."""
    shown = split.take(np.arange(min(CALIBRATION, len(split))))
    images, labels = torch.from_numpy(shown.inputs()), torch.from_numpy(shown.labels).long()
    if how.saliency == "taylor":
        was_training = model.training
        model.eval().zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        model.train(was_training)
    small = shrink(model, example=images[:1], **{item.name: getattr(how, item.name) for item in fields(how)})
    model.zero_grad()
    # The caller's module stays the one that is trained: it takes over the parts of the smaller one.
    vars(model).update(vars(small))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class _State:
    """Where a run stands, and its files: ``reference.safetensors`` (the dense network), ``state.safetensors`` (the
    rest).
    """

    def __init__(self, recipe: Recipe, model: nn.Module, work: Path | None, *, identity: str, split: Split) -> None:
        self.recipe, self.model, self.work, self.identity, self.split = recipe, model, work, identity, split
        self.stage = self.epoch = 0
        self.reference: nn.Module | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.accuracies: list[tuple[str, float]] = []
        self._restored: dict[str, Any] = {}
        self._tensors: dict[str, Tensor] = {}

    def open(self) -> None:
        """Pick up the last checkpoint, if there is one."""
        if self.work is None:
            return
        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / "state.safetensors"
        if not path.exists():
            return
        self._tensors, facts = checkpoint.load(path)
        if facts.get("identity") != self.identity:
            raise RecipeError(
                f"{self.work} holds the checkpoints of another recipe, network or data set; "
                "delete that folder or name another with --work"
            )
        try:
            self.stage, self.epoch = int(facts["stage"]), int(facts["epoch"])
            self.accuracies = [(str(name), float(value)) for name, value in facts["accuracies"]]
            self._restored = facts
            if facts["compressed"]:
                self._take_reference(restore=True)
            self._load_model()
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise FormatError(f"checkpoint {path} is damaged ({error}); delete {self.work} to start again") from error

    def begin(self, stage: Stage) -> Schedule | None:
        """Settle what the stage settles, build its schedule and optimizer, and put a checkpoint's state into them."""
        resuming = self.epoch > 0
        schedule: Schedule | None = None
        if stage.settle:
            if self.reference is None:
                self._take_reference(restore=False)
            elif not resuming and _look_in(self.model, stage.settle):
                inform_(self.model, self._shown())  # the network has been trained since it was looked at
            schedule = self._settle(stage)
        self.optimizer = optimizer_for(self.model, stage)
        if resuming:
            self._load_model()  # again: settling has just reset masks and codes
            checkpoint.restore_optimizer(self.optimizer, self._tensors)
            if schedule is not None:
                schedule.load_state_dict(self._restored["schedule"])
        self._tensors = {}
        return schedule

    def finish(self) -> None:
        """Close the current stage."""
        self.stage, self.epoch = self.stage + 1, 0
        self.save(epoch=0, optimizer=None, schedule=None)

    def save(self, *, epoch: int, optimizer: torch.optim.Optimizer | None, schedule: Schedule | None) -> None:
        """Write a checkpoint."""
        if self.work is None:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if optimizer is not None:
            tensors |= checkpoint.optimizer_tensors(optimizer)
        facts = {
            "identity": self.identity,
            "stage": self.stage,
            "epoch": epoch,
            "compressed": self.reference is not None,
            "schedule": schedule.state_dict() if schedule is not None else {},
            "accuracies": self.accuracies,
        }
        checkpoint.save(self.work / "state.safetensors", tensors, facts)

    def _take_reference(self, *, restore: bool) -> None:
        """Remember the dense network (the teacher, and what ratios compare with), then register the methods, asleep."""
        path = self.work / "reference.safetensors" if self.work is not None else None
        if restore and path is not None:
            tensors, _ = checkpoint.load(path)
            self.model.load_state_dict(tensors)
        elif path is not None:
            checkpoint.save(path, self.model.state_dict(), {"identity": self.identity})
        self.reference = baked_copy(self.model).eval()
        if self.recipe.shrink is not None:
            shrink_(self.model, self.recipe.shrink, self.split)
        self._prepare()
        inputs = None
        if structures(self.model, self.recipe) or _looks(self.model, self.recipe):
            inputs = self._shown()
        compress_(self.model, self.recipe, inputs=inputs)
        for _, members in groups(self.model):
            members[0].parametrization.method.settle(members, 0.0)

    def _shown(self) -> Tensor:
        """What methods look at: the first training images."""
        return torch.from_numpy(self.split.take(np.arange(min(CALIBRATION, len(self.split)))).inputs())

    def _prepare(self) -> None:
        """What the first stage that settles wants done to the network before methods go onto it."""
        how = next((stage.prepare for stage in self.recipe.stages if stage.settle), "")
        example = torch.from_numpy(self.split.take(np.arange(1)).inputs())
        if how:
            fold_batch_norms_(self.model, example)
        if how == "equalise":
            equalise_(self.model, example)

    def _load_model(self) -> None:
        prefix = "model."
        state = {name.removeprefix(prefix): t for name, t in self._tensors.items() if name.startswith(prefix)}
        self.model.load_state_dict(state)

    def _settle(self, stage: Stage) -> Schedule | None:
        chosen = [
            members for _, members in groups(self.model) if members[0].parametrization.method.family == stage.settle
        ]
        steps = self._steps(stage)
        if stage.settle == "prune" and stage.schedule == "cubic":
            return Cubic(self.model, round(stage.ramp * steps), every=EVERY, wake=False)
        if stage.settle == "prune" and stage.schedule == "iterative":
            return Iterative(self.model, steps, rounds=stage.rounds, wake=False)
        for members in chosen:
            members[0].parametrization.method.settle(members, 1.0)
        return None

    def _steps(self, stage: Stage) -> int:
        return stage.epochs * max(1, len(self.split) // min(stage.batch, len(self.split)))


class _Clock:
    """Time left, from the pace so far: an epoch of any stage is taken to last as long as the mean of those done."""

    def __init__(self, stages: list[Stage], stage: int, epoch: int) -> None:
        self.stages, self.began = stages, time.monotonic()
        self.start = sum(s.epochs for s in stages[:stage]) + epoch

    def left(self, stage: int, epoch: int) -> float:
        """Seconds left after `epoch` epochs of stage `stage`."""
        done = sum(s.epochs for s in self.stages[:stage]) + epoch
        pace = (time.monotonic() - self.began) / max(1, done - self.start)
        return pace * (sum(s.epochs for s in self.stages) - done)


def _stages(recipe: Recipe, *, trained: bool) -> list[Stage]:
    stages = list(recipe.stages)
    while trained and stages and not stages[0].settle:
        del stages[0]
    if not stages:
        raise RecipeError('the recipe has no stage to run; add [[stage]] tables (settle = "prune", epochs = ...)')
    return stages


def _looks(model: nn.Module, recipe: Recipe) -> bool:
    """Whether a method of the recipe looks at the network before it settles."""
    methods = (parametrization.method for _, parametrization in plan(model, recipe))
    return any(isinstance(method, Informed) and method.looks for method in methods)


def _look_in(model: nn.Module, family: str) -> bool:
    """Whether a method on `model`, of this family, looks at the network before it settles."""
    methods = (members[0].parametrization.method for _, members in groups(model))
    return any(isinstance(each, Informed) and each.looks and each.family == family for each in methods)


def _check_fit(recipe: Recipe, model: nn.Module, stages: list[Stage], dataset: Dataset) -> None:
    """Find out now, not after hours of dense training, that the recipe does not fit the model."""
    families = {parametrization.method.family for _, parametrization in plan(model, recipe)}
    families |= {method.family for method, _ in structures(model, recipe)}
    if recipe.shrink is not None:
        families.add("shrink")
        shrink_(copy.deepcopy(model), replace(recipe.shrink, saliency="random"), dataset.train)
    for stage in stages:
        if stage.settle and stage.settle not in families:
            raise RecipeError(
                f"a stage settles {stage.settle!r}, but every rule with such a method is hidden by one before it"
            )


def _identity(recipe: Recipe, model: nn.Module, dataset: Dataset, *, trained: bool, count: int) -> str:
    """A digest of everything that decides the result, so that a checkpoint is never continued under another run."""
    digest = hashlib.sha256()
    digest.update(repr((recipe.to_toml(), trained, count, dataset.train.images.shape)).encode())
    digest.update(dataset.train.images.tobytes())
    digest.update(dataset.train.labels.tobytes())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
