"""Weights of others: read where they fit, refused with every reason where they do not."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from lissome import models
from lissome.errors import WeightError
from lissome.models.weights import load_weights_

NETWORK = "cifar-resnet-20"


@pytest.fixture
def state():
    """The tensors of a network, its counters left out, as older files have them."""
    torch.manual_seed(5)
    found = models.build(NETWORK).state_dict()
    return {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}


def written(state, path):
    """A file of `state`, in the format that its name says."""
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_both_formats_give_the_weights_back(state, tmp_path, name):
    """Every tensor of the file is in the network afterwards, whichever format it came in."""
    model = models.build(NETWORK)
    load_weights_(model, written(state, tmp_path / name))
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_a_checkpoint_with_a_state_dict(state, tmp_path):
    """Training scripts and timm put the tensors under "state_dict"."""
    model = models.build(NETWORK)
    load_weights_(model, written({"state_dict": state, "epoch": 7}, tmp_path / "w.pth"))
    assert torch.equal(model.state_dict()["linear.weight"], state["linear.weight"])


def test_half_precision_is_widened(state, tmp_path):
    """float16 tensors load into the float32 network with their values."""
    model = models.build(NETWORK)
    load_weights_(model, written({n: v.half() for n, v in state.items()}, tmp_path / "w.safetensors"))
    assert torch.equal(model.conv1.weight, state["conv1.weight"].half().float())


def test_every_problem_is_named(state, tmp_path):
    """Missing, unknown, mis-shaped, not finite, of the wrong kind: one error names them all, and nothing is loaded."""
    state["conv2.weight"] = state.pop("conv1.weight")
    state["linear.bias"] = torch.zeros(9)
    state["bn1.weight"] = torch.full((16,), torch.nan)
    state["bn1.bias"] = torch.zeros(16, dtype=torch.int64)
    model = models.build(NETWORK)
    before = model.linear.weight.clone()
    with pytest.raises(WeightError) as raised:
        load_weights_(model, written(state, tmp_path / "w.pth"))
    for part in (
        "conv1.weight is missing",
        "conv2.weight is not in CifarResNet",
        "linear.bias is (9,), not (10,)",
        "bn1.weight holds NaN",
        "bn1.bias is torch.int64, not torch.float32",
    ):
        assert part in str(raised.value)
    assert torch.equal(model.linear.weight, before)


def test_auxiliary_classifiers_are_left_out(tmp_path):
    """GoogLeNet is published with classifiers that only training used; other unknown names are refused as ever."""
    with torch.device("meta"):
        names = models.build("googlenet")
    state = {name: torch.ones(value.shape, dtype=value.dtype) for name, value in names.state_dict().items()}
    model = models.build("googlenet")
    load_weights_(model, written({**state, "aux1.fc1.weight": torch.ones(2, 2)}, tmp_path / "w.pth"))
    assert model.fc.weight[0, 0] == 1
    with pytest.raises(WeightError, match=r"aux3\.fc1\.weight is not in GoogLeNet"):
        load_weights_(model, written({**state, "aux3.fc1.weight": torch.ones(2, 2)}, tmp_path / "w.pth"))


def test_former_names_of_densenet(tmp_path):
    """DenseNet as torchvision publishes it says norm.1 where the module says norm1."""
    model = models.build("densenet-121")
    state = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in name else name: value
        for name, value in models.build("densenet-121").state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    load_weights_(model, written(state, tmp_path / "w.pth"))
    assert torch.equal(
        model.features.denseblock1.denselayer1.conv2.weight, state["features.denseblock1.denselayer1.conv.2.weight"]
    )


class Evil:
    """Pickles as a call of a function."""

    def __reduce__(self):
        return (print, ("this must never run",))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04 no tensors", pickle.dumps(Evil()), b"PK\x03\x04 broken"])
def test_no_file_of_tensors(tmp_path, capsys, name, content):
    """Damaged and hostile files give one error that names the file; nothing in them is executed."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightError, match=path.name):
        load_weights_(models.build(NETWORK), path)
    assert capsys.readouterr().out == ""


def test_a_missing_file_and_one_without_tensors(tmp_path):
    """What is wrong is said in words: no such file; a list where tensors by name should be."""
    model = models.build(NETWORK)
    with pytest.raises(WeightError, match="No such file"):
        load_weights_(model, tmp_path / "absent.pth")
    with pytest.raises(WeightError, match="holds no state dict"):
        load_weights_(model, written([torch.ones(2)], tmp_path / "list.pth"))
