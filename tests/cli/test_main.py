"""Every failure of the command is one clear message and the right exit code."""

import subprocess
import sys

import pytest

from lissome import errors
from lissome.cli import app, main
from lissome.cli.main import FAILED, INTERRUPTED, USAGE

VERBS = ("demo", "compress", "inspect", "run", "evaluate", "list")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(lissome, verb):
    """--help explains the verb and exits 0; every verb can speak JSON."""
    result = lissome(verb, "--help")
    assert (result.code, result.err) == (0, "")
    assert "--json" in result.out


def test_compress_help_warns_that_naming_a_file_runs_it(lissome):
    """A file of the user's own is executed, and --help says so."""
    assert "runs it" in " ".join(lissome("compress", "--help").out.split())


def test_version(lissome):
    """--version prints the version and exits 0."""
    result = lissome("--version")
    assert (result.code, result.out) == (0, "lissome 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["comprese"], "No such command 'comprese'"),
        (["inspect"], "Missing argument"),
        (["inspect", "absent.liss"], "does not exist"),
        (["list", "kernels"], "kernels"),
        (["evaluate", "--threads", "0", __file__], "Invalid value for '--threads'"),
        (["compress", "lenet-5", "--recipe", __file__, "-o", "x", "--coder", "zip"], "zip"),
        (["demo", "--colour"], "No such option"),
    ],
)
def test_wrong_usage_is_one_line_with_a_hint(lissome, arguments, message):
    """A user's mistake exits 2 with one line that says what is wrong and where help is; standard output stays empty."""
    result = lissome(*arguments)
    assert (result.code, result.out) == (USAGE, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert "--help)" in result.err


RAISED = [
    (errors.RecipeError("rule 1 is wrong"), USAGE, "rule 1 is wrong"),
    (errors.MissingExtra.of("torch", extra="train", needed_by="x"), USAGE, "pip install 'lissome[train]'"),
    (ModuleNotFoundError("No module named 'torch'", name="torch"), USAGE, "lissome list needs torch"),
    (ModuleNotFoundError("No module named 'safetensors.torch'", name="safetensors.torch"), USAGE, "lissome[train]"),
    (errors.FormatError("bad file"), FAILED, "bad file"),
    (errors.DataError("no files"), FAILED, "no files"),
    (OSError(28, "No space left on device", "out.liss"), FAILED, "out.liss: No space left on device"),
    (errors.TrainingError("training diverged: the loss is nan"), FAILED, "training diverged: the loss is nan"),
    (ZeroDivisionError("oops"), FAILED, "unexpected ZeroDivisionError: oops (--debug"),
    (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
]


@pytest.mark.parametrize(("error", "code", "message"), RAISED, ids=lambda value: type(value).__name__)
def test_errors_of_the_work(lissome, monkeypatch, error, code, message):
    """Whatever the work raises becomes one message on standard error and the promised exit code."""

    def fail(_):
        raise error

    monkeypatch.setattr(app, "execute", fail)
    result = lissome("list")
    assert (result.code, result.out) == (code, "")
    assert message in result.err


def test_debug_shows_the_traceback(monkeypatch, capsys):
    """--debug, anywhere on the line, prints the traceback before the message."""

    def fail(arguments):
        assert "--debug" not in arguments
        raise errors.FormatError("bad file")

    monkeypatch.setattr(app, "execute", fail)
    with pytest.raises(SystemExit) as exit_:
        main.main(["list", "--debug"])
    assert exit_.value.code == FAILED
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("lissome: bad file\n")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_cli_extra(missing):
    """With typer or rich not installed the command says how to install it and exits 2."""
    program = f"import sys; sys.modules[{missing!r}] = None; from lissome.cli.main import main; main(['list'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr == f"lissome: lissome list needs {missing}, which is not installed: pip install 'lissome[cli]'\n"


def test_python_dash_m():
    """`python -m lissome` is the same command."""
    done = subprocess.run([sys.executable, "-m", "lissome", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lissome ")
