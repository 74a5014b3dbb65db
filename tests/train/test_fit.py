"""One stage of training: the loss falls, the loss is the formula's, options and errors do what they say."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lissome.compress.recipe import Fit
from lissome.data import Split
from lissome.errors import DataError, RecipeError, TrainingError
from lissome.train import distill
from lissome.train.fit import accuracy, fit, optimizer_for


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 3.0), (0.3, 1.0), (0.7, 4.0), (1.0, 2.0)])
def test_distillation_loss_is_hintons(weight, temperature):
    """(1 − a) · cross-entropy + a · T² · KL(teacher ∥ student) at temperature T, averaged over the batch.

    Both sides in float64: they differ by the rounding of a few hundred operations on numbers below 100.
    """
    rng = np.random.default_rng(0)
    logits, soft, labels = rng.normal(size=(6, 5)) * 3, rng.normal(size=(6, 5)) * 3, rng.integers(0, 5, 6)
    hard = -np.log(softmax(logits)[np.arange(6), labels]).mean()
    p, q = softmax(soft / temperature), softmax(logits / temperature)
    divergence = (p * (np.log(p) - np.log(q))).sum(axis=1).mean()
    expected = (1 - weight) * hard + weight * temperature**2 * divergence
    found = distill.loss(
        torch.tensor(logits), torch.tensor(labels), torch.tensor(soft), weight=weight, temperature=temperature
    )
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_without_a_teacher_the_loss_is_cross_entropy():
    """No soft labels: plain cross-entropy, whatever the weight."""
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    found = distill.loss(logits, labels, None, weight=0.5, temperature=2.0)
    assert torch.equal(found, nn.functional.cross_entropy(logits, labels))


def test_training_lowers_the_loss_and_learns(make_network, quadrants):
    """A few epochs on four easy classes: the loss falls from third to third, and it beats chance threefold."""
    model, losses = make_network(), []
    fit(
        model, quadrants.train, Fit(epochs=15, batch=16, lr=0.01), seed=(0,), on_epoch=lambda _, x, __: losses.append(x)
    )
    assert len(losses) == 15
    assert np.mean(losses[:5]) > np.mean(losses[5:10]) > np.mean(losses[10:])
    assert accuracy(model, quadrants.test) > 75  # three times chance


def test_the_learning_rate_is_a_cosine_to_zero(make_network, quadrants):
    """Step k of n has lr · (1 + cos(π k / n)) / 2: the peak first, almost nothing last."""
    model, options, found = make_network(), Fit(epochs=2, batch=24, lr=0.5), []
    optimizer = optimizer_for(model, options)
    fit(
        model,
        quadrants.train,
        options,
        seed=(0,),
        optimizer=optimizer,
        on_step=lambda: found.append(optimizer.param_groups[0]["lr"]),
    )
    assert found == [0.5 * 0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]


def test_the_learning_rate_starts_anew_in_every_cycle(make_network, quadrants):
    """With cycles, each is a cosine of its own: the first steps of all cycles have the peak rate."""
    network = make_network()
    options = Fit(epochs=4, batch=16, lr=0.5)
    optimizer = optimizer_for(network, options)
    found = []
    fit(
        network,
        quadrants.train,
        options,
        seed=(0,),
        optimizer=optimizer,
        cycles=2,
        on_step=lambda: found.append(optimizer.param_groups[0]["lr"]),
    )
    half = len(found) // 2
    assert found[0] == found[half] == 0.5
    assert found[:half] == found[half:]
    assert found[half - 1] < 0.5


def test_a_schedule_is_stepped_after_every_optimizer_step(make_network, quadrants):
    """As many schedule steps as optimizer steps."""
    calls = []

    class Counter:
        def step(self):
            calls.append(1)

    fit(make_network(), quadrants.train, Fit(epochs=2, batch=24), seed=(0,), schedule=Counter())
    assert len(calls) == 8


def test_training_leaves_torchs_generator_alone(make_network, quadrants):
    """Dropout is seeded from the stage's seed inside, and the caller's random numbers go on as if nothing happened."""
    model = make_network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, quadrants.train, Fit(epochs=1, batch=24), seed=(0,))
    assert torch.equal(torch.rand(3), expected)


def test_a_loss_that_is_not_finite_ends_the_training(make_network, quadrants):
    """A learning rate that blows the network up is named, before an epoch of NaN could be checkpointed."""
    model, saved = make_network(), []
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"training diverged: the loss is nan in epoch 1: lower lr \(now 0.001\)"):
        fit(model, quadrants.train, Fit(epochs=2, batch=24), seed=(0,), on_epoch=lambda *_: saved.append(1))
    assert not saved


def test_distillation_without_a_teacher_is_refused(make_network, quadrants):
    """A stage that asks for distillation where there is nothing to learn from is an error, not silently plain."""
    with pytest.raises(RecipeError, match=r"distill is 0.5, but there is no dense network yet"):
        fit(make_network(), quadrants.train, Fit(distill=0.5), seed=(0,))


def test_accuracy_counts_and_puts_the_mode_back(quadrants):
    """Percent of labels hit, in evaluation mode, for any batch; the mode is put back; no images is an error."""
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(36, 4))
    model.train()
    found = {accuracy(model, quadrants.test, batch=batch) for batch in (1, 7, 1000)}
    model.eval()
    hits = (model(torch.from_numpy(quadrants.test.inputs())).argmax(1).numpy() == quadrants.test.labels).mean()
    assert found == {100 * hits}
    assert accuracy(model.train(), quadrants.test) in found
    assert model.training
    empty = Split(quadrants.test.images[:0], quadrants.test.labels[:0])
    with pytest.raises(DataError, match="no images to measure accuracy on"):
        accuracy(model, empty)
