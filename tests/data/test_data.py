"""Data sets: where they are looked for, what a missing or wrong file says, and the validation split."""

import functools
import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pytest

from lissome import data
from lissome.data import archive, digits, fashion, mnist
from lissome.data.split import Dataset, Split
from lissome.errors import DataError


def encode(array):
    """IDX bytes of a uint8 array."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_files(folder, *, packed=False, count=20):
    """A tiny data set in MNIST's four files; returns what was written, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    written = {}
    for name in archive.FILES:
        shape = (count, 28, 28) if "images" in name else (count,)
        values = rng.integers(0, 10, shape, dtype=np.uint8)
        content = gzip.compress(encode(values), mtime=0) if packed else encode(values)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(content)
        written[name] = values
    return written


@pytest.mark.parametrize("where", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_in_a_folder(tmp_path, where, packed):
    """The folder itself, or its mnist/ subfolder, holds the files, raw or gzipped."""
    written = write_files(tmp_path / where, packed=packed)
    dataset = data.load("mnist", tmp_path)
    np.testing.assert_array_equal(dataset.test.images[:, 0], written["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(dataset.train.labels, written["train-labels-idx1-ubyte"])
    assert (dataset.train.images.dtype, dataset.train.labels.dtype, dataset.classes) == (np.uint8, np.int64, 10)


def test_environment_names_the_folder(tmp_path, monkeypatch):
    """LISSOME_DATA is used when no folder is given, and only then."""
    write_files(tmp_path / "a", count=11)
    write_files(tmp_path / "b", count=12)
    monkeypatch.setenv("LISSOME_DATA", str(tmp_path / "a"))
    assert len(data.load("mnist").test) == 11
    assert len(data.load("mnist", tmp_path / "b").test) == 12


def test_missing_files_are_named_with_the_remedy(tmp_path):
    """An empty folder, and one that lacks a file: the error names folder, file and what to do."""
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.*LISSOME_DATA.*digits") as raised:
        data.load("mnist", tmp_path)
    assert str(tmp_path) in str(raised.value)
    write_files(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="mnist lacks t10k-labels-idx1-ubyte "):
        data.load("mnist", tmp_path)


def test_images_and_labels_must_agree(tmp_path):
    """As many labels as images, images of 28×28, labels below ten: else an error naming the file."""
    write_files(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(encode(np.zeros(19, np.uint8)))
    with pytest.raises(DataError, match="20 images but train-labels-idx1-ubyte 19 labels"):
        data.load("mnist", tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(encode(np.full(20, 10, np.uint8)))
    with pytest.raises(DataError, match="training label 10"):
        data.load("mnist", tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(encode(np.zeros((20, 27, 28), np.uint8)))
    with pytest.raises(DataError, match=r"\(27, 28\) pixels"):
        data.load("mnist", tmp_path)


def test_fashion_is_not_mnist(tmp_path, monkeypatch):
    """MNIST's files have Fashion-MNIST's names: reading one as the other is refused by content."""
    written = write_files(tmp_path)
    digest = hashlib.sha256(written["t10k-labels-idx1-ubyte"].tobytes()).hexdigest()
    assert data.load("fashion", tmp_path).name == "fashion"
    monkeypatch.setattr(fashion, "_MNIST_TEST_LABELS", digest)
    with pytest.raises(DataError, match="MNIST's files, not Fashion-MNIST's"):
        data.load("fashion", tmp_path)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A web server on this machine that publishes a tiny MNIST; returns (folder served, archive to load)."""
    served = tmp_path / "served"
    write_files(served, packed=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LISSOME_DATA", raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        md5 = {
            name: hashlib.md5((served / f"{name}.gz").read_bytes(), usedforsecurity=False).hexdigest()
            for name in archive.FILES
        }
        source = archive.Archive("mnist", ("mnist",), f"http://127.0.0.1:{server.server_port}/", md5)
        monkeypatch.setattr(mnist, "ARCHIVE", source)
        yield served
        server.shutdown()


def test_download_is_checked_and_kept(mirror):
    """With no folder the files are downloaded, verified, and found in the cache the next time."""
    assert len(data.load("mnist").train) == 20
    for file in mirror.iterdir():
        file.unlink()
    assert len(data.load("mnist").train) == 20


def test_damaged_or_absent_download(mirror):
    """A download with another checksum, or none at all, is a DataError with the remedy."""
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"could not be downloaded.*(?i:hash)"):
        data.load("mnist")
    (mirror / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"could not be downloaded.*LISSOME_DATA"):
        data.load("mnist")


def test_unknown_name_lists_the_known():
    """A wrong name is one clear error that says what exists."""
    with pytest.raises(DataError, match="unknown data set 'cifar'; known: mnist, fashion, digits"):
        data.load("cifar")


def test_digits_are_in_mnists_frame():
    """1,437 + 360 images of 28×28; ink within a 20×20 box whose centre of mass is within a pixel of the middle."""
    dataset = data.load("digits")
    assert (len(dataset.train), len(dataset.test)) == (1437, 360)
    assert np.bincount(dataset.test.labels).tolist() == [36] * 10
    images = np.concatenate([dataset.train.images, dataset.test.images])[:, 0].astype(float)
    assert images.shape[1:] == (28, 28)
    assert images.max() == 255
    for axis in (1, 2):
        ink = images.sum(axis=3 - axis) > 0
        extent = 28 - ink.argmax(axis=1) - ink[:, ::-1].argmax(axis=1)
        assert extent.max() <= 20
        centre = (images.sum(axis=3 - axis) * (np.arange(28) + 0.5)).sum(axis=1) / images.sum(axis=(1, 2))
        assert np.abs(centre - 14).max() <= 1


def test_enlarge_keeps_a_flat_image_flat():
    """Bilinear weights sum to one: a full image becomes a full 20×20 box, an empty one stays empty."""
    full, empty = digits.enlarge(np.stack([np.full((8, 8), 16.0), np.zeros((8, 8))]))[:, 0]
    assert (full == 255).sum() == 400
    assert full[4:24, 4:24].min() == 255
    assert not empty.any()


def labelled(count, classes=10):
    """A split of `count` one-pixel images, labels 0, 1, …, classes - 1 in turn."""
    labels = np.arange(count, dtype=np.int64) % classes
    return Split(np.arange(count).astype(np.uint8).reshape(count, 1, 1, 1), labels)


def test_holdout_is_balanced_disjoint_and_deterministic():
    """Each class gives count // classes images, the first ones one more; the parts partition the split, in order."""
    dataset = Dataset("x", 10, labelled(200), labelled(10))
    train, validation = dataset.holdout(53, seed=3)
    assert np.bincount(validation.labels).tolist() == [6, 6, 6, 5, 5, 5, 5, 5, 5, 5]
    pixels = np.concatenate([train.images, validation.images]).ravel()
    assert sorted(pixels.tolist()) == list(range(200))
    assert (np.diff(train.images.ravel().astype(int)) > 0).all()
    again = dataset.holdout(53, seed=3)[1]
    np.testing.assert_array_equal(validation.images, again.images)
    assert not np.array_equal(validation.images, dataset.holdout(53, seed=4)[1].images)


def test_holdout_of_too_many():
    """Asking for more of a class than there are is an error that names the class."""
    with pytest.raises(DataError, match="hold out 21 images of class 0: there are 20"):
        Dataset("x", 10, labelled(200), labelled(10)).holdout(201, seed=0)


def test_inputs_are_pixels_over_255():
    """A network is fed float32 in 0..1, exactly pixel / 255."""
    inputs = labelled(256).inputs()
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs.ravel(), np.arange(256, dtype=np.float32) / np.float32(255))


def test_a_split_checks_itself():
    """Images and labels of different lengths or types do not make a split."""
    with pytest.raises(DataError, match="3 images need as many"):
        Split(np.zeros((3, 1, 2, 2), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(DataError, match="uint8"):
        Split(np.zeros((3, 1, 2, 2), np.float32), np.zeros(3, np.int64))
