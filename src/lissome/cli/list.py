"""lissome list: what there is to choose from."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import typer

from lissome import data, hardware, models
from lissome.cli.console import Json, print_json
from lissome.pack import choose


def _methods() -> list[str]:
    from lissome.compress.recipe import FAMILIES

    return [f"{family}.{name}" for family in FAMILIES for name in _public(f"lissome.compress.{family}")]


def _public(module: str) -> list[str]:
    names: list[str] = importlib.import_module(module).__all__
    return sorted(names)


class What(StrEnum):
    """What can be listed."""

    models = "models"
    methods = "methods"
    coders = "coders"
    datasets = "datasets"
    hardware = "hardware"


_TABLE: Final[dict[What, Callable[[], list[str]]]] = {
    What.models: lambda: [*models.names()],
    What.methods: _methods,
    What.coders: lambda: [choose.AUTO, *(profile.name for profile in choose.PROFILES)],
    What.datasets: lambda: [*data.names()],
    What.hardware: lambda: [*hardware.names(), "this"],
}


def list_(
    what: Annotated[What | None, typer.Argument(help="Default: everything.")] = None, *, json: Json = False
) -> None:
    """List networks, compression methods, entropy coders, data sets and machines to simulate."""
    found = {str(key): _TABLE[key]() for key in ([what] if what else _TABLE)}
    if json:
        print_json(found)
        return
    for key, names in found.items():
        print(f"{key}: {', '.join(names)}")
