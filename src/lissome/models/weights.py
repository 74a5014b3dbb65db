"""Published weights: files of safetensors, or of torch's own, into a network."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import nn

from lissome.errors import WeightError

_SHOWN: Final = 50  # problems that an error lists


def load_weights_(model: nn.Module, path: Path) -> None:
    """Put the tensors of a file into `model`, in place.

    path: safetensors, when it ends so; else a state dict that torch.save wrote, alone or under the key "state_dict".
    Nothing but tensors is unpickled. Names that only training used (a network's `training_only`) are left out, names
    of an older form of a network (its `former_names`) are understood, and counters of batches may be missing.
    Raises WeightError naming what is missing, unknown, of another shape or not finite, or a file that cannot be read.
    """
    found = _named(model, _read(path))
    wanted = model.state_dict()
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    problems = [f"{name} is missing" for name in needed if name not in found]
    problems += [f"{name} is not in {type(model).__name__}" for name in found if name not in wanted]
    for name, value in found.items():
        if name in wanted and value.shape != wanted[name].shape:
            problems.append(f"{name} is {tuple(value.shape)}, not {tuple(wanted[name].shape)}")
        elif name in wanted and value.is_floating_point() != wanted[name].is_floating_point():
            problems.append(f"{name} is {value.dtype}, not {wanted[name].dtype}")
        if not torch.isfinite(value).all():
            problems.append(f"{name} holds NaN or infinity")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WeightError(f"{path}: {'; '.join(problems[:_SHOWN])}{more}")
    model.load_state_dict({**wanted, **found})


def _named(model: nn.Module, found: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that the network has today, by today's names."""
    skipped: tuple[str, ...] = getattr(model, "training_only", ())
    former, today = getattr(model, "former_names", (r"(?!)", ""))  # a pattern that fits nothing
    return {re.sub(former, today, name): value for name, value in found.items() if not name.startswith(skipped)}


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about the pickle protocol; what cannot be read is an error here
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # whatever unpickling a damaged or hostile file raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightError(f"{path}: not a file of tensors that torch.save wrote ({reason})") from error
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()
    ):
        raise WeightError(f"{path}: holds no state dict, that is tensors by name")
    return found


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightError(f"{path}: not a readable safetensors file ({error})") from error
    return found
