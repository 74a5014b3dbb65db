"""The packed LeNets in examples/packed are what the README says of them: bytes of the file, accuracy by the engine."""

from pathlib import Path

import pytest

import lissome as ls
from lissome import data
from lissome.errors import DataError
from lissome.evaluate import evaluate
from lissome.pack.container import pack

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
#: the best networks as `lissome compress` freezes them, before it arranges their units
AS_TRAINED = Path(__file__).parent / "as_trained"

#: file: most bytes, least top-1 in percent (for the paper's own coding those of Han et al., ICLR 2016, table 1)
PACKED = {
    "lenet-300-100-paper": (27_000, 98.42),
    "lenet-5-paper": (44_000, 99.26),
    "lenet-300-100-best": (1_066_440 // 300, 98.42),
    "lenet-5-best": (1_724_320 // 600, 99.26),
}


@pytest.fixture(scope="module")
def test_split():
    """The 10,000 test images of MNIST, from the folder beside the repository; never downloaded."""
    if not (SHARED / "mnist").is_dir():
        pytest.skip(f"no MNIST in {SHARED.name}/ beside the repository: accuracy cannot be measured")
    try:
        return data.load("mnist", SHARED).test
    except DataError as error:
        pytest.skip(str(error))


@pytest.mark.paper
@pytest.mark.parametrize("name", PACKED)
def test_bytes_and_accuracy(name, test_split):
    """The whole file is at most as large, and over the full test split at least as accurate, as claimed."""
    most_bytes, least_top1 = PACKED[name]
    found = evaluate(ROOT / "examples" / "packed" / f"{name}.liss", test_split, threads=1)
    assert found.images == 10_000
    assert found.bytes <= most_bytes
    assert found.top1 >= least_top1


@pytest.mark.paper
@pytest.mark.parametrize("name", PACKED)
def test_the_recipe_travels_in_the_file(name):
    """A packed file carries the recipe that made it, the same as in examples/recipes."""
    net = ls.load(ROOT / "examples" / "packed" / f"{name}.liss")
    assert ls.Recipe.from_toml(net.recipe) == ls.Recipe.load(ROOT / "examples" / "recipes" / f"{name}.toml")


@pytest.mark.paper
@pytest.mark.parametrize("network", ["lenet-300-100", "lenet-5"])
def test_context_models_beat_the_papers_coding_by_15_percent(network):
    """On the best networks as they were trained, small needs at least 15 % fewer bytes than the paper's coding."""
    net = ls.load(AS_TRAINED / f"{network}.liss")
    assert len(pack(net, "small")) <= 0.85 * len(pack(net, "huffman"))


@pytest.mark.paper
@pytest.mark.parametrize("network", ["lenet-300-100", "lenet-5"])
def test_arranging_gives_the_packed_file(network):
    """The packed file is the network as trained, without dead units and in the smallest order, to the byte."""
    net = ls.arrange(ls.load(AS_TRAINED / f"{network}.liss"))
    assert pack(net, "small") == (ROOT / "examples" / "packed" / f"{network}-best.liss").read_bytes()
