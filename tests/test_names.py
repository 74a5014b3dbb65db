"""The public names of the package."""

import lissome as ls


def test_all_lists_every_lazy_name():
    """__all__ is written out for type checkers, and says exactly what resolves."""
    assert sorted(ls.__all__) == sorted(["__version__", *ls._HOME, *ls._MODULES])
    assert all(getattr(ls, name) is not None for name in ls.__all__)


def test_at_most_thirty_names():
    """The surface stays small."""
    assert len(ls.__all__) <= 30
