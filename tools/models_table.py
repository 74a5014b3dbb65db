"""Prints the table of docs/models.md: each network's own figures beside the published ones. --write puts it there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import lissome as ls
from lissome import models

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/models.md"
BEGIN, END = "<!-- table: tools/models_table.py -->\n", "<!-- end of table -->\n"
sys.path.insert(0, str(ROOT / "tests/models"))
from published import FIGURES, NAMES  # noqa: E402, the data of the tests


def table() -> str:
    """One line a network, as Markdown."""
    lines = [
        "| network | input | parameters | published | multiply-adds | published | figures from | weights of |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for name in models.names():
        found, published = ls.profile(name), FIGURES[name]
        (shape,) = found.inputs.values()
        source = published.source + (f"; {published.note}" if published.note else "")
        cells = (
            f"`{name}`",
            "×".join(map(str, shape[1:])),
            f"{found.parameters:,}",
            published.parameters,
            f"{found.macs:,}",
            published.macs,
            source,
            NAMES.get(name, ("",))[0],
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/models.md instead of printing")
    if not parser.parse_args().write:
        sys.stdout.write(table())
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
