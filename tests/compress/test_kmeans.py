"""Trained quantization: the paper's worked example to the digit, grouped gradients, formats, and the odd layers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lissome.compress.apply import bake_, coded_parameters, compress_, groups, uncompress_
from lissome.compress.prune import Magnitude
from lissome.compress.recipe import Recipe
from lissome.compress.share import KMeans
from lissome.errors import RecipeError, WeightError
from lissome.weights import Codebook, Sparse
from lissome.weights.formats import FORMATS, round_to
from methods import layer, network


def shared(values, **options):
    """The layer under KMeans(**options), and the parametrization."""
    module = layer(values)
    compress_(module, [KMeans(**options)])
    return module, module.parametrizations.weight[0]


def random_weights(rows=12, columns=9, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (rows, columns)).astype(np.float32)


def grouped(gradient, codes, entries):
    """Equation 3 of the paper, entry by entry, in float64."""
    sums = np.zeros(entries)
    for g, code in zip(gradient.reshape(-1), codes.reshape(-1), strict=True):
        if code > 0:
            sums[code - 1] += float(g)
    return sums


@pytest.mark.parametrize("fmt", FORMATS)
def test_gradient_of_a_centroid_is_the_sum_over_its_members(fmt):
    """Equation 3: d loss / d C_k = Σ_ij d loss / d W_ij · 1(I_ij = k); pruned weights belong to no k, in any format.

    The sum is taken in float64 and rounded once to float32, so it agrees with the reference to half a unit in the last
    place of the result, give or take the order of the float64 sum.
    """
    module = layer(random_weights())
    compress_(module, [Magnitude(sparsity=0.4), KMeans(bits=3, format=fmt)])
    parametrization = module.parametrizations.weight[1]
    gradient = np.random.default_rng(1).normal(size=(12, 9)).astype(np.float32)
    (module.weight * torch.from_numpy(gradient)).sum().backward()
    expected = grouped(gradient, parametrization.codes.numpy(), 8)
    found = parametrization.codebook.grad.numpy()
    assert np.allclose(found, expected, rtol=2.0**-23, atol=1e-12 * np.abs(gradient).sum())
    assert module.parametrizations.weight.original.grad is None or not (
        module.parametrizations.weight.original.grad.any()
    )


def test_a_step_of_sgd_moves_members_together():
    """After a step every member of a cluster has its centroid's new value; pruned weights have none."""
    module = layer(random_weights())
    compress_(module, [Magnitude(sparsity=0.4), KMeans(clusters=6, format="float32")])
    parametrization = module.parametrizations.weight[1]
    codes, before = parametrization.codes.clone(), parametrization.codebook.detach().clone()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        module(torch.randn(5, 9)).square().mean().backward()
        optimizer.step()
    assert torch.equal(parametrization.codes, codes)
    assert not torch.equal(parametrization.codebook, before)
    table = torch.cat([torch.zeros(1), parametrization.codebook.detach()])
    assert torch.equal(module.weight, table[codes.long()])
    assert int((module.weight == 0).sum()) == 12 * 9 - round(0.6 * 12 * 9)


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_network_sees_the_codebook_as_the_file_stores_it(fmt):
    """What is trained with is the codebook rounded to its format, by the same rounding that the file's format uses."""
    _, parametrization = shared(random_weights(40, 50), bits=8, format=fmt)
    with torch.no_grad():
        parametrization.codebook.copy_(torch.randn(256) * torch.logspace(-8, 2, 256))
    exact = parametrization.codebook.detach().numpy()
    assert np.array_equal(parametrization.rounded().detach().numpy(), round_to(exact, fmt))
    weight = parametrization(torch.zeros(40, 50)).detach().numpy()
    assert np.array_equal(weight, round_to(weight, fmt))


@pytest.mark.parametrize(("fmt", "largest"), [("float8_e4m3", 448.0), ("float16", 65504.0)])
def test_a_centroid_past_the_format_is_held_at_its_largest_number(fmt, largest):
    """A centroid that training drives out of range saturates instead of becoming infinite, and can come back."""
    module, parametrization = shared(random_weights(), clusters=3, format=fmt)
    with torch.no_grad():
        parametrization.codebook.copy_(torch.tensor([-3e9, 0.5, 3e9]))
    assert parametrization.rounded().tolist() == [-largest, 0.5, largest]
    assert np.abs(coded_parameters(module)["weight"].to_dense()).max() == largest
    module.weight.sum().backward()
    assert (parametrization.codebook.grad > 0).all()


@pytest.mark.parametrize("value", [-0.0, -1e-30, 1e-30])
def test_a_centroid_that_becomes_zero_is_one_zero(value):
    """A tiny or negative-zero centroid is +0 in the network and in the file, and its weights are stored as pruned."""
    module = layer(random_weights())
    compress_(module, [Magnitude(sparsity=0.4), KMeans(clusters=3)])
    parametrization = module.parametrizations.weight[1]
    with torch.no_grad():
        parametrization.codebook[1] = value
    seen = module.weight.detach().numpy()
    weight = coded_parameters(module)["weight"]
    assert isinstance(weight, Sparse)
    assert weight.to_dense().tobytes() == seen.tobytes()
    assert weight.nnz == np.count_nonzero(seen)
    assert weight.values.codebook.size == 2


def test_the_packed_codebook_is_ascending_and_holds_what_is_used():
    """Training may cross centroids, make two equal or leave one without a member; the file keeps none of that."""
    module, parametrization = shared([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]], clusters=5)
    assert parametrization.codebook.tolist() == [1, 2, 3, 4, 0]
    with torch.no_grad():
        parametrization.codebook.copy_(torch.tensor([5.0, -1.0, 5.0, 2.0, 9.0]))
    weight = coded_parameters(module)["weight"]
    assert isinstance(weight, Codebook)
    assert weight.codebook.tolist() == [-1, 2, 5]
    assert weight.codes.tolist() == [[2, 0, 2, 1]] * 2
    assert weight.to_dense().tobytes() == module.weight.detach().numpy().tobytes()


def test_zeros_stay_zeros():
    """Weights that are zero before sharing, pruned or simply zero, are zero after it and never in a cluster."""
    values = random_weights()
    values[0] = 0
    values[1] = -0.0
    module, parametrization = shared(values, clusters=4)
    assert torch.equal(module.weight == 0, torch.from_numpy(values == 0))
    assert not parametrization.codes[:2].any()
    assert coded_parameters(module)["weight"].nnz == 10 * 9


def test_clusters_are_found_among_the_survivors_alone():
    """Pruning comes first in the chain: the codebook is that of k-means over what the mask lets through."""
    values = random_weights(30, 30)
    module = layer(values)
    compress_(module, [Magnitude(threshold=1.0), KMeans(clusters=2, format="float32")])
    kept = values[np.abs(values) >= 1]
    expected = [kept[kept < 0].astype(np.float64).mean(), kept[kept > 0].astype(np.float64).mean()]
    assert module.parametrizations.weight[1].codebook.tolist() == [np.float32(x) for x in expected]


def test_a_codebook_larger_than_its_layer_is_refused():
    """More entries than weights would make the file larger: RecipeError names layer, entries and weights."""
    model = network()
    with pytest.raises(
        RecipeError, match=r"on '0.weight': a codebook of 64 entries is larger than the layer of 36 wei"
    ):
        compress_(model, Recipe([("*", [KMeans(bits=6)])]))
    assert not groups(model)
    compress_(model, Recipe([("0", [KMeans(clusters=36)])]))


def test_fewer_distinct_weights_than_entries_keep_one_entry_each():
    """A layer that pruning left with few values is shared without loss."""
    module = layer(np.array([[1.5, -2.0, 0.1, 0.2], [0.1, 0.2, 1.5, 0.3]]))
    compress_(module, [Magnitude(threshold=1.0), KMeans(clusters=8)])
    assert module.weight.tolist() == [[1.5, -2.0, 0, 0], [0, 0, 1.5, 0]]
    weight = coded_parameters(module)["weight"]
    assert weight.values.codebook.tolist() == [-2.0, 1.5]


def test_a_layer_without_survivors_is_all_zero_and_codable():
    """An all-zero weight has no cluster: it stays zero, trains nothing and packs as no entry at all."""
    module, parametrization = shared(np.zeros((3, 4)), clusters=4)
    assert not module.weight.any()
    weight = coded_parameters(module)["weight"]
    assert isinstance(weight, Sparse)
    assert weight.nnz == 0
    assert weight.to_dense().tobytes() == np.zeros((3, 4), np.float32).tobytes()
    module(torch.ones(2, 4)).sum().backward()
    assert not parametrization.codebook.grad.any()


def test_unsettled_sharing_lets_everything_through():
    """Below full strength sharing sleeps: weight and gradient pass unchanged and the codebook has none."""
    module = layer(random_weights())
    before = module.weight.detach().clone()
    compress_(module, [KMeans(bits=2)])
    ((_, members),) = groups(module)
    for fraction in (0.0, 0.99):
        members[0].parametrization.method.settle(members, fraction)
        assert torch.equal(module.weight, before)
    module(torch.ones(1, 9)).sum().backward()
    assert module.parametrizations.weight.original.grad.all()
    assert module.parametrizations.weight[0].codebook.grad is None
    assert coded_parameters(module)["weight"].describe() == "float32"


def test_codes_and_codebook_survive_state_dict():
    """A freshly compressed module that loads the state has the same codes, codebook and settled flag."""
    recipe = Recipe([("*", [Magnitude(sparsity=0.5), KMeans(clusters=7)])])
    model, fresh = network(0), network(1)
    for each in (model, fresh):
        compress_(each, recipe)
    for _, members in groups(fresh):
        members[0].parametrization.method.settle(members, 0.0)
    fresh.load_state_dict(copy.deepcopy(model.state_dict()))
    ours, theirs = coded_parameters(model), coded_parameters(fresh)
    assert ours == theirs
    assert torch.equal(model[0].weight, fresh[0].weight)


def test_it_comes_off_and_can_be_baked():
    """uncompress_ returns the weights as they were; bake_ leaves the shared values in plain parameters."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    compress_(model, Recipe([("*", [KMeans(bits=2)])]))
    twin = copy.deepcopy(model)
    uncompress_(model)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    seen = twin[3].weight.detach().clone()
    bake_(twin)
    assert type(twin[3]) is nn.Linear
    assert torch.equal(twin[3].weight, seen)
    assert set(dict(twin.named_parameters())) == set(before)


def test_same_seed_same_codes():
    """Compressing the same weights twice gives the same codes and codebook, random initialisation included."""
    for init in ("linear", "density", "random", "kmeans++"):
        first, second = (shared(random_weights(), clusters=5, init=init, seed=4)[1] for _ in range(2))
        assert torch.equal(first.codes, second.codes)
        assert torch.equal(first.codebook, second.codebook)


def test_codebooks_of_256_and_more_entries():
    """The pruned code and 256 entries do not fit a byte: codes are wider then, and nothing wraps around."""
    values = np.arange(1, 601, dtype=np.float32).reshape(20, 30)
    for clusters in (255, 256, 600):
        module, parametrization = shared(values, clusters=clusters, format="float32")
        assert int(parametrization.codes.max()) == clusters
        weight = coded_parameters(module)["weight"]
        assert weight.codebook.size == clusters
        assert weight.to_dense().tobytes() == module.weight.detach().numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_shared_and_coded(dtype):
    """Half, bfloat16 and double weights work as float32 does, and keep their dtype."""
    module = nn.Linear(8, 6, bias=False).to(dtype)
    compress_(module, [KMeans(bits=2, format="float8_e4m3")])
    assert module.weight.dtype == dtype
    coded = coded_parameters(module)["weight"].to_dense()
    assert np.array_equal(coded, module.weight.detach().float().numpy())


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_empty_layer_is_refused():
    """A weight with no entries has nothing to share: the error names it."""
    with pytest.raises(RecipeError, match=r"on 'weight': the weight has no entries"):
        compress_(nn.Linear(0, 3), [KMeans(bits=1)])


def test_a_weight_that_is_not_finite_is_refused():
    """NaN has no nearest centroid: WeightError names the weight and nothing is registered."""
    model = network()
    with torch.no_grad():
        model[3].weight[1, 1] = float("nan")
    with pytest.raises(WeightError, match=r"'3.weight' holds 1 NaN"):
        compress_(model, Recipe([("*", [KMeans(bits=1)])]))
    assert not groups(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either bits or clusters"),
        ({"bits": 3, "clusters": 8}, "either bits or clusters"),
        ({"bits": 0}, "bits is 1 to 16, not 0"),
        ({"bits": 17}, "bits is 1 to 16, not 17"),
        ({"clusters": 0}, "clusters is 1 to 65,536, not 0"),
        ({"clusters": 65_537}, "clusters is 1 to 65,536"),
        ({"bits": 2, "init": "forgy"}, "unknown init 'forgy'; known: linear, density, random"),
        ({"bits": 2, "format": "int8"}, "unknown format 'int8'; known: float32"),
        ({"bits": 2, "seed": -1}, "seed is a whole number from 0, not -1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    """An option outside its range is an error when the method is made, not when it is used."""
    with pytest.raises(RecipeError, match=message):
        KMeans(**options)
