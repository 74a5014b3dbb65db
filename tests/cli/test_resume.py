"""After kill -9 the same command goes on, and gives the same file as a run that was left alone."""

import os
import signal
import subprocess
import sys

import pytest

from lissome.train import checkpoint

RECIPE = """
[[rule]]
select = "*"
methods = [{ use = "prune.Magnitude", sparsity = 0.9 }, { use = "share.KMeans", bits = 4 }]

[[stage]]
epochs = 3

[[stage]]
settle = "prune"
schedule = "cubic"
epochs = 4
distill = 0.5
shift = 1

[[stage]]
settle = "share"
epochs = 3
"""

# A network that kills its own process at a given call: somewhere within an epoch, and always at the same place.
NETWORK = """
import os, signal
import torch
from torch import nn

calls, limit = 0, int(os.environ["KILL_AT_CALL"])

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 32), nn.Linear(32, 10)

    def forward(self, x):
        global calls
        calls += 1
        if calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))
"""


def compress(folder, *, kill_at_call=0):
    """Run the command in `folder` on one thread, so that sums are taken in one order; returns its exit status."""
    options = ["--recipe", "../recipe.toml", "--dataset", "digits", "--threads", "1", "-o", "out.liss"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KILL_AT_CALL": str(kill_at_call)}
    arguments = [sys.executable, "-m", "lissome", "compress", "../net.py:Net", *options]
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, check=False).returncode


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_runs_end_in_the_same_bytes(tmp_path):
    """Killed while training, pruning and sharing, resumed each time: bit for bit the undisturbed file."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "net.py").write_text(NETWORK)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for folder in (calm, killed):
        folder.mkdir()
    assert compress(calm) == 0
    # An epoch has 10 steps and one validation, while distilling twice the steps: one kill in each stage.
    for stage, call in enumerate((28, 50, 83)):
        assert compress(killed, kill_at_call=call) == -signal.SIGKILL
        assert sorted(path.name for path in killed.iterdir()) == ["out.liss.work"]
        _, facts = checkpoint.load(killed / "out.liss.work" / "state.safetensors")
        assert facts["stage"] == stage
        assert facts["epoch"] > 0
    assert compress(killed) == 0
    assert (killed / "out.liss").read_bytes() == (calm / "out.liss").read_bytes()
    assert [path.name for path in killed.iterdir()] == ["out.liss"]
