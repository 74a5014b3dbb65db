"""The programs in examples/ run as a stranger would run them."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, *arguments):
    """Standard output of one example; fails with its standard error."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_own_loop_and_run_packed(tmp_path):
    """A loop of one's own makes a file at least 20 times smaller, and the file runs without torch."""
    path = str(tmp_path / "digits.liss")
    told = run("own_loop.py", path)
    assert int(told.rpartition(" times smaller")[0].rpartition(" ")[2]) >= 20
    assert "y: (4, 10)" in run("run_packed.py", path)


@pytest.mark.slow
def test_how_far():
    """More pruning makes a smaller file, row by row."""
    rows = run("how_far.py").splitlines()[1:]
    sizes = [int(row.split()[1].replace(",", "")) for row in rows]
    assert len(sizes) == 6
    assert sizes == sorted(sizes, reverse=True)
