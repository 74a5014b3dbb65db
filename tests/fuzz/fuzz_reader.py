"""atheris on the reader: python tests/fuzz/fuzz_reader.py [libFuzzer options] [corpus folder]."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))

with atheris.instrument_imports(include=["lissome"]):
    from mutate import assemble, check

    import lissome.pack.container
    import lissome.pack.fast
    import lissome.pack.huffman
    import lissome.pack.small  # noqa: F401


def one_input(data: bytes) -> None:
    """One case: a kind, a profile, and streams separated by their lengths."""
    provider = atheris.FuzzedDataProvider(data)
    kind, profile = provider.ConsumeIntInRange(0, 2), provider.ConsumeIntInRange(0, 4)
    count = provider.ConsumeIntInRange(1, 4)
    streams = [provider.ConsumeBytes(provider.ConsumeIntInRange(0, 400)) for _ in range(count - 1)]
    streams.insert(0, provider.ConsumeBytes(provider.remaining_bytes()))
    check(assemble(kind, profile, streams))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
