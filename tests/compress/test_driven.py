"""Pruning in training: surgery, ADMM and group lasso against references in plain torch; balanced loads."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome.compress.apply import groups
from lissome.compress.prune import ADMM, GroupLasso, LoadBalanced, Magnitude, Surgery
from lissome.compress.prune.load_balanced import shares
from lissome.compress.schedule import Iterative
from lissome.errors import RecipeError
from lissome.hardware import EIE


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing from more, and on a busy machine lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


RATE = 0.1


def layer(seed=0, rows=6, columns=8):
    """A linear layer without bias, of normal weights."""
    torch.manual_seed(seed)
    made = nn.Linear(columns, rows, bias=False)
    nn.init.normal_(made.weight)
    return made


def mask_of(module):
    return groups(module)[0][1][0].parametrization


def descend(module, target, optimizer, calls=1):
    """One step of gradient descent on ½ ‖w − target‖², whose gradient is w − target; `calls`: reads of the weight."""
    optimizer.zero_grad()
    sum(0.5 / calls * (module.weight - target).square().sum() for _ in range(calls)).backward()
    optimizer.step()


def test_surgery_updates_every_weight_and_moves_its_mask_between_two_thresholds():
    """Equations 3 and 4, step by step: the masked weight's gradient moves all of W; T by hysteresis."""
    module, target = layer(), torch.randn(6, 8)
    weight = module.weight.detach().clone()
    ls.compress_(module, [Surgery(sparsity=0.5, gamma=0.0)])
    low = weight.abs().flatten().sort().values[24]
    mask = weight.abs() >= low
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    came_back = went = 0
    for _ in range(12):
        assert torch.equal(module.weight != 0, mask)
        descend(module, target, optimizer)
        before, size = mask, weight.abs()  # T follows from W as the pass saw it
        mask = torch.where(size < low, False, torch.where(size >= 1.1 * low, True, mask))
        weight = weight - RATE * (weight * before - target)
        came_back += int((mask & ~before).sum())
        went += int((before & ~mask).sum())
        torch.testing.assert_close(module.parametrizations.weight.original.detach(), weight)
        assert torch.equal(mask_of(module).mask, mask)
    assert came_back
    assert went


def test_surgery_becomes_rare_and_is_the_same_again():
    """Masks move with probability 1 / (1 + gamma step), drawn from seed, name and step."""
    histories = []
    for seed in (0, 0, 1):
        module = layer()
        ls.compress_(module, [Surgery(sparsity=0.5, gamma=0.5, seed=seed)])
        optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
        changes = []
        for step in range(60):
            before = mask_of(module).mask.clone()
            torch.manual_seed(step)
            descend(module, 3 * torch.randn(6, 8), optimizer)
            changes.append(not torch.equal(before, mask_of(module).mask))
        histories.append(changes)
    assert histories[0] == histories[1] != histories[2]
    assert sum(histories[0][:20]) > sum(histories[0][40:])


def test_surgery_takes_han_like_thresholds_and_leaves_equal_weights_alone():
    """quality: mean plus so many deviations of abs(W). A constant layer and a layer of zeros stay whole."""
    module = layer()
    sizes = module.weight.detach().abs()
    ls.compress_(module, [Surgery(quality=-0.5)])
    assert torch.equal(module.weight != 0, sizes >= sizes.mean() - 0.5 * sizes.std(correction=0))
    for value in (0.0, 0.3):
        module = layer()
        nn.init.constant_(module.weight, value)
        ls.compress_(module, [Surgery(sparsity=0.9)])
        assert mask_of(module).mask.all()


def project(values, kept):
    """The Euclidean projection onto matrices of so many non-zeros, by NumPy."""
    flat = values.ravel().copy()
    flat[np.argsort(-np.abs(flat), kind="stable")[kept:]] = 0
    return flat.reshape(values.shape)


def test_admm_follows_the_iterates_of_the_paper():
    """W by descent on f + ρ/2 ‖W − Z + U‖², Z = Π(W + U), U += W − Z; then Π(W), and retraining under the mask."""
    module, target, rho = layer(), torch.randn(6, 8), 0.7
    weight, goal = module.weight.detach().double().numpy(), target.double().numpy()
    ls.compress_(module, [ADMM(sparsity=0.75, rho=rho)])
    ramp = Iterative(module, 40, rounds=4)
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    z, u = project(weight, 12), np.zeros_like(weight)
    for step in range(1, 41):
        descend(module, target, optimizer)
        ramp.step()
        if step <= 30:
            weight = weight - RATE * (weight - goal + rho * (weight - z + u))
        else:
            weight = weight - RATE * (weight - goal) * (weight != 0)
        if step in (10, 20):
            z = project(weight + u, 12)
            u = u + weight - z
        if step == 30:
            weight = project(weight, 12)
        np.testing.assert_allclose(module.weight.detach().numpy(), weight, rtol=1e-4, atol=1e-5)
    assert np.count_nonzero(module.weight.detach().numpy()) == 12


def test_a_penalty_counts_once_however_often_the_layer_is_called():
    """A layer that is called twice in a forward pass is drawn with the same force as one called once."""
    ends = []
    for calls in (1, 2):
        module, target = layer(), torch.ones(6, 8)
        ls.compress_(module, [GroupLasso(filters=0.5)])
        optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
        for _ in range(3):
            descend(module, target, optimizer, calls)
        ends.append(module.weight.detach().clone())
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize(
    "kinds", [{"filters": 0.3}, {"channels": 0.2}, {"shapes": 0.1}, {"filters": 0.2, "channels": 0.3}]
)
def test_group_lasso_adds_the_gradient_of_its_penalty(kinds):
    """One step equals one on the loss with λ Σ ‖w_g‖ written out, by autograd."""
    torch.manual_seed(0)
    module = nn.Conv2d(3, 4, 2, bias=False)
    twin = copy.deepcopy(module)
    ls.compress_(module, [GroupLasso(**kinds, threshold=1e-6)])
    axes = {"filters": (1, 2, 3), "channels": (0, 2, 3), "shapes": (0,)}
    x = torch.randn(5, 3, 4, 4)
    for each, penalised in ((module, False), (twin, True)):
        loss = each(x).square().mean()
        if penalised:
            loss = loss + sum(
                value * each.weight.square().sum(axes[kind]).sqrt().sum() for kind, value in kinds.items()
            )
        loss.backward()
    torch.testing.assert_close(module.parametrizations.weight.original.grad, twin.weight.grad)


def test_filters_that_the_loss_does_not_need_arrive_at_zero_and_stay():
    """Trained on a target with two empty rows, those rows become exactly zero, and the others do not."""
    module, target = layer(), torch.ones(6, 8)
    target[[1, 4]] = 0.01
    ls.compress_(module, [GroupLasso(filters=0.5)])
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    for _ in range(200):
        descend(module, target, optimizer)
    empty = (module.weight == 0).all(1)
    assert empty.nonzero().flatten().tolist() == [1, 4]
    # Elsewhere the minimum of ½ ‖w − 1‖² + λ ‖w‖ over 8 entries: w = 1 − λ / √8.
    torch.testing.assert_close(module.weight[~empty], torch.full((4, 8), 1 - 0.5 / 8**0.5), rtol=1e-4, atol=1e-4)


def test_a_layer_keeps_one_filter_but_for_depth():
    """However strong the penalty, one filter and one channel stay; depth may empty the layer."""
    for method, empty in ((GroupLasso(filters=50.0, channels=50.0), False), (GroupLasso(depth=50.0), True)):
        module = layer()
        ls.compress_(module, [method])
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        for _ in range(60):
            descend(module, torch.zeros(6, 8), optimizer)
        assert bool((module.weight == 0).all()) == empty


def loads(weight, pes):
    """Non-zeros of each element's rows."""
    return [int(np.count_nonzero(weight[pe::pes])) for pe in range(pes)]


@pytest.mark.parametrize(("rows", "pes"), [(16, 4), (15, 4), (3, 5), (7, 1)])
def test_every_element_gets_as_many_of_its_own_largest(rows, pes):
    """Equal counts to within one, the share asked for in all, and within an element by magnitude."""
    module = layer(rows=rows, columns=10)
    with torch.no_grad():
        module.weight[::pes] *= 50  # magnitude alone would give the first element everything
    dense = module.weight.detach().abs().numpy()
    ls.compress_(module, [LoadBalanced(sparsity=0.7, pes=pes)])
    kept = module.weight.detach().numpy() != 0
    counts = [count for pe, count in enumerate(loads(kept, pes)) if pe < rows]
    assert sum(counts) == 3 * rows
    assert max(counts) - min(counts) <= 1
    for pe in range(min(rows, pes)):
        own, size = kept[pe::pes], dense[pe::pes]
        assert size[own].min() >= size[~own].max()


def test_shares_give_what_some_cannot_take_to_the_others():
    """A total is shared out evenly within the room that there is."""
    assert shares(10, [1, 9, 9]) == [1, 4, 5]
    assert shares(0, [3, 3]) == [0, 0]
    assert shares(6, [3, 3]) == [3, 3]


def test_balanced_loads_take_the_eie_fewer_cycles():
    """The same sparsity, fewer cycles and a better load in the model of EIE, where rows differ in scale."""
    dense = layer(rows=64, columns=96)
    with torch.no_grad():
        dense.weight *= torch.linspace(0.5, 2, 8).repeat(8).unsqueeze(1)
    found = []
    for method in (Magnitude(sparsity=0.9), LoadBalanced(sparsity=0.9, pes=8)):
        module = copy.deepcopy(dense)
        ls.compress_(module, [method])
        places = np.flatnonzero(module.weight.detach().numpy())
        found.append(EIE(pes=8).time(64, 96, places, np.arange(96)))
    magnitude, balanced = found
    assert balanced.cycles < 0.8 * magnitude.cycles
    assert balanced.load_efficiency > 1.2 * magnitude.load_efficiency


@pytest.mark.parametrize(
    "build",
    [
        Surgery,
        lambda: Surgery(sparsity=0.5, quality=1.0),
        lambda: Surgery(sparsity=1.0),
        lambda: Surgery(sparsity=0.5, margin=0),
        lambda: Surgery(sparsity=0.5, gamma=-1),
        lambda: Surgery(quality=float("nan")),
        lambda: ADMM(rho=0),
        lambda: ADMM(sparsity=1.0),
        GroupLasso,
        lambda: GroupLasso(filters=-1.0),
        lambda: GroupLasso(filters=1.0, threshold=1.0),
        lambda: LoadBalanced(pes=0),
        lambda: LoadBalanced(sparsity=-0.1),
    ],
)
def test_impossible_options_are_refused(build):
    """Options out of range are a RecipeError when the method is built."""
    with pytest.raises(RecipeError):
        build()
