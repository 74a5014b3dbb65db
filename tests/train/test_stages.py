"""A staged run: each family of methods takes hold in its own stage, not before."""

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome import prune, share
from lissome.data import Dataset, Split
from lissome.train import pipeline
from lissome.weights import Codebook, Dense


def dataset(count):
    """Random 4×4 images whose label is their brightest column."""
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)
    split = Split(images, images.sum(axis=(1, 2)).argmax(axis=1).astype(np.int64))
    return Dataset("columns", 4, split, split)


@pytest.mark.parametrize("schedule", ["one-shot", "iterative", "cubic"])
def test_sharing_sleeps_until_its_own_stage(schedule):
    """While pruned weights are retrained they keep values of their own, whatever schedule pruned them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    recipe = ls.Recipe(
        [("*", [prune.Magnitude(sparsity=0.5), share.KMeans(bits=2)])],
        [ls.Stage(settle="prune", schedule=schedule, rounds=2, epochs=4), ls.Stage(settle="share", epochs=1)],
    )
    seen = []

    def record(_stage, trained):
        weight = ls.freeze(trained, example=torch.zeros(1, 1, 4, 4)).weights["1.weight"]
        seen.append((weight.nnz, type(weight.values)))

    pipeline.run(recipe, model, dataset(200), trained=True, holdout=20, on_stage=record)
    assert seen == [(64, Dense), (64, Codebook)]
