"""The reader under mutation: hypothesis always, atheris for a short while where it is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutate import assemble, check, seeds

from lissome.pack import framing, prime, text

HERE = Path(__file__).parent
GOLDEN = sorted((HERE.parent / "golden").glob("*.liss"))
FILES = [path.read_bytes() for path in GOLDEN]


@st.composite
def damaged(draw, data: bytes) -> bytes:
    """`data` with a few bytes changed, taken out, put in or repeated."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(out)))
        match draw(st.integers(0, 3)):
            case 0:
                out[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del out[at : at + draw(st.integers(1, 8))]
            case 2:
                out[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                out[at:at] = out[at : at + draw(st.integers(1, 16))]
    return bytes(out)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_streams_behind_good_checksums(data):
    """Any stream damaged, its checksum mended: a clear refusal, or a network that packs and loads again."""
    frame = framing.split(data.draw(st.sampled_from(FILES)))
    streams = [bytes(stream) for stream in (frame.header, frame.reals, *frame.groups)]
    place = data.draw(st.integers(0, len(streams) - 1))
    streams[place] = data.draw(damaged(streams[place]))
    check(assemble(2, frame.profile, streams))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_header_texts(data):
    """The header's text damaged before it is coded: it parses to something else, or is refused."""
    frame = framing.split(data.draw(st.sampled_from(FILES)))
    head = text.decode_text(bytes(frame.header), prime.HEADER, max_bytes=1 << 16)
    streams = [bytes(stream) for stream in (frame.reals, *frame.groups)]
    check(assemble(1, frame.profile, [data.draw(damaged(head)), *streams]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=30,
)


@settings(deadline=None, max_examples=200)
@given(parts=st.lists(json_values, min_size=3, max_size=5), reals=st.binary(max_size=20), group=st.binary(max_size=20))
def test_any_json_for_a_header(parts, reals, group):
    """Whatever JSON can say in place of a header is refused, or is one."""
    check(assemble(1, 1, [json.dumps(parts).encode() + b"\n", reals, group]))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_raw_damage(data):
    """Damage anywhere in the file, checksums as they were: always refused (CRC-32 finds what so few bytes can do)."""
    whole = data.draw(st.sampled_from(FILES))
    hurt = data.draw(damaged(whole))
    assert check(hurt) == (hurt == whole)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: lissome[fuzz]")
def test_a_short_run_of_atheris(tmp_path):
    """A few thousand coverage-guided cases of fixed seed find nothing."""
    for i, seed in enumerate(seed for data in FILES for seed in seeds(data)):
        (tmp_path / f"seed-{i}").write_bytes(seed)
    options = ["-runs=4000", "-seed=1", "-max_len=700", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, str(HERE / "fuzz_reader.py"), *options, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 4000 runs" in done.stderr
