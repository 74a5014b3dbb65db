"""Every exception lissome raises on purpose, one small tree.

    LissomeError
    ├── RecipeError      a recipe, rule or method that cannot be applied (also a ValueError)
    ├── TraceError       a torch module that cannot become a graph
    ├── GraphError       a graph that contradicts itself (also a ValueError)
    ├── WeightError      NaN, infinite or inconsistent weights (also a ValueError)
    ├── FormatError      a file that is damaged, hostile, truncated or of another version (also a ValueError)
    ├── LimitError       a file that needs more memory than the caller allows
    ├── TrainingError    a training run that diverged
    ├── UnsupportedShape a kernel or an engine that refuses a shape, dtype or operator (also a ValueError)
    ├── HardwareError    a machine with impossible figures, or a layer that does not fit it (also a ValueError)
    ├── DataError        a data set that is missing or damaged
    ├── NativeMissing    the compiled part of lissome is absent (also an ImportError)
    └── MissingExtra     an optional dependency is absent (also an ImportError)

A message says what was asked, what was found, and what to do about it, in that order.
"""

from __future__ import annotations


class LissomeError(Exception):
    """Base of all errors that lissome raises on purpose."""


class RecipeError(LissomeError, ValueError):
    """A recipe names an unknown layer or method, or a method cannot be applied to a weight."""


class TraceError(LissomeError):
    """A torch module uses something the graph cannot express; lists every offender."""


class GraphError(LissomeError, ValueError):
    """A graph is inconsistent: cycle, unknown tensor, wrong attribute or contradictory shapes."""


class WeightError(LissomeError, ValueError):
    """A weight holds NaN or infinity, or its parts contradict each other."""


class FormatError(LissomeError, ValueError):
    """A file is damaged, hostile, truncated or of a version this lissome does not read."""


class LimitError(LissomeError):
    """Reading a file would need more memory than the caller allows."""


class TrainingError(LissomeError):
    """A training run diverged: the loss became NaN or infinite."""


class UnsupportedShape(LissomeError, ValueError):
    """An engine or kernel refuses a shape, dtype or operator."""


class HardwareError(LissomeError, ValueError):
    """A machine of the hardware models has impossible figures, or a layer does not fit its memories."""


class DataError(LissomeError):
    """A data set is missing, incomplete or damaged."""


class NativeMissing(LissomeError, ImportError):
    """The compiled extension ``lissome._native`` cannot be imported."""


class MissingExtra(LissomeError, ImportError):
    """An optional dependency is not installed.

    >>> raise MissingExtra.of("torch", extra="train", needed_by="ls.freeze")
    Traceback (most recent call last):
    ...
    lissome.errors.MissingExtra: ls.freeze needs torch, which is not installed: pip install 'lissome[train]'
    """

    @classmethod
    def of(cls, module: str, *, extra: str, needed_by: str) -> MissingExtra:
        """The one wording for a missing optional dependency."""
        return cls(f"{needed_by} needs {module}, which is not installed: pip install 'lissome[{extra}]'")
