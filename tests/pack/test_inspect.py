"""Inspection: every byte accounted for, and honest figures per tensor."""

from __future__ import annotations

import json

import numpy as np
import pytest
from samples import lenet_300_100

from lissome.errors import FormatError
from lissome.pack import container
from lissome.pack import inspect as inspection
from lissome.pack.container import pack, save
from lissome.pack.inspect import inspect
from lissome.weights import Codebook, Dense, Sparse
from networks import mlp, network_of, sparse

pytestmark = pytest.mark.usefixtures("plain")


def _sections(found) -> int:
    return found.framing_bytes + found.header_bytes + found.recipe_bytes + found.reals_bytes + sum(found.group_bytes)


@pytest.mark.parametrize("net", [mlp(), mlp(recipe=""), lenet_300_100(), network_of()])
def test_sections_add_up_to_the_file(net, tmp_path):
    """The sections sum to the file's size exactly, and tensors' shares to their streams."""
    path = tmp_path / "net.liss"
    size = save(net, path, "small")
    found = inspect(path)
    assert found.total_bytes == size == _sections(found)
    assert sum(t.index_bytes for t in found.tensors) == sum(found.group_bytes)
    assert sum(t.reals_bytes for t in found.tensors) == found.reals_bytes
    assert (found.recipe_bytes > 0) == bool(net.recipe)
    assert found.file == str(path)


def test_per_tensor_figures():
    """Shape, density, alphabet, format and bits per weight say what was stored."""
    shared = sparse(np.random.default_rng(0), (10, 40), 0.25, 5, "float16")
    found = inspect(pack(network_of(shared, Dense(np.ones(6, np.float32), "bfloat16"))))
    first, second = found.tensors
    assert (first.shape, first.stored, first.density, first.alphabet) == ((10, 40), 100, 0.25, 5)
    assert (first.format, first.sparse, first.group) == ("float16", True, 0)
    assert first.bits_per_weight == 8 * (first.index_bytes + first.reals_bytes) / 400
    assert (second.stored, second.alphabet, second.group, second.index_bytes) == (6, None, None, 0)
    assert found.parameters == 406
    assert found.dense_bytes == 1624
    assert found.ratio == 1624 / found.total_bytes


def test_table_and_json_say_the_same():
    """The table shows each tensor and the total; the JSON parses and carries the same numbers."""
    found = inspect(pack(mlp()), verify=True)
    table, plain = found.table(), json.loads(found.to_json())
    for tensor in found.tensors:
        assert tensor.name in table
    assert f"{found.total_bytes:,} bytes" in table
    assert table.endswith("verified: as lissome writes it")
    assert plain["total_bytes"] == found.total_bytes
    assert [t["name"] for t in plain["tensors"]] == [t.name for t in found.tensors]
    assert plain["ratio"] == found.ratio


def test_verify_tells_a_foreign_writer(monkeypatch):
    """A valid file that lissome itself would write otherwise (an entry no code uses) is reported as such."""
    net = network_of(Codebook(np.array([0, 1, 1]), np.array([1, 2, 3], np.float32)))
    data = pack(net)
    with monkeypatch.context() as patch:
        patch.setattr(container, "canonical", lambda net: net)
        foreign = pack(net)
    assert foreign != data
    found = inspect(foreign, verify=True)
    assert found.canonical is False
    assert "of another writer" in found.table()


def test_groups_too_large_to_share_out_are_reported_whole(monkeypatch):
    """Past the work limit a group's bytes are not guessed at: its tensors say which group they are in."""
    monkeypatch.setattr(inspection, "MAX_PREFIX_ELEMENTS", 100)
    found = inspect(pack(mlp(sizes=(28, 30, 10))))
    weights = [t for t in found.tensors if t.sparse]
    assert [t.index_bytes for t in weights] == [None, None]
    assert all(t.bits_per_weight is None for t in weights)
    assert "group 0" in found.table()
    assert sum(t.reals_bytes for t in found.tensors) == found.reals_bytes


def test_empty_and_scalar_tensors():
    """No elements: density 1 and no bits per weight; a scalar's shape prints as such."""
    none = np.zeros(0, np.int64)
    empty = Sparse((0, 3), none, Codebook(none, np.zeros(1, np.float32)))
    found = inspect(pack(network_of(empty, Dense(np.float32(2)))))
    assert found.tensors[0].density == 1
    assert found.tensors[0].bits_per_weight is None
    assert "scalar" in found.table()


def test_damage_is_reported_as_by_load():
    """Inspecting a damaged file raises the error that loading it would."""
    data = bytearray(pack(mlp()))
    data[-1] ^= 1
    with pytest.raises(FormatError, match=r"<bytes>: index stream 0: checksum .* nothing was loaded"):
        inspect(bytes(data))
