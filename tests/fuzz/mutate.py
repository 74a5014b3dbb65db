"""From bytes that a fuzzer chooses to a file that may get past the checksums: the structure-aware part."""

from __future__ import annotations

from lissome.errors import FormatError, LimitError
from lissome.pack import framing, prime, text
from lissome.pack.container import Limits, load, pack
from lissome.pack.split import canonical

LIMITS = Limits(max_bytes=64 << 20)


def assemble(kind: int, profile: int, streams: list[bytes]) -> bytes:
    """A file of untrusted parts with checksums that fit.

    kind 0: the first stream is the whole file as it is; 1: it is the header's text, coded here; 2: the header's coded
    stream. The others are reals and index streams.
    """
    head, reals, *groups = [*streams, b"", b""][: max(2, len(streams))]
    if kind % 3 == 0:
        return head
    coded = text.encode_text(head, prime.HEADER) if kind % 3 == 1 else head
    return framing.join(profile, coded, reals, groups)


def seeds(data: bytes) -> list[bytes]:
    """Inputs of fuzz_reader.py that amount to the valid file `data`, one of each kind.

    atheris takes whole numbers from the end of an input and bytes from its front.
    """
    frame = framing.split(data)
    others = [bytes(stream) for stream in (frame.reals, *frame.groups)]
    coded = bytes(frame.header)
    sizes = b"".join(len(stream).to_bytes(2, "big") for stream in others)
    head = text.decode_text(coded, prime.HEADER, max_bytes=1 << 16)
    whole = data + bytes([0, frame.profile, 0])
    return [whole] + [
        b"".join(others) + first + (bytes([kind, frame.profile, len(others)]) + sizes)[::-1]
        for kind, first in ((1, head), (2, coded))
    ]


def check(data: bytes) -> bool:
    """Load `data`: it is refused with a FormatError or a LimitError, or it is a network that packs and loads again.

    Returns whether it loaded. Any other exception is a finding.
    """
    try:
        net = load(data, LIMITS)
    except (FormatError, LimitError) as error:
        if not str(error).startswith("<bytes>: "):
            raise AssertionError(f"an error that names no file: {error}") from error
        return False
    try:
        again = pack(net, "huffman")
    except LimitError:
        return True  # nearly empty tensors, claimed by a file that was larger than it need be
    if load(again) != canonical(net):
        raise AssertionError("what was loaded does not come back")
    return True
