"""What each verb that works on a packed file prints and writes."""

import json

import numpy as np
import pytest

import lissome as ls
from lissome import data, models
from lissome.cli.main import FAILED, USAGE


def test_list_names_everything(lissome):
    """The table and the JSON list the same networks, methods, coders and data sets."""
    found = json.loads(lissome("list", "--json").out)
    assert found["models"] == [*models.names()]
    assert {"prune.Magnitude", "share.KMeans"} <= set(found["methods"])
    assert set(found["coders"]) == {"auto", "small", "fast", "huffman"}
    assert found["datasets"] == ["mnist", "fashion", "digits"]
    text = lissome("list").out
    assert all(name in text for names in found.values() for name in names)
    assert lissome("list", "models").out.startswith("models: lenet-300-100, lenet-5, alexnet, ")


def test_inspect(lissome, packed):
    """The table names every weight; JSON accounts for every byte; --verify says whether the bytes are lissome's own."""
    text = lissome("inspect", packed).out
    assert "fc.weight" in text
    assert "fc.bias" in text
    found = json.loads(lissome("inspect", packed, "--json", "--verify").out)
    assert found["total_bytes"] == packed.stat().st_size
    assert found["canonical"] is True


def test_profile(lissome, packed):
    """A file and a name give the same table; JSON holds its totals; a shape that is none is wrong usage."""
    text = lissome("profile", packed).out
    assert "total" in text
    found = json.loads(lissome("profile", "lenet-5", "--batch", "2", "--json").out)
    assert (found["parameters"], found["macs"]) == (431_080, 2 * 2_293_000)
    wrong = lissome("profile", "lenet-5", "--shape", "1x28xa")
    assert wrong.code == USAGE
    assert "'1x28xa' is not a shape such as 3x224x224" in wrong.err


def test_run(lissome, packed, tmp_path):
    """Output is the engine's result for the input file, written as .npy."""
    x = np.random.default_rng(1).random((3, 1, 28, 28), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    result = lissome("run", packed, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--threads", 1)
    assert (result.code, result.err) == (0, "")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), ls.compile(packed, threads=1)(x))


def test_run_by_names(lissome, packed, tmp_path):
    """An .npz holds inputs and outputs by name; --json says what was written."""
    x = np.ones((2, 1, 28, 28), np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    result = lissome("run", packed, "-i", tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--json")
    assert json.loads(result.out) == {"output": str(tmp_path / "y.npz"), "shapes": {"y": [2, 10]}}
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], ls.compile(packed)(x))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.ones((2, 784), np.float32), "found float32 of shape (2, 784)"),
        (np.ones((2, 1, 28, 28)), "use .astype('float32')"),
        (np.array([{"a": 1}], dtype=object), "plain numbers; write it with numpy.save"),
        (b"garbage", "plain numbers; write it with numpy.save"),
        (b"", "not a NumPy"),
    ],
    ids=["shape", "dtype", "pickle", "garbage", "empty"],
)
def test_run_with_a_wrong_input(lissome, packed, tmp_path, content, message):
    """A wrong input is one message and leaves no output file; a pickle is never opened."""
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    result = lissome("run", packed, "-i", path, "-o", tmp_path / "y.npy")
    assert (result.code, result.out) == (FAILED, "")
    assert message in result.err
    assert not (tmp_path / "y.npy").exists()


def test_an_enormous_npy_header_costs_no_memory(lissome, packed, tmp_path):
    """A header that claims a terabyte is refused by the file's real size."""
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 38,)})
    result = lissome("run", packed, "-i", path, "-o", tmp_path / "y.npy")
    assert result.code == FAILED
    assert "not a NumPy" in result.err


def test_run_into_a_folder_that_is_not_there(lissome, packed, tmp_path):
    """An output that cannot be written is one message naming it."""
    np.save(tmp_path / "x.npy", np.ones((1, 1, 28, 28), np.float32))
    result = lissome("run", packed, "-i", tmp_path / "x.npy", "-o", tmp_path / "nowhere" / "y.npy")
    assert result.code == FAILED
    assert "nowhere" in result.err


def test_evaluate(lissome, packed):
    """Accuracy is the engine's over the whole test split; bytes are the file's; the table says the same."""
    found = json.loads(lissome("evaluate", packed, "--dataset", "digits", "--threads", 1, "--json").out)
    split = data.load("digits").test
    right = ls.compile(packed, threads=1)(split.inputs()).argmax(1) == split.labels
    assert found["top1"] == pytest.approx(100 * right.mean(), abs=1e-9)
    assert (found["images"], found["bytes"], found["dataset"]) == (360, packed.stat().st_size, "digits")
    assert found["ratio"] == pytest.approx(4 * 7850 / packed.stat().st_size)
    assert found["latency_us"] > 0
    text = lissome("evaluate", packed, "--dataset", "digits").out
    assert f"{found['top1']:.2f} %" in text
    assert f"{found['bytes']:,} bytes" in text


def test_evaluate_without_data(lissome, packed, tmp_path):
    """A folder without the data set, and a data set that does not exist, are one message each."""
    result = lissome("evaluate", packed, "--data", tmp_path)
    assert result.code == FAILED
    assert "train-images-idx3-ubyte" in result.err
    assert "unknown data set 'cifar'" in lissome("evaluate", packed, "--dataset", "cifar").err
    assert lissome("evaluate", packed, "--data", tmp_path / "nowhere").code == USAGE


@pytest.mark.parametrize("verb", ["inspect", "evaluate", "run"])
def test_a_damaged_file(lissome, packed, tmp_path, verb):
    """A truncated file is refused by name, by every verb, and nothing is written."""
    bad = tmp_path / "bad.liss"
    bad.write_bytes(packed.read_bytes()[:-7])
    np.save(tmp_path / "x.npy", np.ones((1, 1, 28, 28), np.float32))
    extra = {"evaluate": ["--dataset", "digits"], "run": ["-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy"]}
    result = lissome(verb, bad, *extra.get(verb, []))
    assert (result.code, result.out) == (FAILED, "")
    assert "bad.liss" in result.err
    assert not (tmp_path / "y.npy").exists()


def test_calibrating_needs_no_file(lissome, tmp_path, monkeypatch):
    """--calibrate measures and keeps, as a table or JSON; neither a file nor that is wrong usage."""
    monkeypatch.setenv("LISSOME_CACHE", str(tmp_path))
    monkeypatch.setattr("lissome.runtime.tune.calibration.PASSES", 1)
    text = lissome("tune", "--calibrate").out
    assert "im2col" in text
    found = json.loads(lissome("tune", "--calibrate", "--json").out)
    assert set(found) == {"isa", "overheads", "a_byte", "ratios"}
    assert (tmp_path / "tuned.json").exists()
    assert lissome("tune").code == USAGE
