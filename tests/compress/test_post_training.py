"""quantize.PostTraining: grids, roundings, shared bits, bias correction, equalisation; on integers in the engine."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome.compress.calibrate import calibrate_
from lissome.compress.equalise import equalise_
from lissome.compress.fold import fold_batch_norms_
from lissome.compress.prune import Magnitude
from lissome.compress.quantize import PostTraining, ranges
from lissome.compress.quantize.bits import allocate
from lissome.compress.quantize.ranges import Observed
from lissome.compress.quantize.rounding import ROUNDINGS, Rows, rounded
from lissome.compress.recipe import Recipe, Stage
from lissome.data import Dataset, Split
from lissome.errors import RecipeError
from lissome.train import pipeline
from lissome.weights import Codebook, Scaled


def network():
    """Convolutions (one depthwise), a batch norm, pooling and a linear layer; and inputs."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    x = torch.randn(60, 3, 8, 8)
    model(x)
    return model.eval(), x


def problem(top=3, correlated=True):
    """Rows of eight weights whose inputs go together."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(500, 8, generator=generator, dtype=torch.float64)
    if correlated:
        x = x @ torch.randn(8, 8, generator=generator, dtype=torch.float64) + x
    gram = (x.mT @ x / 500).unsqueeze(0) if correlated else torch.eye(8, dtype=torch.float64).unsqueeze(0)
    weight = torch.randn(1, 5, 8, generator=generator, dtype=torch.float64)
    scale = weight.abs().amax(2, keepdim=True) / top
    return Rows(weight, scale, gram, gram, torch.zeros_like(weight, dtype=torch.bool), top)


def test_nearest_is_numpys():
    """A filter's codes are rint(w / s) within ± 2^(bits − 1) − 1, s that of ranges.symmetric; pruned weights stay 0."""
    model, x = network()
    ls.compress_(model[5], [Magnitude(sparsity=0.5), PostTraining(bits=4, weights="minmax", activation_bits=0)])
    beneath = model[5].parametrizations.weight.original.detach().numpy().reshape(16, -1)
    pruned = np.where(model[5].weight.detach().numpy().reshape(16, -1) == 0, 0, beneath)
    calibrate_(model, x)
    scale = ranges.symmetric(pruned, 7, "minmax")[:, None]
    assert np.array_equal(model[5].weight.detach().numpy().reshape(16, -1), np.rint(pruned / scale).clip(-7, 7) * scale)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_roundings_against_every_choice(rounding):
    """Whatever looks at second moments loses less than the nearest codes, and nears the best of all 2^8 up and down."""
    rows = problem()
    codes = rounded(rows, rounding, 600)
    assert torch.equal(codes, codes.round())
    assert float(codes.abs().max()) <= rows.top
    nearest = rows.error(rounded(rows, "nearest", 0))
    below = (rows.weight / rows.scale).floor()
    choices = torch.tensor(list(itertools.product((0.0, 1.0), repeat=8)), dtype=torch.float64)
    tried = (below.mT.reshape(1, 8, 5) + choices.unsqueeze(2)).clamp(-rows.top, rows.top)  # (256, 8, 5)
    made = tried * rows.scale.view(1, 1, 5)
    difference = made - rows.weight[0].mT
    best = float(torch.einsum("adr,de,aer->ar", difference, rows.gram[0], difference).amin(0).sum())
    kept = rows.error(rows.weight / rows.scale)  # what no codes change
    assert rows.error(codes) - kept >= best - 1e-9 or rounding in ("gptq", "obq")  # those may go further than one code
    if rounding != "nearest":
        assert rows.error(codes) < nearest
        assert rows.error(codes) - kept < 2 * best


def test_independent_inputs_leave_nothing_to_answer():
    """Where the second moments are diagonal, each weight goes to its nearest code whatever the rounding."""
    rows = problem(correlated=False)
    nearest = rounded(rows, "nearest", 0)
    for rounding in ROUNDINGS:
        assert torch.equal(rounded(rows, rounding, 300), nearest)


def test_obq_answers_as_optimal_brain_surgeon_says():
    """After the first weight is fixed, the others are the least squares of what is left: H restricted to them."""
    rows = problem(top=127)
    codes = rounded(rows, "obq", 0)
    h, w, s = rows.gram[0].numpy(), rows.weight[0, 0].numpy(), float(rows.scale[0, 0, 0])
    fixed, left = [], w.copy()
    while len(fixed) < 8:
        free = [i for i in range(8) if i not in fixed]
        inverse = np.linalg.inv(h[np.ix_(free, free)])
        error = left[free] - np.rint(left[free] / s) * s
        j = free[int(np.argmin(error**2 / np.diag(inverse)))]
        assert codes[0, 0, j] == np.clip(np.rint(left[j] / s), -127, 127)
        fixed.append(j)
        free.remove(j)
        if free:  # the rest of a least squares problem with `fixed` at their codes
            gap = codes[0, 0, fixed].numpy() * s - w[fixed]
            left[free] = w[free] - np.linalg.solve(h[np.ix_(free, free)], h[np.ix_(free, fixed)] @ gap)


def test_bits_are_shared_out_at_the_least_cost():
    """The choice equals the best of all, for random costs and sizes; too small a budget is refused."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        sizes = [int(n) for n in rng.integers(1, 50, 4)]
        costs = [dict(zip((2, 4, 8), sorted(rng.random(3), reverse=True), strict=True)) for _ in sizes]
        budget = int(rng.integers(2 * sum(sizes), 8 * sum(sizes)))
        every = [c for c in itertools.product((2, 4, 8), repeat=4) if np.dot(c, sizes) <= budget]
        best = min(sum(cost[bits] for cost, bits in zip(costs, choice, strict=True)) for choice in every)
        chosen = allocate(costs, sizes, budget)
        assert np.dot(chosen, sizes) <= budget
        assert sum(cost[bits] for cost, bits in zip(costs, chosen, strict=True)) == best
    with pytest.raises(RecipeError, match="at the least"):
        allocate([{2: 0.0}], [10], 19)


def test_a_budget_gives_layers_bits_of_their_own():
    """The mean is within the budget, layers differ, and the network loses less than with the same bits for all."""
    losses = {}
    for options in ({"bits": 8, "budget": 4.0}, {"bits": 4}):
        model, x = network()
        fold_batch_norms_(model, x)
        wanted = model(x).detach()
        ls.compress_(model, [PostTraining(**options, activation_bits=0)])
        calibrate_(model, x)
        parts = [model[i].parametrizations.weight[0] for i in (0, 3, 5, 9)]
        bits = [int(part.bits) for part in parts]
        assert np.dot(bits, [part.codes.numel() for part in parts]) <= 4 * sum(part.codes.numel() for part in parts)
        losses[len(set(bits)) > 1] = float((model(x) - wanted).square().mean().detach())
    assert losses[True] < losses[False]


def test_a_bias_takes_up_the_mean():
    """With biases under the rule the mean output of each layer is the original's; without, it is not."""
    shifts = {}
    for select in ("*", "*|*.bias"):
        model, x = network()
        fold_batch_norms_(model, x)
        layer = nn.Sequential(*list(model)[:1])
        wanted = layer(x).mean((0, 2, 3)).detach()
        ls.compress_(layer, Recipe([(select, [PostTraining(bits=2, activation_bits=0)])]))
        calibrate_(layer, x)
        shifts[select] = float((layer(x).mean((0, 2, 3)) - wanted).abs().max().detach())
    assert shifts["*|*.bias"] < 0.05 * shifts["*"]


def test_equalising_keeps_the_network_and_makes_ranges_equal():
    """model(x) stays; what makes a channel and what reads it have the same largest weight, where nothing else does."""
    model, x = network()
    fold_batch_norms_(model, x)
    wanted = model(x)
    assert equalise_(model, x) == [("0", "3"), ("3", "5"), ("5", "9")]
    torch.testing.assert_close(model(x), wanted, rtol=1e-4, atol=1e-5)
    made, read = model[5].weight.abs().flatten(1).amax(1), model[9].weight.abs().amax(0)
    torch.testing.assert_close(made, read, rtol=5e-3, atol=0)
    ls.compress_(model, [PostTraining()])
    with pytest.raises(RecipeError, match="carries a method"):
        equalise_(model, x)


def test_entropy_cuts_a_long_tail():
    """The range of least divergence leaves out a number far from the others, and keeps a short range whole."""
    bulk = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    for x, most in ((np.append(bulk, np.float32(50)), 30), (np.clip(bulk, -1, 1), 1)):
        seen = Observed()
        seen.see_ends(x)
        seen.see(x)
        low, high = ranges.choose(seen, "entropy", 255)
        assert high <= most
        assert ranges.divergence(seen, (low, high), 255) <= ranges.divergence(seen, (seen.low, seen.high), 255)


def test_it_runs_on_integers(tmp_path):
    """Frozen, batch norm folded into the scales, packed and read again: int8 kernels, with torch's answers."""
    model, x = network()
    ls.compress_(model, [PostTraining()])
    calibrate_(model, x)
    net = ls.freeze(model, example=x[:1])
    assert "BatchNormalization" not in {node.op for node in net.graph.nodes}
    ls.save(net, tmp_path / "net.liss")
    engine = ls.compile(tmp_path / "net.liss")
    assert sum("_i8_" in str(line) for line in str(engine.explain()).splitlines()) >= 4
    want = model(x).detach().numpy()
    assert np.abs(engine(x.numpy()) - want).max() < 0.02 * np.ptp(want)  # biases are whole units of sums there


def test_scaled_weights_stand_for_what_they_were_scaled_to():
    """`rescaled` finds signs and scales of any factor a filter, 0 among them, and refuses other changes."""
    rng = np.random.default_rng(0)
    weight = Scaled(
        Codebook(rng.integers(0, 15, (4, 3, 2)), np.arange(-7, 8).astype(np.float32)), np.ones(4, np.float32)
    )
    factors = np.array([2.5, -0.3, 0, 1], np.float32).reshape(4, 1, 1)
    found = weight.rescaled(weight.to_dense() * factors)
    assert np.array_equal(found.to_dense(), weight.to_dense() * factors)
    assert weight.rescaled(weight.to_dense() + 0.1) is None


def test_bare_options_and_layers_are_refused():
    """Options outside their ranges name themselves; a weight that is no layer's cannot have its inputs as codes."""
    for wrong in (
        {"bits": 9},
        {"activation_bits": 1},
        {"rounding": "up"},
        {"scope": "row"},
        {"budget": 9.0},
        {"steps": 0},
    ):
        with pytest.raises(RecipeError, match=r"PostTraining\("):
            PostTraining(**wrong)
    with pytest.raises(RecipeError, match="Only convolutions and linear layers"):
        ls.compress_(nn.Embedding(4, 3), [PostTraining()])


def test_a_recipe_does_it_after_preparing():
    """TOML alone: fold and equalise, then calibrate in the stage "quantize"; the reference is the network as given."""
    text = """
    [[rule]]
    select = "*|*.bias"
    methods = [{ use = "quantize.PostTraining", bits = 6, rounding = "gptq" }]
    [[stage]]
    settle = "quantize"
    prepare = "equalise"
    epochs = 0
    """
    recipe = Recipe.from_toml(text)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    model, _ = network()
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    split = Split(images, np.arange(40) % 10)
    given = model(torch.from_numpy(split.inputs()))
    outcome = pipeline.run(recipe, model, Dataset("noise", 10, split, split), trained=True)
    assert isinstance(outcome.model[1], nn.Identity)
    assert 1 < outcome.model[5].parametrizations.weight[0].codes.unique().numel() <= 63
    error = outcome.model(torch.from_numpy(split.inputs())) - given
    assert float(error.square().mean().detach()) < 0.05 * float(given.var().detach())
    stages = [Stage(settle="prune", epochs=0), Stage(settle="quantize", prepare="fold", epochs=0)]
    with pytest.raises(RecipeError, match="only the first stage"):
        Recipe([("*", [Magnitude(sparsity=0.5), PostTraining()])], stages)
