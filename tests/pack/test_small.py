"""Coder small: a second decoder in plain Python judges it, its bytes never change, and it reaches the sizes it must."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import twins_small
from hypothesis import given, settings

from index_groups import groups, make, plain
from lissome.errors import FormatError, WeightError
from lissome.pack import huffman, small
from lissome.pack.coder import IndexSpec, Indices

pytestmark = pytest.mark.native


def _specs(group):
    return [indices.spec for indices in group]


def _network(seed=1):
    """Tensors as a small pruned network has them: filters, a layer on their pixels, one on images, biases."""
    rng = np.random.default_rng(seed)
    group = []
    for shape, density in [((6, 1, 5, 5), 0.4), ((6,), 0.5), ((12, 54), 0.2), ((30, 64), 0.1), ((8, 30), 0.3)]:
        positions = np.flatnonzero(rng.random(np.prod(shape)) < density)
        codes = np.clip(np.rint(rng.normal(7, 3, positions.size)), 0, 14)
        group.append(make(shape, positions, codes, 15))
    group.append(make((8,), None, rng.integers(0, 8, 8), 8))
    return group


def _few(group):
    """Members small enough for the twin, which is slow."""
    return [indices for indices in group if indices.spec.size <= 3000]


def test_the_twin_reads_a_network():
    """A second decoder, written from the document, finds the same indices."""
    group = _network()
    assert plain(twins_small.decode(small.encode(group), _specs(group))) == plain(group)


@given(groups)
@settings(deadline=None, max_examples=40)
def test_the_twin_reads_everything(group):
    """The second decoder reads every kind of group: any rank, density and alphabet."""
    group = _few(group)
    assert plain(twins_small.decode(small.encode(group), _specs(group))) == plain(group)


@pytest.mark.parametrize("shape", [(257, 256), (60, 130, 3, 3)])
@pytest.mark.parametrize("alphabet", [1, 2, 15, 300])
def test_the_twin_reads_large_dense_tensors(shape, alphabet):
    """The second decoder reads dense tensors of more than 2^16 elements, between others of another model."""
    rng = np.random.default_rng(alphabet)
    scale = np.exp(rng.normal(size=shape[1])).reshape(-1, *[1] * (len(shape) - 2)) * alphabet / 8
    codes = np.clip(np.rint(rng.normal(alphabet / 2, scale, shape)), 0, alphabet - 1).ravel()
    few = make((8,), None, np.arange(8) % alphabet, alphabet)
    group = [few, make(shape, None, codes, alphabet), few]
    assert plain(twins_small.decode(small.encode(group), _specs(group))) == plain(group)


def test_a_large_dense_tensor_beats_huffman():
    """The model of large dense tensors takes fewer bytes than static codes, by more where rows and columns differ."""
    rng = np.random.default_rng(5)
    for spread, share in [(0.0, 1.0), (0.4, 0.96)]:
        scale = np.exp(spread * rng.normal(size=(300, 1))) * np.exp(spread * rng.normal(size=(1, 300)))
        codes = np.clip(np.rint(rng.normal(15.5, 5, (300, 300)) * scale - 15.5 * (scale - 1)), 0, 31)
        group = [make((300, 300), None, codes.ravel(), 32)]
        assert len(small.encode(group)) < share * len(huffman.encode(group))


@pytest.mark.parametrize("shape", [(40, 784), (20, 192), (16, 1, 28, 28)])
def test_clustered_pixels_cost_less(shape):
    """Survivors that lie together in an image take fewer bytes than the same number strewn about."""
    rng = np.random.default_rng(2)
    rows, columns = shape[0], int(np.prod(shape[1:]))
    side = int(np.sqrt(columns / (3 if columns == 192 else 1)))
    mask = np.zeros((rows, columns // side**2, side, side), bool)
    for row in mask:
        y, x = rng.integers(0, side - 3, 2)
        row[:, y : y + 4, x : x + 4] = rng.random((row.shape[0], 4, 4)) < 0.7
    together = np.flatnonzero(mask)
    strewn = np.sort(rng.choice(mask.size, together.size, replace=False))
    codes = np.zeros(together.size)
    sizes = [len(small.encode([make(shape, positions, codes, 1)])) for positions in (together, strewn)]
    assert sizes[0] < 0.7 * sizes[1]


def test_noise_costs_its_entropy():
    """Where there is nothing to foresee, learning costs at most 2 % over the entropy."""
    rng = np.random.default_rng(3)
    positions = np.flatnonzero(rng.random((500, 400)) < 0.05)
    share = positions.size / 200_000
    bits = -200_000 * (share * np.log2(share) + (1 - share) * np.log2(1 - share)) + 4 * positions.size
    group = [make((500, 400), positions, rng.integers(0, 16, positions.size), 16)]
    assert len(small.encode(group)) <= 1.02 * bits / 8


def test_zeros_cost_nothing():
    """A tensor pruned to nothing takes at most three bytes, however large."""
    assert len(small.encode([make((4000, 1000), [], [], 16)])) <= 3


def test_more_than_two_to_the_34_elements_are_refused():
    """Positions cost a decoder time even where they cost no byte, so their number is bounded both ways."""
    spec = IndexSpec((1 << 20, 1 << 15), True, 2)
    with pytest.raises(FormatError, match="2\\^34"):
        small.decode(b"\x80", [spec], max_entries=1 << 20)
    with pytest.raises(WeightError, match="2\\^34"):
        small.encode([Indices(spec, np.array([5], np.int64), np.array([1], np.uint8))])


def test_pixels_that_are_not_square_are_refused():
    """A stream that calls 17 columns a square image is a FormatError."""
    refused = 0
    for first in range(256):
        try:
            small.decode(bytes([first, 1, 2, 3]), [IndexSpec((2, 17), True, 4)], max_entries=100)
        except FormatError as error:
            refused += "squares" in str(error)
    assert refused >= 128


def _golden():
    rng = np.random.default_rng(4)
    positions = np.flatnonzero(np.arange(192) % 7 < 2)
    return {
        "sparse": [make((12, 16), positions, positions % 5, 15)],
        "dense": [make((30,), None, np.arange(30) // 8, 4)],
        "network": [
            make((2, 3, 3, 3), [0, 4, 9, 13, 20, 40, 53], [0, 1, 2, 2, 1, 0, 2], 3),
            make((5, 18), None, rng.integers(0, 4, 90), 300),
        ],
    }


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("sparse", "c908da9c94e304adfbeac00cde8e74ca752ac46a482017535d492bc52f"),
        ("dense", "3f36b0ed7c290378"),
        ("network", "474b68f24651eb1f10a8b807b2ccc567ba8c383bd7a789ae917bc56212ce6d1f4c"),
    ],
)
def test_bytes_that_never_change(name, data):
    """Golden streams: what one version writes every later one writes and reads."""
    group = _golden()[name]
    assert small.encode(group).hex() == data
    assert plain(small.decode(bytes.fromhex(data), _specs(group), max_entries=200)) == plain(group)


def test_bytes_of_a_large_dense_tensor_that_never_change():
    """A golden stream of the model of large dense tensors, by its hash."""
    i = np.arange(300 * 256)
    data = small.encode([make((300, 256), None, (i * i // 7 + i // 256) % 13 + i % 5, 17)])
    assert hashlib.sha256(data).hexdigest() == "4f97084334bd580c8957ee49610c69c58073002d05ea7be6174708dcb38f8e0f"
