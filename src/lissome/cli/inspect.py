"""lissome inspect: where the bytes of a packed file went."""

from __future__ import annotations

from typing import Annotated

import typer

import lissome as ls
from lissome.cli.console import Json, Packed


def inspect(
    file: Packed,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Pack again and say whether the same bytes come out.")
    ] = False,
    json: Json = False,
) -> None:
    """Show per layer: shape, density, codebook, bytes and bits; every checksum and limit is checked on the way."""
    found = ls.inspect(file, verify=verify)
    print(found.to_json() if json else found.table())
