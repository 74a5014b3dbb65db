"""lissome compress and lissome demo: the whole way, and what goes wrong on it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lissome as ls
from lissome.cli.main import FAILED, USAGE
from lissome.models.user import resolve

RECIPE = """
seed = 3

[[rule]]
select = "*"
methods = [
  { use = "prune.Magnitude", sparsity = 0.8 },
  { use = "share.KMeans", bits = 3 },
]

[[stage]]
epochs = 8
batch = 32

[[stage]]
settle = "prune"
epochs = 4
batch = 32

[[stage]]
settle = "share"
epochs = 2
batch = 32
"""

NETWORK = """
from torch import nn

def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))

def unsupported():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.GroupNorm(4, 16), nn.Linear(16, 10))

def nothing():
    return 3
"""


@pytest.fixture
def workspace(elsewhere):
    """A folder with a recipe and a network of the user's own."""
    (elsewhere / "recipe.toml").write_text(RECIPE)
    (elsewhere / "mine.py").write_text(NETWORK)
    return elsewhere


def compress(lissome, net, *more):
    """Compress `net` on the digits into out.liss, on one thread."""
    options = ("--recipe", "recipe.toml", "--dataset", "digits", "--threads", 1, "-o", "out.liss")
    return lissome("compress", net, *options, *more)


def test_a_network_of_the_users_own(lissome, workspace):
    """file.py:function is trained, pruned, shared and packed; JSON goes to standard output, progress to the other."""
    result = compress(lissome, "mine.py:small", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["packed"]["bytes"] == (workspace / "out.liss").stat().st_size
    assert found["packed"]["ratio"] > 10
    assert found["original"]["top1"] > 60
    assert found["packed"]["top1"] > 60
    assert [stage["stage"] for stage in found["stages"]][-2:] == ["prune", "share"]
    assert "share (3/3) epoch 2/2" in result.err
    net = ls.load("out.liss")
    assert net.weights["1.weight"].nnz == round(0.2 * 784 * 16)
    assert ls.Recipe.from_toml(net.recipe) == ls.Recipe.load("recipe.toml")
    assert not (workspace / "out.liss.work").exists()


def test_the_same_command_gives_the_same_file(lissome, workspace):
    """Equal seeds give equal bytes, also for a network named as module:function; another seed gives others."""
    made = []
    for net, seed in (("mine.py:small", 3), ("mine:small", 3), ("mine.py:small", 4)):
        result = compress(lissome, net, "--seed", seed)
        assert result.code == 0, result.err
        assert "float32 original" in result.out
        made.append((workspace / "out.liss").read_bytes())
    assert made[0] == made[1] != made[2]


def test_given_weights_are_not_trained_again(lissome, workspace):
    """--weights starts from a safetensors file: the first, dense stage is left out."""
    torch.manual_seed(0)
    save_file(resolve("mine.py:small").state_dict(), "start.safetensors")
    result = compress(lissome, "mine.py:small", "--weights", "start.safetensors", "--work", "kept")
    assert result.code == 0, result.err
    assert "train (" not in result.err
    assert "prune (1/2) epoch 1/4" in result.err
    assert (workspace / "kept" / "state.safetensors").exists()


def test_weights_that_do_not_fit(lissome, workspace):
    """Missing, unknown, misshapen and not finite tensors are all named in one message, before any training."""
    state = resolve("mine.py:small").state_dict()
    state["1.bias"] = state["1.bias"][:3].clone()
    state["3.weight"] = torch.full_like(state["3.weight"], np.nan)
    state["extra"] = state.pop("3.bias")
    save_file(state, "bad.safetensors")
    result = compress(lissome, "mine.py:small", "--weights", "bad.safetensors")
    assert result.code == FAILED
    for part in ("3.bias is missing", "extra is not in Sequential", "1.bias is (3,), not (16,)", "3.weight holds NaN"):
        assert part in result.err
    assert not (workspace / "out.liss").exists()


@pytest.mark.parametrize(
    ("net", "code", "message"),
    [
        ("lenet", FAILED, "or name your own"),
        ("mine.py:absent", FAILED, "mine.py has no function 'absent'; it has: small, unsupported, nothing"),
        ("mine.py:nothing", FAILED, "returned a int, not a torch.nn.Module"),
        ("nowhere.py:net", FAILED, "there is no file nowhere.py"),
        ("nowhere:net", FAILED, "there is no module 'nowhere'"),
        ("mine.py:unsupported", FAILED, "group_norm.default, layer '2'"),
    ],
)
def test_a_network_that_cannot_be_used(lissome, workspace, net, code, message):
    """Each is one message, before any training, and nothing is written."""
    result = compress(lissome, net)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert not list(workspace.glob("out.liss*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('select = "*"', 'select = "fc9"'), "fc9"),
        (("sparsity = 0.8", "sparsity = 1.5"), "sparsity is a share in [0, 1)"),
        (("prune.Magnitude", "prune.Magic"), "unknown method 'prune.Magic'"),
        (("seed = 3", "seed = "), "not TOML"),
    ],
)
def test_a_wrong_recipe(lissome, workspace, change, message):
    """A recipe that cannot be applied is wrong usage: exit 2 and one message."""
    (workspace / "recipe.toml").write_text(RECIPE.replace(*change))
    result = compress(lissome, "mine.py:small")
    assert (result.code, result.out) == (USAGE, "")
    assert message in result.err


@pytest.mark.usefixtures("workspace")
def test_an_output_folder_that_is_not_there(lissome):
    """It is said before the training, not after it."""
    result = compress(lissome, "mine.py:small", "-o", "nowhere/out.liss")
    assert result.code == USAGE
    assert "there is no folder nowhere" in result.err


@pytest.mark.slow
def test_demo(lissome, elsewhere):
    """The demo needs no files, ends above 93 % on the digits at over 80 times smaller, and keeps its file on -o."""
    result = lissome("demo", "--threads", 1, "--json", "-o", "demo.liss")
    assert result.code == 0, result.err
    rows = {row["stage"]: row for row in json.loads(result.out)["stages"]}
    original, last = rows["float32 original"], rows["shared; coder small"]
    assert last["bytes"] == (elsewhere / "demo.liss").stat().st_size
    assert last["ratio"] > 80
    assert last["top1"] > 93
    assert last["top1"] > original["top1"] - 1.5
    order = [rows[name]["bytes"] for name in ("shared; coder huffman", "pruned, retrained", "float32 original")]
    assert [last["bytes"], *order] == sorted({last["bytes"], *order})
