"""The container: what goes in comes out, equal bytes for equal networks, and memory within bounds."""

from __future__ import annotations

import os
import tracemalloc
import zlib

import numpy as np
import plain_coder
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lissome as ls
from lissome.errors import FormatError, LimitError, WeightError
from lissome.network import Network
from lissome.pack import choose, container, framing, reals, split
from lissome.pack.container import Limits, load, pack, save
from lissome.pack.split import canonical
from lissome.weights import Codebook, Dense, Sparse
from lissome.weights.formats import FORMATS
from networks import as_nobody, mlp, network_of, sparse
from problems import networks

pytestmark = pytest.mark.usefixtures("plain")


@pytest.mark.parametrize("coder", ["auto", "small", "fast", "huffman"])
def test_round_trip_of_every_coder(coder, tmp_path):
    """A network with tidy codebooks comes back exactly equal, whichever coder packed it, and save returns the size."""
    net, path = mlp(), tmp_path / "net.liss"
    size = save(net, path, coder)
    assert size == path.stat().st_size
    assert load(path) == net
    assert ls.load(str(path)) == net
    assert load(path.read_bytes()) == net


@pytest.mark.parametrize("coder", ["small", "fast", "huffman"])
def test_a_mapped_file_is_read_as_any_other(coder, tmp_path, monkeypatch):
    """Large files are mapped instead of read: the same network, the same errors, and a file that can be replaced."""
    rng = np.random.default_rng(0)
    halves = rng.standard_normal(5).astype(np.float16).astype(np.float32)
    dense = Dense(rng.standard_normal((70, 300)).astype(np.float32))
    net = network_of(dense, sparse(rng, (20, 30), 0.1, 7, "float32"), Dense(halves, "float16"))
    path = tmp_path / "net.liss"
    data = pack(net, coder)
    path.write_bytes(data)
    monkeypatch.setattr(container, "MAPPED", 0)
    assert load(path) == canonical(net)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FormatError, match="checksum"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="empty"):
        load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(net=networks())
def test_any_network_comes_back_canonical(net):
    """Loading gives canonical(net), whose every dense value equals the original's bit for bit."""
    back = load(pack(net, "small"))
    assert back == canonical(net)
    assert back.recipe == net.recipe
    for name, weight in net.weights.items():
        assert back.weights[name].to_dense().tobytes() == weight.to_dense().tobytes()


def test_packing_is_deterministic_and_idempotent():
    """Equal networks give equal bytes, and packing what was loaded gives the file again."""
    first = pack(mlp())
    assert pack(mlp()) == first
    assert pack(load(first)) == first


def test_canonical_drops_what_no_code_uses_and_sorts():
    """A codebook larger than its layer shrinks to the values in use, sorted, each once."""
    messy = Codebook(np.array([3, 1, 1, 4]), np.array([9, 2, 7, -1, 2], np.float32))
    (tidy,) = canonical(network_of(messy)).weights.values()
    assert tidy == Codebook(np.array([0, 1, 1, 1]), np.array([-1, 2], np.float32))


def test_canonical_keeps_the_two_zeros_apart():
    """−0.0 and 0.0 are different bits, so they stay different entries, −0.0 first."""
    zeros = Codebook(np.array([0, 1]), np.array([0.0, -0.0], np.float32))
    (tidy,) = canonical(network_of(zeros)).weights.values()
    assert tidy.to_dense().tobytes() == zeros.to_dense().tobytes()
    assert np.signbit(tidy.codebook).tolist() == [True, False]


@pytest.mark.parametrize("fmt", FORMATS)
def test_empty_layers_and_layers_pruned_to_nothing(fmt):
    """No elements, no survivors, a scalar: each is a valid weight and comes back as canonical(net) has it."""
    zero = np.zeros(1, np.float32)
    none = np.zeros(0, np.int64)
    net = network_of(
        Dense(np.zeros((0, 5), np.float32), fmt),
        Dense(np.float32(1.5), fmt),
        Codebook(np.zeros((3, 0), np.uint8), zero, fmt),
        Codebook(np.uint8(0), zero, fmt),
        Codebook(np.zeros((2, 2), np.uint8), zero + 1, fmt),
        Sparse((20, 30), none, Codebook(none, zero, fmt)),
        Sparse((20, 30), none, Dense(np.zeros(0, np.float32), fmt)),
        Sparse((0, 30), none, Codebook(none, zero, fmt)),
    )
    assert load(pack(net)) == net


def test_a_large_codebook():
    """A codebook of 65,536 entries, the most there can be, keeps its 16-bit codes."""
    values = np.arange(65_536, dtype=np.float32)
    net = network_of(Codebook(np.arange(65_536)[::-1].copy(), values))
    assert load(pack(net)) == net


def test_large_networks_split_into_groups_and_load_in_parallel(monkeypatch):
    """A group ends once it has GROUP_ELEMENTS elements; tensors with nothing to code are in no group."""
    monkeypatch.setattr(split, "GROUP_ELEMENTS", 500)
    rng = np.random.default_rng(1)
    net = network_of(
        sparse(rng, (10, 40), 0.2, 5, "float16"),
        Dense(np.ones(3, np.float32)),
        sparse(rng, (10, 40), 0.2, 5, "float16"),
        sparse(rng, (10, 60), 0.2, 5, "float16"),
        sparse(rng, (10, 4), 0.2, 5, "float16"),
    )
    data = pack(net)
    assert container.open_contents(data).groups == [[0, 2], [3], [4]]
    assert load(data) == net
    assert load(data, Limits(max_bytes=20_000)) == net  # too little for the worst case of all groups at once


def test_recipe_travels_untouched():
    """The recipe's text comes back byte for byte, with line feeds, quotes and other alphabets."""
    recipe = 'a = "é\\n"\r\n\n# 数\n\x00'
    net = Network(mlp().graph, mlp().weights, recipe)
    assert load(pack(net)).recipe == recipe


def test_unknown_coder_is_named_with_those_that_exist():
    """A wrong coder's name is one error that lists the right ones."""
    with pytest.raises(ValueError, match="unknown coder 'zip'; known: auto, fast, huffman, small"):
        pack(mlp(), "zip")


def test_auto_takes_the_smallest(monkeypatch):
    """coder="auto" gives the file of the coder with the fewest bytes."""
    longer = type("Longer", (), {"encode": lambda group: plain_coder.encode(group) + b"..", "decode": None})
    shorter = type("Shorter", (), {"encode": lambda group: plain_coder.encode(group)[2:], "decode": None})
    monkeypatch.setitem(__import__("sys").modules, "lissome.pack.fast", longer)
    monkeypatch.setitem(__import__("sys").modules, "lissome.pack.small", shorter)
    assert choose.by_identifier(pack(mlp())[5]).name == "small"


class _Foreign:
    """A coded weight of a kind that no file can hold."""

    shape, nnz, nbytes = (2,), 2, 8

    def to_dense(self):
        return np.zeros(2, np.float32)

    def describe(self):
        return "foreign"


def test_a_weight_of_unknown_kind_is_refused():
    """A kind that a file cannot hold is one error naming the weight and the kind."""
    with pytest.raises(WeightError, match=r"weight 'w0' is a _Foreign, which a \.liss file cannot hold yet"):
        pack(network_of(_Foreign()))


def test_errors_name_file_place_and_remedy(tmp_path):
    """Damage gives one FormatError: the file, the stream, what is wrong, and that nothing was loaded."""
    path = tmp_path / "r18.liss"
    data = bytearray(pack(mlp()))
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: index stream 0: checksum ")
    assert message.endswith(". The file is damaged or hostile; nothing was loaded.")


def test_missing_file_directory_and_pipe(tmp_path):
    """What cannot be read raises the usual OSError, and never blocks."""
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.liss")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        load(tmp_path / "pipe")


def test_no_permission(tmp_path):
    """A file that may not be read raises PermissionError."""
    path = tmp_path / "net.liss"
    save(mlp(), path)
    path.chmod(0)
    with as_nobody(), pytest.raises(PermissionError):
        load(path)


def test_a_file_larger_than_the_memory_allowed():
    """The cap counts the file itself."""
    data = pack(mlp())
    with pytest.raises(LimitError, match=r"<bytes>: \d+ bytes are more than the 100 allowed; raise Limits.max_bytes"):
        load(data, Limits(max_bytes=100))


def test_dense_tensors_beyond_the_cap_are_refused_before_decoding():
    """The cap holds for what the header claims, with the tensor named, before any stream is decoded."""
    net = network_of(Dense(np.zeros((100, 100), np.float32)))
    data = pack(net)
    with pytest.raises(LimitError, match=r"tensor 'w0' of shape \(100, 100\) needs more than the 50000 bytes"):
        load(data, Limits(max_bytes=50_000))
    assert load(data, Limits(max_bytes=100_000)) == net


def test_sparse_entries_beyond_the_cap_are_refused_while_decoding():
    """Entries that only decoding reveals count too, and the error names the stream."""
    net = network_of(sparse(np.random.default_rng(0), (100, 100), 0.5, 5, "float16"))
    data = pack(net)
    with pytest.raises(
        LimitError, match=r"index stream 0 \(tensor 'w0'\): more than 1[0-9]{3} entries; .*: raise Limits.max_bytes"
    ):
        load(data, Limits(max_bytes=50_000))
    assert load(data, Limits(max_bytes=200_000)) == net


def test_claims_beyond_the_files_size_are_refused():
    """A small file may not claim a huge tensor, whatever the cap; a writer refuses to make one."""
    none = np.zeros(0, np.int64)
    huge = Sparse((1 << 20, 1 << 10), none, Codebook(none, np.zeros(1, np.float32)))
    with pytest.raises(LimitError, match=r"tensor 'w0' of shape \(1048576, 1024\) brings the elements claimed to"):
        pack(network_of(huge))


def test_hostile_claim_costs_no_memory(monkeypatch):
    """A file whose header claims a gigabyte-sized tensor is refused without allocating for it."""
    monkeypatch.setattr(container, "_check_claims", lambda *_: None)
    none = np.zeros(0, np.int64)
    data = pack(network_of(Sparse((1 << 20, 1 << 10), none, Codebook(none, np.zeros(1, np.float32)))))
    monkeypatch.undo()
    tracemalloc.start()
    with pytest.raises(FormatError, match="brings the elements claimed to"):
        load(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_memory_stays_within_the_account():
    """Peak memory of loading stays below what the account says the tensors need."""
    net = network_of(sparse(np.random.default_rng(0), (1000, 300), 0.3, 15, "float16"), recipe="x" * 1000)
    data = pack(net)
    tracemalloc.start()
    load(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    plain_coder_own = 20 * 90_000  # its inflated buffer and gaps
    assert peak < container.ENTRY_BYTES * 90_000 + plain_coder_own + (1 << 17)


def _with_groups(data: bytes, groups: list[bytes]) -> bytes:
    frame = framing.split(data)
    return framing.join(frame.profile, bytes(frame.header), bytes(frame.reals), groups)


def test_number_of_index_streams_must_match_the_header():
    """A missing or an extra index stream is an error."""
    data = pack(mlp())
    group = bytes(framing.split(data).groups[0])
    for groups in ([], [group, group]):
        with pytest.raises(FormatError, match=f"holds {len(groups)} index streams; its header tells of 1"):
            load(_with_groups(data, groups))


def test_a_coder_that_refuses_is_quoted_with_stream_and_tensors():
    """What a coder finds is reported with the stream's number and the tensors it is for."""
    with pytest.raises(FormatError, match=r"index stream 0 \(tensors 'fc1.weight' to 'fc2.weight'\): not a stream of"):
        load(_with_groups(pack(mlp()), [b"nonsense"]))


def test_more_entries_than_elements():
    """A stream that holds more entries than its tensors have elements is damaged, not large."""
    many = zlib.compress((1 << 20).to_bytes(6, "little"))
    with pytest.raises(FormatError, match="holds more entries than its tensors have elements"):
        load(_with_groups(pack(mlp()), [many]))


def test_numbers_that_no_weight_may_hold():
    """A NaN in the reals stream is an error naming the tensor, and wrong numbers of bytes are errors too."""
    data = pack(network_of(Dense(np.zeros(2, np.float32))))
    frame = framing.split(data)

    def with_reals(stream: bytes) -> bytes:
        return framing.join(frame.profile, bytes(frame.header), stream, [])

    with pytest.raises(FormatError, match="tensor 'w0': a dense weight holds 2 NaN"):
        load(with_reals(bytes([reals.PLAIN]) + b"\xff" * 8))
    with pytest.raises(FormatError, match="reals: holds 7 bytes of numbers; the tensors need 8"):
        load(with_reals(bytes([reals.PLAIN]) + b"\xff" * 7))
    with pytest.raises(FormatError, match="reals: is empty"):
        load(with_reals(b""))


@given(st.integers(0, (1 << 49) - 1))
def test_varints_round_trip(value):
    """Any length below 2**49 comes back, in the fewest bytes."""
    coded = framing.varint(value)
    assert len(coded) == max(1, -(-value.bit_length() // 7))
    assert framing._read_varint(memoryview(coded), 0, "x") == (value, len(coded))


def test_a_header_that_no_reader_would_unpack_is_not_written():
    """A recipe that compresses like a bomb is refused when saving, so that what is saved can be loaded."""
    net = Network(mlp().graph, mlp().weights, "#" * 200_000)
    with pytest.raises(LimitError, match="is more than a file may have; shorten the recipe or the names"):
        pack(net)


def test_a_sparse_weight_with_values_of_unknown_kind_is_refused():
    """Kinds nest, and an inner kind that a file cannot hold is refused like an outer one."""
    net = network_of(Sparse((4,), np.array([0, 2]), _Foreign()))
    with pytest.raises(WeightError, match=r"weight 'w0' is a _Foreign, which a \.liss file cannot hold yet"):
        pack(net)
