"""What the verbs share: options, tables and JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lissome import data

if TYPE_CHECKING:
    from lissome.train.pipeline import Progress as State

Packed: TypeAlias = Annotated[Path, typer.Argument(help="A packed .liss file.", exists=True, dir_okay=False)]
Data: TypeAlias = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of the data set's files (else LISSOME_DATA, else downloaded).", exists=True),
]
DataName: TypeAlias = Annotated[str, typer.Option("--dataset", help=f"One of: {', '.join(data.names())}.")]
Threads: TypeAlias = Annotated[
    int | None, typer.Option("--threads", min=1, max=1024, help="Threads (default: all processor cores).")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(plain: Any) -> None:
    """Plain data as JSON on standard output."""
    print(json.dumps(plain, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; the first column reads left, numbers right. Never cut, whatever the terminal."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    wanted = console.measure(table, options=console.options.update(width=10_000)).maximum
    console.width = max(console.width, wanted)  # print() takes no width beyond the console's own
    console.print(table, crop=False, soft_wrap=True)


class Shown(Protocol):
    """Shows where a run is."""

    def __call__(self, state: State) -> None: ...


@contextmanager
def progress() -> Iterator[Shown]:
    """A bar with the time left on standard error; one line an epoch where that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda state: print(f"{_words(state)}, {_clock(state.left_s)} left", file=sys.stderr, flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]} left"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None, left="?")

        def show(state: State) -> None:
            bar.update(
                task, description=_words(state), total=state.epochs, completed=state.epoch, left=_clock(state.left_s)
            )

        yield show


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar over `total` things, with the time left; one line a thing where standard error is no terminal."""
    console, done, began = Console(stderr=True), 0, time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True
    )
    task = bar.add_task(what, total=total)

    def advance(name: str) -> None:
        nonlocal done
        done += 1
        if console.is_terminal:
            bar.update(task, description=f"{what} {name}", advance=1)
        else:
            left = (time.monotonic() - began) / done * (total - done)
            print(f"{what} {done}/{total}: {name}, {_clock(left)} left", file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield advance
        return
    with bar:
        yield advance


def _words(state: State) -> str:
    return (
        f"{state.name} ({state.stage}/{state.stages}) epoch {state.epoch}/{state.epochs}: "
        f"loss {state.loss:.4f}, validation {state.accuracy:.2f} %"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
