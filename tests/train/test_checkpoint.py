"""Checkpoints: what is saved comes back, whole or not at all, whatever happens on the way."""

import errno

import pytest
import torch
from torch import nn

from lissome import files
from lissome.errors import FormatError
from lissome.train import checkpoint

FACTS = {"stage": 2, "accuracies": [["train", 97.12345678901234]], "schedule": {}}


def test_round_trip_of_tensors_and_facts(tmp_path):
    """Every dtype, shape, memory layout and float comes back bit for bit, tensors that share memory too."""
    base = torch.randn(2, 3, 4, 5)
    tensors = {
        "a": base,
        "tied": base,
        "view": base[1:],
        "last": base.to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "mask": torch.tensor([True, False]),
        "codes": torch.tensor([1, 2], dtype=torch.uint8),
        "half": torch.randn(3).to(torch.bfloat16),
    }
    checkpoint.save(tmp_path / "c.safetensors", tensors, FACTS)
    found, facts = checkpoint.load(tmp_path / "c.safetensors")
    assert facts == FACTS
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_checkpoint(call, tmp_path, monkeypatch):
    """When a system call fails while saving, the error names the file, the old one stands and no other is left."""
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.ones(3)}, {"epoch": 1})
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        checkpoint.save(path, {"a": torch.zeros(3)}, {"epoch": 2})
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["c.safetensors"]


def test_every_cut_is_found(tmp_path):
    """A checkpoint cut at any length is FormatError with the file and the remedy, never half a state."""
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.ones(3)}, {"epoch": 1})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"c\.safetensors is missing or damaged .*; delete .* to start again"):
            checkpoint.load(path)


@pytest.mark.parametrize("facts", ["", "[1, 2]", "3", "nonsense", '"text"'])
def test_facts_that_are_not_facts_are_found(facts, tmp_path):
    """A safetensors file of someone else, or with metadata that is not ours, is FormatError."""
    from safetensors.torch import save_file

    path = tmp_path / "c.safetensors"
    for metadata in (None, {"lissome": facts}):
        save_file({"a": torch.ones(1)}, path, metadata=metadata)
        with pytest.raises(FormatError, match="missing or damaged"):
            checkpoint.load(path)


def test_an_optimizer_goes_on_with_the_same_bits(tmp_path):
    """Adam restored from a file takes the same next steps, for a weight in channels-last layout too."""

    def training():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
        return model.to(memory_format=torch.channels_last)

    def steps(model, optimizer, numbers):
        for number in numbers:
            x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(number))
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    model = training()
    optimizer = torch.optim.Adam(model.parameters())
    steps(model, optimizer, range(3))
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {**model.state_dict(), **checkpoint.optimizer_tensors(optimizer)}, {})
    tensors, _ = checkpoint.load(path)
    fresh = training()
    fresh.load_state_dict({name: t for name, t in tensors.items() if not name.startswith("optimizer.")})
    again = torch.optim.Adam(fresh.parameters())
    checkpoint.restore_optimizer(again, tensors)
    for entry in again.state[fresh[0].weight].values():
        assert entry.dim() == 0 or entry.is_contiguous(memory_format=torch.channels_last)
    steps(model, optimizer, range(3, 6))
    steps(fresh, again, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), fresh.state_dict().values(), strict=True))
