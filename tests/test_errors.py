"""Errors: one tree, as its module draws it, that callers can catch by the built-in kind or by lissome's own root."""

import doctest
import inspect
import pickle

import pytest

from lissome import errors

EVERY = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.LissomeError)]


def test_the_drawing_lists_every_error():
    """The tree at the top of the module names each class, and its 'also a' says what else it is."""
    drawn = {}
    for line in errors.__doc__.splitlines():
        words = line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()
        if words and hasattr(errors, words[0]):
            drawn[words[0]] = line.partition("(also a")[2].strip("n )") or None
    assert set(drawn) == {e.__name__ for e in EVERY}
    for error in EVERY:
        builtin = next((b.__name__ for b in error.__mro__ if b in (ValueError, ImportError)), None)
        assert drawn[error.__name__] == builtin


@pytest.mark.parametrize("error", EVERY, ids=lambda e: e.__name__)
def test_every_error_has_a_docstring_and_survives_a_process_boundary(error):
    """Each says when it is raised, keeps its message, and can be sent between processes."""
    raised = pickle.loads(pickle.dumps(error("what, where, remedy")))  # noqa: S301, made here
    assert error.__doc__
    assert type(raised) is error
    assert str(raised) == "what, where, remedy"


def test_examples_in_the_docstrings_are_true():
    """The examples of the module print what they say."""
    result = doctest.testmod(errors)
    assert result.attempted > 0
    assert result.failed == 0


def test_a_missing_extra_names_the_command_that_installs_it():
    """The message holds the caller, the module and the exact pip command."""
    error = errors.MissingExtra.of("rich", extra="cli", needed_by="lissome inspect")
    assert str(error) == "lissome inspect needs rich, which is not installed: pip install 'lissome[cli]'"
