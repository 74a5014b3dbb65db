"""The networks have the published sizes and costs, and the layer names that weights files use."""

import hashlib
from functools import cache

import pytest
import torch
from published import FIGURES, NAMES
from torch import nn

import lissome as ls
from lissome import models
from lissome.errors import LissomeError, MissingExtra
from lissome.report.profile import profile
from lissome.runtime.reference import run

UNITS = {"G": 1e9, "M": 1e6}
CLASSES = {name: 10 if name.startswith(("lenet", "cifar")) else 1000 for name in models.names()}

profiled = cache(profile)


def agrees(found, printed, tolerance):
    """Whether a number, rounded as the printed one is, equals it; or is within a relative tolerance."""
    value, _, unit = printed.partition(" ")
    decimals = len(value.partition(".")[2])
    scale = UNITS.get(unit, 1)
    exact = round(found / scale, decimals) == float(value.replace(",", ""))
    return exact or abs(found / scale / float(value.replace(",", "")) - 1) <= tolerance


@pytest.mark.parametrize("name", models.names())
def test_parameters_and_multiply_adds_are_the_literatures(name):
    """Counted on the traced graph at the published input size, they equal the published figures as far as printed."""
    published = FIGURES[name]
    assert agrees(profiled(name).parameters, published.parameters, published.tolerance)
    assert agrees(profiled(name).macs, published.macs, published.tolerance)
    assert not agrees(1.1 * profiled(name).macs, published.macs, 0)  # a tenth more would show, however few the digits


@pytest.mark.parametrize("name", models.names())
def test_the_graph_has_the_parameters_of_the_module(name):
    """Every layer traces, and nothing learned is lost or counted twice on the way."""
    with torch.device("meta"):
        model = models.build(name)
    assert profiled(name).parameters == sum(parameter.numel() for parameter in model.parameters())
    assert profiled(name).layers[-1].shape == (1, CLASSES[name])


@pytest.mark.parametrize("name", models.names())
def test_every_network_maps_its_input_shape_to_logits(name):
    """A listed network can be built, says its input shape, and accepts any batch of it."""
    with torch.device("meta"):
        model = models.build(name).eval()
        assert model(torch.zeros(3, *model.input_shape)).shape == (3, CLASSES[name])


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_published_weights(name):
    """Names and shapes of all tensors are those of the package whose weights the network takes."""
    with torch.device("meta"):
        state = models.build(name).state_dict()
    lines = [f"{n} {tuple(v.shape)}\n" for n, v in sorted(state.items()) if not n.endswith("num_batches_tracked")]
    assert hashlib.sha256("".join(lines).encode()).hexdigest()[:16] == NAMES[name][1]


slow = pytest.mark.slow
SMALL = [  # each family at an input size that float64 NumPy takes quickly
    ("cifar-resnet-20", 32),
    ("densenet-121", 32),
    ("efficientnet-lite0", 32),
    ("googlenet", 32),
    ("mobilenet-v1", 32),
    ("mobilenet-v2", 32),
    ("resnet-18", 32),
    ("resnet-50", 32),
    ("shufflenet-v1", 32),
    ("shufflenet-v2", 32),
    ("squeezenet-1.1", 48),
    pytest.param("inception-v3", 75, marks=slow),
    pytest.param("inception-resnet-v2", 75, marks=slow),
    pytest.param("xception", 71, marks=slow),
]


@pytest.mark.parametrize(("name", "pixels"), SMALL)
def test_a_frozen_network_means_what_the_module_means(name, pixels):
    """The graph with its batch norms folded, evaluated in float64, gives the float64 module's logits.

    Folding rounds each weight and bias once to float32. A layer's relative error is then at most about 2⁻²⁴ and adds
    up over at most 250 layers in a row: 1.5e-5, with a factor of 10 for cancellation within a sum.
    """
    torch.manual_seed(2)
    model = models.build(name).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    x = torch.randn(2, 3, pixels, pixels)
    found = run(ls.freeze(model, example=x), {"x": x.numpy()})["y"]
    with torch.inference_mode():
        expected = model.double()(x.double()).numpy()
    assert abs(found - expected).max() <= 1.5e-4 * abs(expected).max()
    assert abs(expected[0] - expected[1]).max() > 1e-2 * abs(expected).max()  # logits tell images apart


def test_layer_names_of_the_lenets():
    """Layers are called as in published weight files: fc1, conv2, so that recipes and safetensors agree."""
    assert list(models.build("lenet-300-100").state_dict()) == [
        f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")
    ]
    assert list(models.build("lenet-5").state_dict()) == [
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")
    ]


def test_lenet_5_has_no_activation_after_its_convolutions():
    """In Caffe's LeNet-5 pooling sees negative values: the only ReLU stands after the first linear layer."""
    model = models.build("lenet-5")
    image = torch.rand(1, 1, 28, 28)
    assert (model.conv1(image) < 0).any()
    pooled = torch.nn.functional.max_pool2d(model.conv2(torch.nn.functional.max_pool2d(model.conv1(image), 2)), 2)
    expected = model.fc2(model.fc1(pooled.flatten(1)).clamp(min=0))
    assert torch.equal(model(image), expected)


def test_the_random_state_decides_the_weights():
    """The same seed gives the same network, another seed another."""
    torch.manual_seed(1)
    first = models.build("shufflenet-v2").state_dict()
    torch.manual_seed(1)
    again = models.build("shufflenet-v2").state_dict()
    other = models.build("shufflenet-v2").state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_shuffling_channels():
    """Channels 0 1 2 | 3 4 5 in two groups become 0 3 1 4 2 5: each group sees the other."""
    from lissome.models.shufflenet_v1 import shuffle

    x = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_unknown_network_lists_the_known_ones():
    """A wrong name is one clear error that says what exists."""
    with pytest.raises(LissomeError, match=r"unknown network 'lenet'; known: lenet-300-100, lenet-5"):
        models.build("lenet")


@pytest.mark.parametrize(("module", "raised"), [("torch", MissingExtra), ("numpy", ModuleNotFoundError)])
def test_only_missing_torch_is_called_missing_torch(monkeypatch, module, raised):
    """Without torch one error says what to install; a network that lacks another module names that one."""

    def import_module(_name):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(models.importlib, "import_module", import_module)
    with pytest.raises(raised, match=module):
        models.build("lenet-5")
