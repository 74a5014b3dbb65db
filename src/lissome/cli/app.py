"""The verbs of the command. A new verb is one file and one line in `_VERBS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer

import lissome
from lissome.cli import compress, demo, evaluate, export, import_, inspect, list, map, profile, run, simulate, tune

_VERBS: Final[tuple[Callable[..., None], ...]] = (
    demo.demo,
    compress.compress,
    inspect.inspect,
    run.run,
    evaluate.evaluate,
    export.export,
    import_.import_,
    tune.tune,
    profile.profile,
    simulate.simulate,
    simulate.compare,
    map.map_,
    simulate.roofline,
    list.list_,
)

app = typer.Typer(
    name="lissome",
    help="Compress a trained network, pack it into one small file, run it from that file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _verb in _VERBS:
    app.command(_verb.__name__.rstrip("_"))(_verb)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"lissome {lissome.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    del version, debug  # main.py takes --debug off the line before this sees it


def execute(arguments: Sequence[str]) -> int:
    """Parse and run one command line; the errors of parsing and of the work are raised."""
    outcome: Any = app(args=[*arguments], prog_name="lissome", standalone_mode=False)
    return outcome if isinstance(outcome, int) else 0
