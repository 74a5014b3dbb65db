"""Recipes that shrink, and every pruning method in the staged run, from TOML to the packed network."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome.compress.prune import BrainDamage
from lissome.compress.recipe import Recipe, Shrink, Stage
from lissome.compress.shrink import shrink
from lissome.errors import RecipeError
from lissome.train import pipeline

TOML = """
seed = 3

[[rule]]
select = "*"
methods = [
  {{ use = "prune.Magnitude", sparsity = 0.5 }},
]

[shrink]
{how}

[[stage]]
epochs = 1

[[stage]]
settle = "shrink"
epochs = 2
distill = 0.5

[[stage]]
settle = "prune"
epochs = 1
"""


@pytest.mark.parametrize(
    "how", ["macs = 0.6", 'channels = 0.5\nsaliency = "taylor"', 'macs = 0.6\nsaliency = "random"\nseed = 4']
)
def test_a_recipe_shrinks_then_prunes(how, make_network, quadrants):
    """The caller's own module gets smaller layers, trains on, and is pruned; the reference stays as large as it was."""
    recipe = Recipe.from_toml(TOML.format(how=how))
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "shrink" in str(recipe)
    model = make_network()
    outcome = pipeline.run(recipe, model, quadrants)
    assert outcome.model is model
    assert model[0].weight.shape[0] < 4
    assert outcome.reference[0].weight.shape[0] == 4
    assert [name for name, _ in outcome.accuracies] == ["train", "shrink", "prune"]
    weight = model[6].weight
    assert int((weight != 0).sum()) == weight.numel() - weight.numel() // 2
    x = torch.from_numpy(quadrants.test.inputs())
    net = ls.freeze(model, example=x[:1])
    with torch.no_grad():
        np.testing.assert_allclose(ls.compile(net)(x.numpy()), model.eval()(x).numpy(), rtol=1e-4, atol=1e-4)


def test_the_channels_that_go_are_those_that_shrink_chooses(make_network, quadrants):
    """Without training around it, the stage gives what `shrink` gives on the same weights."""
    model = make_network()
    small = shrink(copy.deepcopy(model), example=torch.from_numpy(quadrants.train.inputs()[:1]), macs=0.6)
    recipe = Recipe([], [Stage(settle="shrink", epochs=0)], shrink=Shrink(macs=0.6))
    pipeline.run(recipe, model, quadrants, trained=True)
    for name, value in small.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_a_killed_run_that_shrinks_ends_with_the_same_bits(at, make_network, quadrants, tmp_path):
    """Before the cut, in the middle of its stage and after it: the second run ends where one alone would."""
    recipe = Recipe.from_toml(TOML.format(how='macs = 0.6\nsaliency = "taylor"'))
    wanted = pipeline.run(recipe, make_network(), quadrants, work=tmp_path / "whole")
    moments = iter(range(100))

    class Killed(Exception):
        pass

    def moment(*_):
        if next(moments) == at:
            raise Killed

    with pytest.raises(Killed):
        pipeline.run(recipe, make_network(), quadrants, work=tmp_path / "cut", on_epoch=moment, on_stage=moment)
    found = pipeline.run(recipe, make_network(), quadrants, work=tmp_path / "cut")
    for name, value in wanted.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("shrinking", "stages", "message"),
    [
        (Shrink(macs=0.5), [Stage()], r"\[shrink\], but no stage"),
        (None, [Stage(settle="shrink")], r"settles 'shrink', but there is no \[shrink\]"),
        (Shrink(zeros=True), [Stage(settle="shrink")], "macs or channels"),
    ],
)
def test_a_recipe_that_cannot_shrink_is_refused_when_it_is_made(shrinking, stages, message):
    """[shrink] and its stage come together, and by macs or channels."""
    with pytest.raises(RecipeError, match=message):
        Recipe([], stages, shrink=shrinking)


def test_the_recipe_of_resnet_56_is_one():
    """The example reads as a recipe that halves the multiply-adds in its first stage."""
    recipe = Recipe.load(Path(__file__).parents[2] / "examples/recipes/cifar-resnet-56-filters.toml")
    assert recipe.shrink == Shrink(macs=0.5, saliency="l1", least=4)
    assert recipe.stages[0].settle == "shrink"


def test_a_network_that_shrank_is_looked_at_again(make_network, quadrants, monkeypatch):
    """Methods that look at the network see it as the stage before left it, not as it was cut."""
    seen = []
    inform = BrainDamage.inform

    def watch(self, plain, members, inputs):
        seen.append(plain.state_dict()["2.weight"].clone())
        inform(self, plain, members, inputs)

    monkeypatch.setattr(BrainDamage, "inform", watch)
    stages = [Stage(settle="shrink", epochs=1, lr=0.01), Stage(settle="prune", epochs=0)]
    recipe = Recipe([("2", [BrainDamage(sparsity=0.5)])], stages, shrink=Shrink(macs=0.6))
    model = make_network()
    pipeline.run(recipe, model, quadrants)
    assert len(seen) == 2
    assert torch.equal(seen[1], model[2].parametrizations.weight.original)
    assert not torch.equal(seen[0], seen[1])


def test_a_target_out_of_reach_is_said_before_any_training(make_network, quadrants):
    """As everything that does not fit: not after the dense training."""
    recipe = Recipe([], [Stage(epochs=1), Stage(settle="shrink")], shrink=Shrink(macs=0.001))

    def never(*_):
        pytest.fail("it trained")

    with pytest.raises(RecipeError, match="ask for that or more"):
        pipeline.run(recipe, make_network(), quadrants, on_epoch=never)


@pytest.mark.parametrize(
    "method",
    [
        'use = "prune.Magnitude", sparsity = 0.5, scope = "sensitivity"',
        'use = "prune.BrainDamage", sparsity = 0.5',
        'use = "prune.Surgery", sparsity = 0.5',
        'use = "prune.ADMM", sparsity = 0.5',
        'use = "prune.GroupLasso", filters = 0.01, channels = 0.01',
        'use = "prune.ChannelLasso", sparsity = 0.5',
        'use = "prune.EnergyAware", sparsity = 0.5',
        'use = "prune.LoadBalanced", sparsity = 0.5, pes = 2',
    ],
)
def test_every_method_goes_from_toml_to_the_packed_network(method, make_network, quadrants):
    """Settled, calibrated where it is of that kind, trained, then shared; what is packed is what was trained."""
    schedule = 'schedule = "iterative"\nrounds = 2\n' if "ADMM" in method else ""
    text = (
        f'[[rule]]\nselect = "2|6"\nmethods = [{{ {method} }}, {{ use = "share.KMeans", clusters = 4 }}]\n'
        f'[[stage]]\nsettle = "prune"\nepochs = 2\nlr = 0.01\n{schedule}[[stage]]\nsettle = "share"\nepochs = 1\n'
    )
    model: nn.Sequential = make_network()
    pipeline.run(Recipe.from_toml(text), model, quadrants)
    zeros = sum(int((model[index].weight == 0).sum()) for index in (2, 6))
    assert "Lasso(" in method or "GroupLasso" in method or zeros > 40
    x = torch.from_numpy(quadrants.test.inputs())
    with torch.no_grad():
        np.testing.assert_allclose(
            ls.compile(ls.freeze(model, example=x[:1]))(x.numpy()), model(x).numpy(), rtol=1e-4, atol=1e-4
        )
