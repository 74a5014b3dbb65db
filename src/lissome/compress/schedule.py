"""When methods take hold: schedules that raise pruning strength step by step, beside any optimizer and training loop.

    ramp = schedule.Cubic(model, end_step=2_000)
    for x, y in batches:
        ...; optimizer.step(); ramp.step()

A schedule starts by taking the model's pruning back to zero and by putting later methods (weight sharing) to sleep;
when its last step is reached, pruning stands at full strength and the later methods settle on the weights as they are
then. With ``wake=False`` they sleep on: the caller settles them in a stage of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn

from lissome.compress.apply import groups
from lissome.errors import RecipeError


class Schedule(ABC):
    """Base: `step()` after every optimizer step; subclasses say the strength at each step.

    Raises RecipeError when the model carries no method of the family that the schedule drives, or for an impossible
    range.
    """

    family = "prune"

    def __init__(
        self, model: nn.Module, end_step: int, *, begin_step: int = 0, every: int = 1, wake: bool = True
    ) -> None:
        if not 0 <= begin_step <= end_step or every < 1:
            raise RecipeError(
                f"a schedule needs 0 <= begin_step <= end_step and every >= 1, not {begin_step}, {end_step}, {every}"
            )
        self.begin_step, self.end_step, self.every, self.wake = begin_step, end_step, every, wake
        everything = [members for _, members in groups(model)]
        self._own = [members for members in everything if self._method(members).family == self.family]
        self._others = [members for members in everything if self._method(members).family != self.family]
        if not self._own:
            raise RecipeError(f"the model carries no {self.family} method to schedule: call compress_ first")
        self.steps = 0
        self.strength = 0.0
        self._settle(self._own, 0.0)
        self._settle(self._others, 0.0)
        self._advance()

    @abstractmethod
    def fraction(self, progress: float) -> float:
        """Strength in [0, 1] at `progress` in [0, 1] through the schedule's range."""

    def step(self) -> None:
        """Count one optimizer step, and settle anew where the schedule says so."""
        self.steps += 1
        self._advance()

    @property
    def done(self) -> bool:
        """Whether full strength has been reached."""
        return self.strength >= 1.0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on; masks and codes are in the model's own state_dict."""
        return {"steps": self.steps, "strength": self.strength}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; load the model's state_dict after the schedule is built."""
        self.steps, self.strength = int(state["steps"]), float(state["strength"])

    def _advance(self) -> None:
        if not self.begin_step <= self.steps <= self.end_step:
            return
        last = self.steps == self.end_step
        if not last and (self.steps - self.begin_step) % self.every:
            return
        span = self.end_step - self.begin_step
        strength = 1.0 if last else self.fraction((self.steps - self.begin_step) / span)
        if strength > self.strength:
            self.strength = strength
            self._settle(self._own, strength)
        if last and self.wake:
            self._settle(self._others, 1.0)

    def _settle(self, chosen: list[list[Any]], strength: float) -> None:
        for members in chosen:
            self._method(members).settle(members, strength)

    @staticmethod
    def _method(members: list[Any]) -> Any:
        return members[0].parametrization.method


class OneShot(Schedule):
    """Full strength at `end_step` and nothing before."""

    def fraction(self, progress: float) -> float:
        return float(progress >= 1.0)


class Iterative(Schedule):
    """Strength rises in `rounds` equal steps, each followed by its share of the training: train, prune, retrain, again
    (Han et al., NIPS 2015, section 3). The first step is taken at `begin_step`, the last one round before `end_step`.
    """

    def __init__(self, model: nn.Module, end_step: int, *, rounds: int, begin_step: int = 0, wake: bool = True) -> None:
        if rounds < 1:
            raise RecipeError(f"rounds is 1 or more, not {rounds}")
        self.rounds = rounds
        super().__init__(model, end_step, begin_step=begin_step, wake=wake)

    def fraction(self, progress: float) -> float:
        # A round that begins at this very step must not be missed by a rounding of the division.
        return min(1.0, (int(progress * self.rounds + 1e-9) + 1) / self.rounds)


class Cubic(Schedule):
    """Strength 1 − (1 − t)³ (Zhu and Gupta 2017, "To prune, or not to prune", equation 1), settled every `every`
    steps.
    """

    def fraction(self, progress: float) -> float:
        return 1.0 - (1.0 - progress) ** 3
