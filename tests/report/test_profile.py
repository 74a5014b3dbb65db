"""profile: whatever names a network, the numbers are the same, and they add up."""

import json

import pytest
import torch
from torch import nn

import lissome as ls
from lissome import models
from lissome.errors import LissomeError

PARAMETERS, MACS = 431_080, 2_293_000  # LeNet-5 of Han et al.


@pytest.fixture
def frozen():
    """LeNet-5 with random weights."""
    return ls.freeze(models.build("lenet-5"), example=torch.zeros(1, 1, 28, 28))


def test_every_way_to_name_a_network(frozen, tmp_path):
    """A name, a module, a Network, a file, and a function of the user's own give equal layers."""
    path = tmp_path / "net.liss"
    ls.save(frozen, path)
    own = tmp_path / "own.py"
    own.write_text("from lissome import models\n\ndef make():\n    return models.build('lenet-5')\n")
    found = [ls.profile(net) for net in ("lenet-5", models.build("lenet-5"), frozen, path, f"{own}:make")]
    assert all(one.layers == found[0].layers for one in found)
    assert (found[0].parameters, found[0].macs) == (PARAMETERS, MACS)


def test_totals_are_sums(frozen):
    """What the table's last line says is the sum of the lines above, and JSON says the same."""
    found = ls.profile(frozen, batch=3)
    plain = json.loads(found.to_json())
    assert plain["macs"] == sum(layer["macs"] for layer in plain["layers"]) == 3 * MACS
    assert plain["parameter_bytes"] == 4 * PARAMETERS
    assert plain["activations"] == sum(layer["activations"] for layer in plain["layers"])
    assert plain["flops_per_byte"] == 2 * plain["macs"] / plain["bytes"]
    total = next(line for line in str(found).splitlines() if line.startswith("total"))
    assert f"{PARAMETERS:,}" in total
    assert f"{3 * MACS:,}" in total


def test_batch_norm_counts_alike_folded_or_not():
    """Statistics are no parameters: a norm has two numbers a channel; folded into its convolution it leaves one."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)).eval()
    assert ls.profile(model, shape=(3, 8, 8)).parameters == 108 + 8
    assert ls.profile(ls.freeze(model, example=torch.zeros(1, 3, 8, 8))).parameters == 108 + 4


def test_lightweight_layers_are_compared():
    """MobileNet v1's separable convolutions: 1/filters + 1/9 of the standard ones, in the table and by kind."""
    found = ls.profile("mobilenet-v1")
    count, macs, _, standard, _ = found.saved()["depthwise separable"]
    assert count == 13
    assert 8 < standard / macs < 9
    assert "all 13 depthwise separable" in str(found)


def test_a_module_without_a_shape():
    """Where nothing says how large an input is, the error says what to give."""
    with pytest.raises(LissomeError, match="Linear has no input_shape; give the shape of one input"):
        ls.profile(nn.Linear(3, 4))
    assert ls.profile(nn.Linear(3, 4), shape=(3,)).macs == 12
