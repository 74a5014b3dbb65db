"""The networks have the published sizes and the layer names that weights files use."""

import pytest
import torch

from lissome import models
from lissome.errors import LissomeError, MissingExtra


@pytest.mark.parametrize(("name", "parameters"), [("lenet-300-100", 266_610), ("lenet-5", 431_080)])
def test_parameter_count_is_the_papers(name, parameters):
    """Han et al. (ICLR 2016, table 1) start from 1070 KB and 1720 KB of float32."""
    assert sum(parameter.numel() for parameter in models.build(name).parameters()) == parameters


@pytest.mark.parametrize("name", models.names())
def test_every_network_maps_its_input_shape_to_ten_logits(name):
    """A listed network can be built, says its input shape, and accepts any batch of it."""
    model = models.build(name)
    assert model(torch.zeros(3, *model.input_shape)).shape == (3, 10)


def test_layer_names():
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
