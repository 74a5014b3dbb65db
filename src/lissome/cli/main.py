"""Entry of the command: turns every failure into one clear message and an exit code.

0: done. 1: the work failed. 2: wrong usage, or something is not installed. 130: interrupted. Never a traceback, unless
--debug asks for it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Final, NoReturn

from lissome.errors import LissomeError, MissingExtra, RecipeError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

_EXTRAS: Final = {
    "typer": "cli",
    "rich": "cli",
    "onnx": "onnx",
    "torch": "train",
    "safetensors": "train",
    "sklearn": "train",
    "pooch": "train",
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (default: sys.argv) and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run([argument for argument in given if argument != "--debug"], debug="--debug" in given))


def run(arguments: Sequence[str], *, debug: bool = False) -> int:
    """Run one command and return its exit code."""
    try:
        from lissome.cli.app import execute

        code = execute(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = _explain(error, arguments)
        print(f"lissome: {message}", file=sys.stderr)
    if code == INTERRUPTED:
        print(
            "lissome: interrupted; the same command goes on from the last checkpoint, if it keeps any", file=sys.stderr
        )
    return code


def _explain(error: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    """One message and the exit code for an error."""
    verb = next((f"lissome {argument}" for argument in arguments if not argument.startswith("-")), "lissome")
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, LissomeError):
        module = (error.name or "").partition(".")[0]
        if module in _EXTRAS:
            return str(MissingExtra.of(module, extra=_EXTRAS[module], needed_by=verb)), USAGE
    if isinstance(error, RecipeError | MissingExtra):
        return str(error), USAGE
    if isinstance(error, LissomeError):
        return str(error), FAILED
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", FAILED
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # typer's and click's own errors, whichever of the two this typer raises
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else verb
        return f"{format_message()} (see {path} --help)", USAGE
    return f"unexpected {type(error).__name__}: {error} (--debug shows where; please report it)", FAILED
