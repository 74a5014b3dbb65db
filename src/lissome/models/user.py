"""Networks by the text that a command line gives: a name from models/, or a function of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from lissome.errors import LissomeError
from lissome.models import build, names


def resolve(spec: str) -> nn.Module:
    """The network that `spec` names: a name that `build` knows, ``package.module:function`` or ``file.py:function``.

    The function takes no arguments and returns a torch module. Naming a module or a file runs it.
    Raises LissomeError when there is no such thing, or the function returns something else.
    """
    if spec in names():
        return build(spec)
    home, colon, function = spec.rpartition(":")
    if not colon:
        known = ", ".join(names())
        raise LissomeError(
            f"unknown network {spec!r}; known: {known}; or name your own: module:function, file.py:function"
        )
    module = _from_file(Path(home)) if home.endswith(".py") else _from_name(home)
    make = getattr(module, function, None)
    if not callable(make):
        raise LissomeError(f"{home} has no function {function!r}; it has: {', '.join(_functions(module)) or 'none'}")
    model = make()
    if not isinstance(model, nn.Module):
        raise LissomeError(f"{spec} returned a {type(model).__name__}, not a torch.nn.Module")
    return model


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LissomeError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise LissomeError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # torch and dataclasses look a class's module up there
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise LissomeError(
                f"there is no module {name!r} (looked in the current folder and Python's path)"
            ) from error
        raise


def _functions(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
