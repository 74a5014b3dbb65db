"""The packer's tests run the container with a plain coder in all three places, so that each part is judged alone."""

from __future__ import annotations

import sys

import plain_coder
import pytest

from lissome.pack import choose


@pytest.fixture
def plain(monkeypatch):
    """Put the plain test coder where huffman, fast and small are looked up."""
    for profile in choose.PROFILES:
        monkeypatch.setitem(sys.modules, profile.module, plain_coder)
