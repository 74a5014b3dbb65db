"""Checkpoints: tensors in safetensors, facts in their metadata; written whole or not at all; never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from lissome.errors import FormatError
from lissome.files import write_atomic


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors (any device) and JSON-able facts to `path`, whole or not at all.

    Raises OSError naming `path`, for a full disk say; what was there before is untouched then.
    """
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    write_atomic(path, to_bytes(plain, metadata={"lissome": json.dumps(facts, sort_keys=True)}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save` wrote. Raises FormatError when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as handle:
            facts = dict(json.loads((handle.metadata() or {})["lissome"]))
            return {name: handle.get_tensor(name) for name in handle.keys()}, facts  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"checkpoint {path} is missing or damaged ({error}); delete {path.parent} to start again"
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: ``optimizer.<parameter>.<entry>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{key}": torch.as_tensor(value)
        for index, entry in state.items()
        for key, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took.

    State of a parameter's shape gets its memory layout too: layouts are added up by different code, whose last bits may
    differ.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            like = parameters[int(number)]
            fits = tensor.shape == like.shape
            placed = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor) if fits else tensor
            state.setdefault(int(number), {})[key] = placed
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
