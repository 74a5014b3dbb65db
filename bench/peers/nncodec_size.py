"""Bytes that NNCodec, the reference coder of ISO/IEC 15938-17, needs for a network, and the network it gives back.

Runs in an environment of its own (`make bench-env`, then .venv-nncodec/bin/python), because NNCodec's own requirements
pull in a CUDA build of torch by way of torchvision. It needs neither for coding arrays: both belong to its example
data sets, in `nncodec.framework`, which is left out here.

    .venv-nncodec/bin/python bench/peers/nncodec_size.py NET.safetensors --qp -20 --qp -24 --decoded DIR

prints one JSON line for each quantisation parameter (a step of 4 halves the step size): qp, bytes, and the file with
the decoded network, whose accuracy the caller measures. Floats are quantised (dependent quantisation, as NNCodec's
defaults have it); int32 tensors are coded losslessly, so that coders can be compared on the same codes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def import_nncodec() -> types.ModuleType:
    """`nncodec.nnc` without the example data sets that it imports and never uses for a dict of arrays."""
    framework = types.ModuleType("nncodec.framework")
    for name in ("tensorflow_model", "pytorch_model", "use_case_init"):
        setattr(framework, name, None)
    sys.modules["nncodec.framework"] = framework
    from nncodec import nnc

    return nnc


def code(tensors: dict[str, np.ndarray], qp: int) -> tuple[int, dict[str, np.ndarray]]:
    """(bytes of the bitstream, tensors decoded from it) with NNCodec's default tools."""
    nnc = import_nncodec()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        path = Path(folder) / "net.nnc"
        nnc.compress(tensors, bitstream_path=str(path), qp=qp, nonweight_qp=-75, use_dq=True, row_skipping=True)
        return path.stat().st_size, nnc.decompress(str(path))


def main() -> None:
    """Print a JSON line for each --qp."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path, help="float32 or int32 tensors in a .safetensors file")
    parser.add_argument("--qp", type=int, action="append", required=True, help="may be given several times")
    parser.add_argument("--decoded", type=Path, metavar="DIR", help="write the decoded networks there")
    arguments = parser.parse_args()
    tensors = load_file(arguments.network)
    for qp in arguments.qp:
        size, decoded = code(tensors, qp)
        row: dict[str, object] = {"qp": qp, "bytes": size}
        if arguments.decoded:
            arguments.decoded.mkdir(parents=True, exist_ok=True)
            target = arguments.decoded / f"{arguments.network.stem}_qp{qp}.safetensors"
            save_file({name: np.ascontiguousarray(value) for name, value in decoded.items()}, target)
            row["decoded"] = str(target)
        print(json.dumps(row))


if __name__ == "__main__":
    main()
