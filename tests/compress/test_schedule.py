"""Schedules: how strong pruning is at every step, when later methods wake, and going on after a stop."""

import pytest
import torch

from lissome.compress.apply import compress_
from lissome.compress.prune import Magnitude
from lissome.compress.recipe import Recipe
from lissome.compress.schedule import Cubic, Iterative, OneShot
from lissome.compress.share import KMeans
from lissome.errors import RecipeError
from methods import network

RECIPE = Recipe([("*", [Magnitude(sparsity=0.5), KMeans(clusters=3)])])
SIZE = 40  # entries of the linear layer of methods.network


def compressed(recipe=RECIPE):
    """The small network with the recipe on it."""
    model = network()
    compress_(model, recipe)
    return model


def kept(model):
    """Weights of the linear layer that its mask lets through."""
    return int(model[3].parametrizations.weight[0].mask.sum())


def asleep(model):
    """Whether sharing lets the weight through."""
    return not bool(model[3].parametrizations.weight[1].settled)


def strengths(schedule, steps):
    """Strength after the construction and after each of `steps` steps."""
    found = [schedule.strength]
    for _ in range(steps):
        schedule.step()
        found.append(schedule.strength)
    return found


def test_cubic_follows_zhu_and_gupta():
    """s_t = s_f · (1 − (1 − t/n)³) (equation 1 with initial sparsity 0), and the mask has exactly that sparsity."""
    model = compressed()
    ramp = Cubic(model, 10)
    for step in range(1, 13):
        ramp.step()
        t = min(1.0, step / 10)
        assert ramp.strength == 1 - (1 - t) ** 3
        assert kept(model) == round((1 - 0.5 * (1 - (1 - t) ** 3)) * SIZE)


def test_cubic_settles_every_so_many_steps_and_at_the_end():
    """With every=4, begin_step=2 the strength changes at steps 6 and 10 and is full at the end, 11, off the grid."""
    found = strengths(Cubic(compressed(), 11, begin_step=2, every=4), 13)
    values = [0.0, 1 - (1 - 4 / 9) ** 3, 1 - (1 - 8 / 9) ** 3, 1.0]
    assert found == [values[0]] * 6 + [values[1]] * 4 + [values[2]] + [values[3]] * 3


def test_one_shot_does_nothing_before_its_step():
    """Full strength at end_step, none before."""
    assert strengths(OneShot(compressed(), 3), 4) == [0, 0, 0, 1, 1]


def test_iterative_gives_each_step_its_share_of_training():
    """Rounds=3 over 9 steps: a third at once, two thirds after 3 steps, all after 6, then 3 steps to retrain."""
    found = strengths(Iterative(compressed(), 9, rounds=3), 9)
    assert found == [1 / 3] * 3 + [2 / 3] * 3 + [1.0] * 4


def test_no_round_is_missed_by_rounding():
    """For any number of rounds and steps, the strength at every step is that of exact arithmetic."""
    model = compressed()
    for rounds, span in [(1, 1), (3, 7), (7, 49), (22, 44), (29, 580)]:
        iterative = Iterative(model, span, rounds=rounds)
        found = [iterative.fraction(step / span) for step in range(span)]
        assert found == [(step * rounds // span + 1) / rounds for step in range(span)]


def test_iterative_prunes_what_retraining_made_small():
    """Each round ranks the weights as they are then, and what has gone stays gone."""
    model = compressed()
    iterative = Iterative(model, 2, rounds=2)
    first = model[3].parametrizations.weight[0].mask.clone()
    original = model[3].parametrizations.weight.original
    with torch.no_grad():
        original[~first] = 100.0
        original[0] = torch.where(first[0], 1e-6, original[0])
    iterative.step()
    second = model[3].parametrizations.weight[0].mask
    assert kept(model) == SIZE // 2
    assert not (second & ~first).any()
    assert not second[0].any()


@pytest.mark.parametrize(
    "kind", [Cubic, OneShot, lambda m, n: Iterative(m, n, rounds=2)], ids=["cubic", "once", "iter"]
)
def test_later_methods_sleep_until_the_last_step(kind):
    """Sharing must not fix values while pruning or the retraining after its last round still goes on."""
    model = compressed()
    schedule = kind(model, 4)
    for _ in range(3):
        assert asleep(model)
        schedule.step()
    assert asleep(model)
    schedule.step()
    assert not asleep(model)
    assert model[3].weight[model[3].weight != 0].unique().numel() <= 3


def test_later_methods_sleep_on_when_asked():
    """With wake=False the caller decides when sharing settles."""
    model = compressed()
    for schedule in (Cubic(model, 2, wake=False), Iterative(model, 2, rounds=1, wake=False)):
        strengths(schedule, 5)
        assert schedule.done
        assert asleep(model)


def test_an_end_step_of_zero_is_full_strength_at_once():
    """Nothing to wait for: pruned and shared when the schedule is made."""
    model = compressed()
    assert OneShot(model, 0).done
    assert kept(model) == SIZE // 2
    assert not asleep(model)


def test_nothing_is_settled_again_after_the_end():
    """Steps past the end leave masks and codes alone, whatever the weights do."""
    model = compressed()
    ramp = Cubic(model, 2)
    strengths(ramp, 2)
    codes = model[3].parametrizations.weight[1].codes.clone()
    with torch.no_grad():
        model[3].parametrizations.weight.original.normal_()
    strengths(ramp, 3)
    assert torch.equal(model[3].parametrizations.weight[1].codes, codes)


def test_going_on_from_a_saved_state():
    """Schedule and model saved in the middle and loaded into fresh ones go on as if nothing had happened."""
    model, fresh = compressed(), compressed()
    ramp = Cubic(model, 10, every=2)
    strengths(ramp, 5)
    again = Cubic(fresh, 10, every=2)
    again.load_state_dict(ramp.state_dict())
    fresh.load_state_dict(model.state_dict())
    assert strengths(again, 6) == strengths(ramp, 6)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), fresh.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: Cubic(m, -1), "0 <= begin_step <= end_step and every >= 1, not 0, -1, 1"),
        (lambda m: Cubic(m, 3, begin_step=4), "not 4, 3, 1"),
        (lambda m: Cubic(m, 3, every=0), "not 0, 3, 0"),
        (lambda m: Iterative(m, 3, rounds=0), "rounds is 1 or more, not 0"),
    ],
)
def test_an_impossible_range_is_refused(make, message):
    """A schedule that could never end, or never begin, is an error at once."""
    with pytest.raises(RecipeError, match=message):
        make(compressed())


def test_a_model_without_pruning_has_nothing_to_schedule():
    """A schedule on a model that carries no pruning method says what to call first."""
    for recipe in (Recipe(), Recipe([("*", [KMeans(bits=1)])])):
        with pytest.raises(RecipeError, match="carries no prune method to schedule: call compress_ first"):
            Cubic(compressed(recipe), 5)
