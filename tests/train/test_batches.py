"""Batches: the same for the same seed and epoch, and shifted as NumPy would shift them."""

import numpy as np
import pytest
import torch
from torch import nn

from lissome.data import Split
from lissome.errors import DataError
from lissome.train.batches import Batches


def numbered(count):
    """Images 1×4×5 of distinct pixels, labelled by their own number, so that a batch tells which it holds."""
    images = np.random.default_rng(0).integers(1, 256, (count, 1, 4, 5), dtype=np.uint8)
    return Split(images, np.arange(count, dtype=np.int64))


def epoch(number, *, seed=(1, 2), shift=0, batch=4, count=10, **options):
    """All batches of an epoch."""
    return list(Batches(numbered(count), batch=batch, shift=shift, seed=seed, **options).epoch(number))


def test_an_epoch_depends_on_seed_and_number_alone():
    """The same seed and epoch give the same bits whatever torch's generator did; another of either, another order."""
    first = epoch(3, shift=1)
    torch.manual_seed(77)
    again = epoch(3, shift=1)
    for (x, labels, _), (x2, labels2, _) in zip(first, again, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(labels, labels2)
    orders = [
        torch.cat([labels for _, labels, _ in epoch(*a, seed=s)]).tolist()
        for a, s in [((3,), (1, 2)), ((4,), (1, 2)), ((3,), (1, 3)), ((3,), (2, 2))]
    ]
    assert len(set(map(tuple, orders))) == 4


@pytest.mark.parametrize(("count", "batch", "sizes"), [(10, 4, [4, 4]), (8, 4, [4, 4]), (3, 4, [3]), (1, 1, [1])])
def test_every_image_at_most_once_and_whole_batches(count, batch, sizes):
    """An epoch holds each image at most once; an incomplete last batch is left out unless it is the only one."""
    found = epoch(0, count=count, batch=batch)
    labels = torch.cat([each for _, each, _ in found]).tolist()
    assert [len(each) for _, each, _ in found] == sizes
    assert len(set(labels)) == len(labels)
    assert len(Batches(numbered(count), batch=batch, shift=0, seed=(0,))) == len(sizes)


def test_without_shift_inputs_are_the_images():
    """Pixels / 255 as float32, exactly as a Split gives them."""
    inputs = numbered(10).inputs()
    for x, labels, soft in epoch(0):
        assert x.dtype == torch.float32
        assert np.array_equal(x.numpy(), inputs[labels.numpy()])
        assert soft is None


def test_shifts_are_those_of_numpy():
    """Every input is its image moved by −2..2 pixels each way with zeros coming in, and all 25 moves occur."""
    inputs = numbered(10).inputs()
    padded = np.pad(inputs, ((0, 0), (0, 0), (2, 2), (2, 2)))
    seen = set()
    for number in range(40):
        for x, labels, _ in epoch(number, shift=2):
            for image, label in zip(x.numpy(), labels.tolist(), strict=True):
                moves = [
                    (down, right)
                    for down in range(5)
                    for right in range(5)
                    if np.array_equal(image, padded[label, :, down : down + 4, right : right + 5])
                ]
                assert len(moves) == 1
                seen.update(moves)
    assert len(seen) == 25


@pytest.mark.parametrize("epochs", [1, 9])
def test_the_teacher_answers_for_the_inputs_as_they_are_shifted(epochs):
    """Asked in advance (9 epochs, 9 shifts) or at every batch (1 epoch), the answers are the teacher's for that input.

    A teacher that sums distinct pixels tells every shift of every image from any other; sums of 20 numbers below 1 in
    another order differ by less than 20 · 20 · 2⁻²⁴.
    """

    class Sums(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum((1, 2, 3)), x[:, :, 0].sum((1, 2))], dim=1)

    for x, _, soft in epoch(0, shift=1, teacher=Sums(), epochs=epochs):
        assert torch.allclose(soft, Sums()(x), rtol=0, atol=400 * 2.0**-24)
        assert not soft.requires_grad


def test_no_images_is_an_error():
    """Nothing to train on is said so, not a division by zero."""
    with pytest.raises(DataError, match="no images to train on"):
        Batches(numbered(0), batch=4, shift=0, seed=(0,))
