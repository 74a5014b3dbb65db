"""Post-training quantization: ranges, what becomes codes, and what it costs in accuracy."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome.api import to_int8
from lissome.compress.quantize import affine, ranges
from lissome.compress.quantize.ranges import Observed
from lissome.errors import RecipeError

DATA = Path(os.environ.get("LISSOME_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))


def observed(x):
    """A tensor, seen."""
    found = Observed()
    found.see_ends(x)
    found.see(x)
    return found


def test_ends_include_zero():
    """Padding is 0, so 0 has a code whatever the numbers are."""
    for x in (np.array([3.0, 5.0]), np.array([-4.0, -2.0]), np.zeros(4)):
        for method in ranges.METHODS:
            low, high = ranges.choose(observed(x.astype(np.float32)), method, 255)
            assert low <= 0 <= high
            scale, zero = ranges.affine((low, high), 255)
            assert scale > 0
            assert 0 <= zero <= 255


def test_outliers_are_cut_off_where_that_pays():
    """One number far out is kept by min-max; the least squared error of few codes leaves it out, a percentile too."""
    x = np.concatenate([np.random.default_rng(0).normal(size=100_000), [50.0]]).astype(np.float32)
    assert ranges.choose(observed(x), "minmax", 255)[1] == 50
    assert ranges.choose(observed(x), "percentile", 255)[1] < 6
    cut = ranges.choose(observed(x), "mse", 15)
    assert cut[1] < 30
    seen = observed(x)
    assert ranges.squared_error(seen, cut, 15) < ranges.squared_error(seen, (seen.low, seen.high), 15)


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_scales_of_weights(method):
    """A row's largest weight is the largest code under min-max; rows of zeros and of denormals have a scale too."""
    weight = np.array([[0, 0, 0], [1, -2, 0.5], [1e-40, 0, 0], [1e30, 1, 1]], np.float32)
    scales = ranges.symmetric(weight, 127, method)
    assert (scales > 0).all()
    assert np.isfinite(scales).all()
    codes = np.rint(weight / scales[:, None])
    assert np.abs(codes[[0, 1, 3]]).max() <= 127 / 0.55
    if method == "minmax":
        assert np.abs(codes[1]).max() == 127


class Net(nn.Module):
    """Layers, a residual, a concatenation, pooling, and a gate that stays in float32."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1), nn.Conv2d(32, 16, 1)
        self.norm, self.fc = nn.BatchNorm2d(32), nn.Linear(48, 10)

    def forward(self, x):
        x = torch.relu(self.a(x))
        x = torch.relu(x + self.norm(self.b(x)))
        x = torch.max_pool2d(torch.cat([x, torch.relu(self.c(x))], 1), 2)
        return self.fc(torch.sigmoid(x * 0.5).mean((2, 3)))


@pytest.fixture(scope="module")
def small():
    """A network, calibration samples, and others."""
    torch.manual_seed(0)
    model = Net().eval()
    x = np.random.default_rng(0).normal(size=(24, 3, 20, 20)).astype(np.float32)
    return ls.freeze(model, example=torch.from_numpy(x[:1])), x[:16], x[16:]


@pytest.mark.parametrize("method", ranges.METHODS)
def test_outputs_stay_close(small, method):
    """8 bits lose little, whatever finds the ranges; the file is a quarter of the float32 one."""
    net, samples, x = small
    made = to_int8(net, samples, activations=method, weights="minmax")
    want = ls.compile(net)(x)
    assert np.abs(ls.compile(made)(x) - want).max() < 0.03 * np.ptp(want)


def test_fewer_bits_lose_more(small):
    """The error of 4-bit weights lies between that of 8 and of 2."""
    net, samples, x = small
    want = ls.compile(net)(x)
    errors = [np.abs(ls.compile(to_int8(net, samples, bits=bits))(x) - want).mean() for bits in (8, 4, 2)]
    assert errors[0] < errors[1] < errors[2]


def test_joined_tensors_share_a_scale(small):
    """What a concatenation and a maximum join has one scale, so that codes pass through."""
    net, _, _ = small
    shared = affine.points(net)
    concat = next(node for node in net.graph.nodes if node.op == "Concat")
    assert len({shared[name] for name in (*concat.inputs, *concat.outputs) if name in shared}) <= 1


def test_it_is_deterministic_and_packs(small, tmp_path):
    """Equal samples give equal networks; a file gives the same bits as the network."""
    net, samples, x = small
    made = to_int8(net, samples)
    assert made == to_int8(net, samples, threads=1)
    ls.save(made, tmp_path / "net.liss")
    assert np.array_equal(ls.compile(tmp_path / "net.liss")(x), ls.compile(made)(x))


def test_bad_calibration_is_refused(small):
    """No samples, NaN among the activations, options that are none, nothing to quantize: one error that says it."""
    net, samples, _ = small
    with pytest.raises(RecipeError, match="no calibration samples"):
        to_int8(net, samples[:0])
    with pytest.raises(RecipeError, match=r"'x' has NaN"):
        to_int8(net, np.full_like(samples, np.nan))
    for wrong in ({"bits": 1}, {"bits": 9}, {"weights": "percentile"}, {"activations": "entropy?"}):
        with pytest.raises(RecipeError, match=r"PostTraining\("):
            to_int8(net, samples, **wrong)
    with pytest.raises(RecipeError, match="nothing to quantize"):
        to_int8(ls.freeze(nn.ReLU(), example=torch.zeros(1, 3)), np.ones((2, 3), np.float32))


def test_layers_of_zeros_stay_zero():
    """A layer whose weights, inputs or all are zero gives its bias."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    nn.init.zeros_(model[0].weight)
    nn.init.constant_(model[0].bias, -1)
    net = ls.freeze(model, example=torch.zeros(1, 3, 5, 5))
    made = to_int8(net, np.zeros((2, 3, 5, 5), np.float32))
    x = np.ones((1, 3, 5, 5), np.float32)
    np.testing.assert_allclose(ls.compile(made)(x), ls.compile(net)(x), atol=1e-6)


@pytest.mark.paper
@pytest.mark.slow
def test_resnet_20_keeps_its_accuracy():
    """Int8 after training costs ResNet-20 on CIFAR-10 at most 0.3 points (Jacob et al. 2018; Krishnamoorthi 2018)."""
    if not (DATA / "cifar10" / "test.npz").is_file():
        pytest.skip(f"no cifar10 in {DATA.name}/ beside the repository")
    from lissome.models.weights import load_weights_

    model = ls.models.build("cifar-resnet-20").eval()
    load_weights_(model, DATA / "cifar-resnets" / "resnet20.safetensors")
    with np.load(DATA / "cifar10" / "test.npz") as arrays:
        images, labels = arrays["images"][:5500], arrays["labels"][:5500]
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = np.ascontiguousarray(((images.astype(np.float32) / 255 - mean) / deviation).transpose(0, 3, 1, 2))
    net = ls.freeze(model, example=torch.from_numpy(x[:1]))
    made = to_int8(net, x[:256], batch=64)  # without labels, and not among those that are counted

    def right(net):
        engine = ls.compile(net)
        return 100 * np.mean([engine(x[i : i + 250]).argmax(1) == labels[i : i + 250] for i in range(500, 5500, 250)])

    assert right(net) - right(made) <= 0.3
