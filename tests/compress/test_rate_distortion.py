"""quantize.RateDistortion: on layers, in networks, in files; zeros, biases, sleep, and what it refuses."""

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome.compress.apply import coded_parameters
from lissome.compress.calibrate import calibrate_
from lissome.compress.prune import Magnitude
from lissome.compress.quantize import RateDistortion, moments
from lissome.compress.quantize.rate_distortion import TOP, significant
from lissome.errors import RecipeError
from lissome.weights import Sparse


def network(seed=0):
    """A classifier of blurred blobs: convolutions (one in groups), pooling, a linear layer."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=4, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    with torch.no_grad():
        model[0].weight.mul_(3)
        model[2].weight.mul_(3)
        model[6].weight.mul_(5)
    return model.eval()


def images(count=120, seed=1):
    """Smooth random images (count, 2, 8, 8), so that inputs are correlated as real ones are."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 2, 3, 3, generator=generator)
    return nn.functional.interpolate(coarse, (8, 8), mode="bilinear")


def compressed(model, rate, x=None, before=(), **options):
    ls.compress_(model, ls.Recipe([("*|*.bias", [*before, RateDistortion(rate=rate, **options)])]))
    calibrate_(model, images() if x is None else x)
    return model


def divergence(model, wanted, x):
    reference, made = wanted.log_softmax(1), model(x).detach().log_softmax(1)
    return float((reference.exp() * (reference - made)).sum(1).mean())


def test_every_weight_is_a_multiple_of_its_layers_step():
    """Values are whole multiples, up to TOP, of one number of four significant bits, exact in float16."""
    model = compressed(network(), 1e-5)
    for weight in (model[0].weight, model[2].weight, model[6].weight):
        values = np.unique(np.abs(weight.detach().numpy()))
        assert np.array_equal(values, values.astype(np.float16).astype(np.float32))
        step = np.gcd.reduce(np.round(values * 2.0**24).astype(np.int64)) / 2.0**24
        assert values.max() <= TOP * step


def test_a_dearer_rate_gives_a_smaller_file_and_more_divergence(tmp_path):
    """Over three rates, bytes fall and divergence on other images grows."""
    x, wanted = images(seed=2), network()(images(seed=2)).detach()
    sizes, divergences = [], []
    for rate in (1e-6, 3e-5, 1e-3):
        model = compressed(network(), rate)
        ls.save(ls.freeze(model, example=x[:1]), tmp_path / "net.liss")
        sizes.append((tmp_path / "net.liss").stat().st_size)
        divergences.append(divergence(model, wanted, x))
    assert sizes == sorted(sizes, reverse=True)
    assert divergences == sorted(divergences)
    assert divergences[0] < 1e-3


def test_making_good_what_was_lost_beats_leaving_it():
    """correct=1 diverges less than correct=0 at the same rate."""
    x, wanted = images(seed=2), network()(images(seed=2)).detach()
    found = [divergence(compressed(network(), 3e-5, images(400), correct=c), wanted, x) for c in (0.0, 1.0)]
    assert found[1] < found[0]


def test_what_runs_from_the_file_is_what_the_module_computes(tmp_path):
    """The engine on the packed file gives the compressed module's outputs within float32's rounding of sums."""
    model, x = compressed(network(), 1e-4), images(seed=2)
    ls.save(ls.freeze(model, example=x[:1]), tmp_path / "net.liss")
    found = ls.compile(tmp_path / "net.liss")(x.numpy())
    np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_encoding_is_what_the_network_sees():
    """encode(w).to_dense() == forward(w), bit for bit, for weights and biases, calibrated and asleep."""
    model = network()
    ls.compress_(model, ls.Recipe([("*|*.bias", [RateDistortion(rate=1e-4)])]))
    for _ in range(2):
        for name, coded in coded_parameters(model).items():
            layer, _, kind = name.partition(".")
            assert coded.to_dense().tobytes() == getattr(model[int(layer)], kind).detach().numpy().tobytes()
        calibrate_(model, images())
    assert isinstance(coded_parameters(model)["0.weight"], Sparse)


def test_pruned_weights_and_biases_stay_zero():
    """Behind a mask, every removed entry is +0 after calibration too."""
    pruned, model = network(), network()
    ls.compress_(pruned, ls.Recipe([("*|*.bias", [Magnitude(sparsity=0.6)])]))
    compressed(model, 1e-5, before=[Magnitude(sparsity=0.6)])
    for i in (0, 2, 6):
        for kind in ("weight", "bias"):
            gone = getattr(pruned[i], kind) == 0
            left = getattr(model[i], kind)[gone].detach().numpy()
            assert gone.any()
            assert left.tobytes() == b"\0" * left.nbytes


@pytest.mark.parametrize("values", [0.0, 0.25])
def test_constant_layers(values):
    """A layer of zeros stays one; a layer of equal weights is calibrated like any other, and the output is kept."""
    model = network()
    with torch.no_grad():
        model[2].weight.fill_(values)
    x, wanted = images(), model(images()).detach()
    compressed(model, 1e-6)
    assert values or not model[2].weight.any()
    assert divergence(model, wanted, x) < 1e-3
    ls.freeze(model, example=x[:1])


def test_inputs_that_are_never_seen_are_given_up():
    """A channel that is always 0 costs next to nothing to forget: at a rate that leaves the others, its weights go."""
    model, x = network(), images()
    x[:, 1] = 0
    compressed(model, 1e-4, x)
    unseen, seen = model[0].weight[:, 1].count_nonzero(), model[0].weight[:, 0].count_nonzero()
    assert unseen < 0.3 * seen


def test_channels_last_is_the_same():
    """A model in torch's other memory layout gets the same codes."""
    plain, other = compressed(network(), 1e-4), network().to(memory_format=torch.channels_last)
    compressed(other, 1e-4)
    assert torch.equal(plain[0].weight, other[0].weight)


def test_state_travels():
    """A freshly compressed module that loads the state is the same network."""
    model, other = compressed(network(), 1e-4), network(5)
    ls.compress_(other, ls.Recipe([("*|*.bias", [RateDistortion(rate=1e-4)])]))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images()), model(images()))


def test_a_schedule_puts_it_to_sleep():
    """Settled below full strength the weights are the originals again; full strength alone decides nothing."""
    model, x = compressed(network(), 1e-4), images()
    method = RateDistortion(rate=1e-4)
    for strength in (0.5, 1.0):
        for _, members in ls.compress.apply.groups(model):
            method.settle(members, strength)
        assert torch.equal(model(x), network()(x))


def test_the_codebook_can_be_trained():
    """Gradients of a centroid are its members' sums, so that a step against them lowers the loss and moves values."""
    model, x = compressed(network(), 1e-4), images()
    wanted = network()(x).detach()
    optimizer = torch.optim.Adam([p for name, p in model.named_parameters() if name.endswith("codebook")], lr=1e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    coded = coded_parameters(model)["0.weight"]
    assert coded.to_dense().tobytes() == model[0].weight.detach().numpy().tobytes()


def test_large_biases_take_a_wider_format():
    """A bias past float8's largest number is stored in a format that holds it, within that format's rounding."""
    model = network()
    with torch.no_grad():
        model[0].bias[0] = 1000.0
    compressed(model, 1e-3)
    assert model[0].bias[0].item() == pytest.approx(1000, rel=0.02)


def test_few_samples_do_not_overfit(monkeypatch):
    """A layer of more inputs than images were seen: doubting the moments makes it better on other images."""
    found = []
    others = torch.randn(400, 200)
    for doubted in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(200, 60), nn.ReLU(), nn.Linear(60, 10))
        wanted = model(others).detach()
        with monkeypatch.context() as patch:
            if not doubted:
                patch.setattr(moments, "doubt", lambda *_: 0.0)
            compressed(model, 1e-7, torch.randn(60, 200))
        found.append(divergence(model, wanted, others))
    assert found[1] < 0.8 * found[0]


def test_layers_out_of_range_are_refused():
    """Weights so small that the codebook's format cannot hold their steps: RecipeError naming the layer."""
    model = network()
    with torch.no_grad():
        model[0].weight.mul_(1e-7)
        model[0].bias.zero_()
        model[2].weight.mul_(1e7)
    with pytest.raises(RecipeError, match=r"'0\.weight'.*steps"):
        compressed(model, 1e-9)


@pytest.mark.parametrize("options", [{"rate": 0.0}, {"rate": float("nan")}, {"correct": 1.5}, {"rate": -1.0}])
def test_impossible_options_are_refused(options):
    """A rate that is not positive and a share outside [0, 1] are RecipeErrors when the method is built."""
    with pytest.raises(RecipeError, match=r"quantize\.RateDistortion"):
        RateDistortion(**options)


def test_four_significant_bits():
    """Steps are rounded to the nearest number m · 2^e with 8 ≤ m ≤ 16."""
    for value in (0.0123, 1.0, 3.14, 1e-5):
        mantissa = np.frexp(significant(value))[0] * 16
        assert mantissa == round(mantissa)
        assert significant(value) == pytest.approx(value, rel=1 / 16)
