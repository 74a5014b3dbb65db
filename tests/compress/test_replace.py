"""Structural methods: what every one of them keeps to, how they go with the others, and what they refuse."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import lissome as ls
from lissome.compress.apply import bake_, baked_copy, coded_parameters, compress_, uncompress_
from lissome.compress.factorize import (
    CP,
    PCA,
    SVD,
    Asymmetric,
    DepthwiseSeparable,
    LowRankSparse,
    Spatial,
    TensorTrain,
    Tucker,
)
from lissome.compress.prune import Magnitude
from lissome.compress.recipe import Recipe
from lissome.compress.schedule import OneShot
from lissome.compress.share import KMeans
from lissome.compress.structural import Factorized
from lissome.errors import DataError, RecipeError, WeightError
from lissome.weights import Codebook, Sparse

CONVOLUTIONS = "0|3"
EVERY = "*"
METHODS = (
    (EVERY, SVD(rank=2)),
    (EVERY, SVD(energy=0.8)),
    (EVERY, SVD(speedup=1.5)),
    (EVERY, SVD(speedup=1.5, scope="rule")),
    (EVERY, SVD(bayes=True)),
    (EVERY, PCA(speedup=1.5, scope="rule")),
    (EVERY, Asymmetric(rank=2)),
    (EVERY, Asymmetric(rank=2, nonlinear=False, asymmetric=False)),
    (CONVOLUTIONS, Spatial(rank=2)),
    (CONVOLUTIONS, Tucker(rank=2)),
    (CONVOLUTIONS, Tucker(speedup=1.5)),
    (CONVOLUTIONS, CP(rank=3)),
    (CONVOLUTIONS, DepthwiseSeparable(multiplier=2)),
    (EVERY, LowRankSparse(rank=2, sparsity=0.8)),
    ("6", TensorTrain(rank=2)),
)
#: options that no method with a rank takes
RANKED = (
    {},
    {"rank": 0},
    {"rank": True},
    {"rank": 1.5},
    {"rank": 1, "energy": 0.5},
    {"energy": 0.0},
    {"energy": 1.1},
    {"speedup": 1.0},
    {"speedup": float("inf")},
    {"rank": 1, "scope": "rule"},
    {"speedup": 2, "scope": "all"},
)
#: the same methods where they are exact
EXACT = (
    ("3", SVD(rank=6), 1e-5),
    ("0", PCA(rank=5), 1e-5),
    ("3", Asymmetric(rank=6), 1e-5),
    ("0", Spatial(rank=9), 1e-5),
    ("3", Spatial(rank=15), 1e-5),
    ("3", Tucker(rank=6, rank_in=5), 1e-5),
    ("0", CP(rank=27), 2e-2),  # the ridge
    ("0", DepthwiseSeparable(multiplier=5), 1e-5),
    ("6", LowRankSparse(rank=7, sparsity=0.9), 1e-5),
    ("6|8", TensorTrain(energy=1.0), 1e-5),
)


def network():
    """Two convolutions, the second strided and behind a batch norm, and two linear layers."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, bias=False),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Conv2d(5, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 7),
        nn.ReLU(),
        nn.Linear(7, 4),
    )
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
        model[1].weight.uniform_(0.5, 2)
    return model.eval()


def inputs(count=32):
    """Images that two numbers a pixel decide, so that responses have structure."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 8, 8, generator=generator)


def seen_by(method):
    """Calibration inputs, for a method that makes use of them."""
    uses = isinstance(method, PCA | Asymmetric | LowRankSparse | DepthwiseSeparable)
    return inputs() if uses or getattr(method, "scope", "") == "rule" else None


def compressed(select, methods):
    model = network()
    compress_(model, Recipe([(select, methods)]), inputs=seen_by(methods[0]))
    return model


def test_every_public_factorization_is_among_the_cases():
    """A new structural method must be added here."""
    offered = {getattr(ls.factorize, name) for name in ls.factorize.__all__}
    assert {type(method) for _, method in METHODS} == offered
    assert {type(method) for _, method, _ in EXACT} == offered


@pytest.mark.parametrize(("select", "method"), METHODS, ids=str)
def test_the_engine_computes_what_the_compressed_module_computes(select, method):
    """Frozen, saved, loaded and run: the module's own answer, within the rounding of float32 sums."""
    model = compressed(select, [method])
    expected = baked_copy(model).double()(inputs(3).double()).detach().numpy()
    net = ls.freeze(model, example=inputs(1))
    assert any(isinstance(part, Factorized) for part in model.modules())
    assert np.allclose(ls.compile(net)(inputs(3).numpy()), expected, atol=1e-5, rtol=1e-4)


def test_packed_factors_are_read_back(tmp_path):
    """A file holds the factors, under the names that they have in the module."""
    model = compressed(EVERY, [SVD(rank=2), Magnitude(sparsity=0.5), KMeans(bits=2)])
    net = ls.freeze(model, example=inputs(1))
    ls.save(net, tmp_path / "net.liss")
    back = ls.load(tmp_path / "net.liss")
    assert set(back.weights) == set(net.weights)
    assert {"0.factors.0.weight", "0.factors.1.weight", "8.factors.1.bias"} <= set(back.weights)
    assert np.array_equal(ls.compile(back)(inputs(2).numpy()), ls.compile(net)(inputs(2).numpy()))


@pytest.mark.parametrize(("select", "method", "tolerance"), EXACT, ids=str)
def test_full_rank_changes_nothing(select, method, tolerance):
    """Where a decomposition is exact, so is the network."""
    expected = network()(inputs())
    found = compressed(select, [method])(inputs())
    assert float((found - expected).detach().norm() / expected.detach().norm()) < tolerance


@pytest.mark.parametrize(("select", "method"), METHODS, ids=str)
def test_uncompress_gives_back_the_very_layers(select, method):
    """Same objects, same classes, same parameters, bit for bit."""
    model = network()
    layers, before = list(model.modules()), copy.deepcopy(model.state_dict())
    compress_(model, Recipe([(select, [method])]), inputs=seen_by(method))
    uncompress_(model)
    assert [type(layer) for layer in model.modules()] == [type(layer) for layer in network().modules()]
    assert all(one is other for one, other in zip(model.modules(), layers, strict=True))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(("select", "method"), METHODS, ids=str)
def test_a_method_prints_and_travels_as_it_is_written(select, method):
    """Python text and TOML both give an equal method back."""
    assert eval(str(method), {"factorize": ls.factorize}) == method  # noqa: S307 - made here
    recipe = Recipe([(select, [method, Magnitude(sparsity=0.5), KMeans(bits=3)])])
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize(("select", "method"), METHODS, ids=str)
def test_later_methods_go_onto_the_factors(select, method):
    """The rest of the chain prunes and shares the weights of the factors: encode(w).to_dense() == forward(w)."""
    model = compressed(select, [method, Magnitude(sparsity=0.5), KMeans(clusters=2)])
    coded = coded_parameters(model)
    factors = {name: weight for name, weight in coded.items() if ".factors." in name and name.endswith("weight")}
    assert factors
    for name, weight in factors.items():
        path, _, _ = name.rpartition(".")
        assert isinstance(weight, Sparse)
        assert isinstance(weight.values, Codebook)
        assert weight.to_dense().tobytes() == model.get_submodule(path).weight.detach().numpy().tobytes()


def test_factors_are_selected_by_the_layer_or_by_themselves():
    """Of a layer's factors each can have a rule; the layer's own name means them all, its bias too."""
    model = compressed("3", [SVD(rank=2)])
    compress_(model, Recipe([("3.factors.0", [Magnitude(sparsity=0.9)]), ("3|3.bias", [Magnitude(sparsity=0.5)])]))
    parts = model[3].factors
    assert int((parts[0].weight != 0).sum()) == 9
    assert int((parts[1].weight != 0).sum()) == 6
    assert int((parts[1].bias != 0).sum()) == 3


def test_schedules_drive_pruning_of_factors():
    """A schedule takes the masks of the factors back and puts them on; the structure stays."""
    model = compressed("6", [SVD(rank=2), Magnitude(sparsity=0.5)])
    ramp = OneShot(model, end_step=1)
    assert bool((model[6].factors[0].weight != 0).all())
    ramp.step()
    assert int((model[6].factors[0].weight != 0).sum()) == 96


def test_zeros_of_the_sparse_part_stay_zeros_in_training():
    """Low rank + sparse: training moves what is left; what was zero stays zero and is stored as such."""
    model = compressed("6", [LowRankSparse(rank=1, sparsity=0.9)])
    zeros = model[6].factors.sparse.weight == 0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(inputs()).square().mean().backward()
    optimizer.step()
    assert torch.equal(model[6].factors.sparse.weight == 0, zeros)
    assert coded_parameters(model)["6.factors.sparse.weight"].nnz == 67


def test_factors_train_and_reload():
    """Factors are ordinary parameters; a fresh module with the recipe loads their state."""
    model, other = compressed(EVERY, [SVD(rank=2)]), compressed(EVERY, [SVD(rank=2)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(inputs()).square().mean().backward()
    optimizer.step()
    assert not torch.equal(model(inputs()), other(inputs()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(inputs()), other(inputs()))
    assert torch.equal(copy.deepcopy(model)(inputs()), other(inputs()))


def test_baked_factors_are_layers_like_others():
    """After bake_ uncompress_ leaves them, and each may be replaced in turn: separable, then low rank."""
    model = compressed("3", [Spatial(rank=4)])
    with pytest.raises(RecipeError, match=r"it is a factor of factorize.Spatial\(rank=4\). uncompress_ or bake_ first"):
        compress_(model, Recipe([("3.factors.1", [SVD(rank=2)])]))
    bake_(model)
    before = model(inputs())
    uncompress_(model)
    assert torch.equal(model(inputs()), before)
    compress_(model, Recipe([("3.factors.1", [SVD(rank=2)])]))
    assert [tuple(part.weight.shape) for part in model[3].factors[1].factors] == [(2, 4, 1, 3), (6, 2, 1, 1)]


def test_a_layer_used_twice_is_replaced_at_both_places():
    """One object stays one object; its responses are those of both calls."""
    torch.manual_seed(0)
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    compress_(model, [Asymmetric(rank=3)], inputs=torch.randn(50, 6))
    assert model[0] is model[2]
    assert isinstance(model[0], Factorized)


def test_training_mode_device_and_frozen_layers_are_kept():
    """Modes are as they were, part by part; a layer that does not train has factors that do not."""
    model = network().train()
    model[1].eval()
    model[6].weight.requires_grad_(requires_grad=False)
    compress_(model, Recipe([(EVERY, [PCA(rank=2)])]), inputs=inputs())
    assert model.training
    assert model[0].factors[0].training
    assert not model[1].training
    assert not any(p.requires_grad for p in model[6].parameters())


@pytest.mark.parametrize("value", [0.0, 1.5])
@pytest.mark.parametrize(("select", "method"), METHODS, ids=str)
def test_constant_and_zero_layers(select, method, value):
    """A layer of zeros or of one value has rank one or none, which every method represents; nothing is NaN."""
    model = network()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.fill_(value)
    expected = model(inputs())
    compress_(model, Recipe([(select, [method])]), inputs=seen_by(method))
    assert torch.isfinite(model(inputs())).all()
    if not isinstance(method, CP):
        assert torch.allclose(model(inputs()), expected, rtol=1e-3, atol=1e-3)


class Tied(nn.Module):
    """Two layers that hold one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def grouped():
    return nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))


def normed():
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)))


def pruned():
    model = nn.Sequential(nn.Linear(4, 4))
    compress_(model, [Magnitude(sparsity=0.5)])
    return model


def unused():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    return Unused()


@pytest.mark.parametrize(
    ("make", "select", "method", "message"),
    [
        (Tied, "*", SVD(rank=1), "2 layers share the weight. Untie them"),
        (grouped, "*", SVD(rank=1), "it has 2 groups"),
        (normed, "*", SVD(rank=1), "already carries methods or other parametrizations"),
        (pruned, "*", SVD(rank=1), r"carries prune.Magnitude\(sparsity=0.5\)"),
        (network, "1.weight", SVD(rank=1), "it belongs to a BatchNorm2d"),
        (network, "*.bias", SVD(rank=1), "selects biases only"),
        (network, "8", SVD(rank=5), r"factorize.SVD\(rank=5\) on '8': the full rank is 4"),
        (network, "8", SVD(speedup=100), "rank 1 is 2.55 times cheaper"),
        (network, "8", PCA(rank=5), "the full rank is 4"),
        (network, "*", SVD(speedup=100, scope="rule"), "rank 1 everywhere is .* times cheaper"),
        (network, "8", Spatial(rank=1), "it is a linear layer"),
        (network, "3", Spatial(rank=16), "the full rank is 15"),
        (network, "3", Tucker(rank=7), "the full ranks are 6 out, 5 in"),
        (network, "3", Tucker(speedup=1000), "ranks 1 are .* times cheaper"),
        (network, "3", CP(rank=46), "rank 45 is always enough"),
        (network, "3", CP(speedup=1000), "rank 1 is .* times cheaper"),
        (network, "3", DepthwiseSeparable(multiplier=7), "a multiplier of 6 is exact"),
        (network, "8", LowRankSparse(rank=5), "the full rank is 4"),
        (network, "8", LowRankSparse(speedup=100), "rank 1 is .* times cheaper"),
        (network, "3", TensorTrain(rank=1), "it is a convolution"),
        (network, "8", TensorTrain(rank=100), "the full rank is"),
        (network, "8", TensorTrain(compression=100), "rank 1 has .* times fewer weights"),
        (unused, "unused", PCA(rank=1), "'unused' is not called for the calibration inputs"),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 1)), "*", Spatial(rank=1), "its window is 1×1"),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, (1, 3))), "*", Spatial(rank=1), "its window is 1×3"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(make, select, method, message):
    """One clear error, and the module is as it was."""
    model = make()
    before = [type(part) for part in model.modules()]
    seen = inputs() if make is network else torch.randn(40, 4)
    seen = None if make is grouped or isinstance(method, Spatial) else seen
    with pytest.raises(RecipeError, match=message):
        compress_(model, Recipe([(select, [method])]), inputs=seen)
    assert [type(part) for part in model.modules()] == before


def test_a_later_method_that_fails_takes_the_structure_off_again():
    """A codebook larger than a factor is found only once there are factors; still nothing is left changed."""
    model = network()
    expected = model(inputs())
    with pytest.raises(RecipeError, match="clusters"):
        compress_(model, Recipe([("*", [SVD(rank=1), KMeans(clusters=8)])]))
    assert not any(isinstance(part, Factorized) for part in model.modules())
    assert torch.equal(model(inputs()), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(0, 3, 8, 8), "no calibration inputs"),
        (lambda: torch.full((4, 3, 8, 8), float("nan")), "the calibration inputs hold NaN"),
        (lambda: torch.full((4, 3, 8, 8), 1e38), "the activations of '0' hold NaN or infinity"),
    ],
)
def test_bad_calibration_inputs(make, message):
    """Empty inputs, inputs that are not finite, and activations that are not, are told apart; nothing is changed."""
    model = network()
    with torch.no_grad():
        model[0].weight.mul_(100)
    with pytest.raises(DataError, match=message):
        compress_(model, Recipe([("*", [PCA(rank=1)])]), inputs=make())
    assert not any(isinstance(part, Factorized) for part in model.modules())


def test_a_method_that_needs_inputs_says_so():
    """Without calibration inputs, methods on responses and ranks over layers name the argument that is missing."""
    for method in (PCA(rank=1), Asymmetric(rank=1), SVD(speedup=2, scope="rule")):
        with pytest.raises(RecipeError, match="give compress_ inputs="):
            compress_(network(), Recipe([("*", [method])]))


def test_nan_weights_are_named():
    """A layer with NaN is the training's fault, said before anything is decomposed."""
    model = network()
    with torch.no_grad():
        model[6].weight[0, 0] = float("nan")
    with pytest.raises(WeightError, match=r"'6.weight' holds 1 NaN"):
        compress_(model, Recipe([("*", [SVD(rank=1)])]))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *itertools.product((SVD, PCA, Asymmetric, Spatial, Tucker), RANKED),
        (Tucker, {"speedup": 2, "scope": "rule"}),
        (Tucker, {"energy": 0.5, "rank_in": 2}),
        (Tucker, {"rank": 1, "rank_in": 0}),
        (CP, {}),
        (CP, {"rank": 0}),
        (CP, {"rank": 1, "speedup": 2}),
        (CP, {"speedup": 0.5}),
        (DepthwiseSeparable, {"multiplier": 0}),
        (LowRankSparse, {}),
        (LowRankSparse, {"rank": 0}),
        (LowRankSparse, {"rank": 1, "sparsity": 1.0}),
        (LowRankSparse, {"speedup": 1.0}),
        (TensorTrain, {}),
        (TensorTrain, {"rank": 0}),
        (TensorTrain, {"rank": 1, "cores": 1}),
        (TensorTrain, {"energy": 2}),
        (TensorTrain, {"compression": 1}),
        (TensorTrain, {"rank": 1, "energy": 0.5}),
    ],
)
def test_impossible_options_are_refused(kind, options):
    """Each option's range is checked when the method is made, and the message names the method."""
    with pytest.raises(RecipeError, match=rf"factorize\.{kind.__name__}"):
        kind(**options)


def test_pipeline_factorizes_in_its_own_stage(quadrants_like):
    """A stage that settles "factorize" replaces the layers and trains; pruning of the factors follows in the next."""
    from lissome.train import pipeline

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    recipe = Recipe(
        [("1", [PCA(rank=2), Magnitude(sparsity=0.5)])],
        [ls.Stage(settle="factorize", epochs=1), ls.Stage(settle="prune", epochs=1)],
    )
    seen = []

    def record(stage, trained):
        weight = coded_parameters(trained)["1.factors.0.weight"]
        seen.append((stage.settle, weight.shape, int((weight.to_dense() != 0).sum())))

    pipeline.run(recipe, model, quadrants_like, trained=True, holdout=20, on_stage=record)
    assert seen == [("factorize", (2, 16), 32), ("prune", (2, 16), 16)]


@pytest.fixture
def quadrants_like():
    """Random 4×4 images whose label is their brightest column."""
    from lissome.data import Dataset, Split

    images = np.random.default_rng(0).integers(0, 256, (100, 1, 4, 4), dtype=np.uint8)
    split = Split(images, images.sum(axis=(1, 2)).argmax(axis=1).astype(np.int64))
    return Dataset("columns", 4, split, split)
