"""Cycles of matrix products by SCALE-Sim 3, beside those of lissome's systolic array.

    .venv-scalesim/bin/python bench/peers/scalesim_cycles.py [--json PATH]

In an environment of its own, with lissome's sources on PYTHONPATH:

    python -m venv .venv-scalesim && .venv-scalesim/bin/pip install scalesim==3.0.0 'numpy<2.4'

SCALE-Sim reports the index of the last cycle, which is one less than their number (its issue 125); the table adds that
one back.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path

from scalesim.scale_sim import scalesim

from lissome.hardware.published import RESNET18
from lissome.hardware.tpu import Dataflow, Systolic

OFF_BY_ONE = 1
# Rows and columns of the array, then m, n, k of the product.
PROBLEMS = (
    (4, 4, 10, 4, 4),
    (4, 8, 10, 16, 9),
    (8, 4, 7, 5, 20),
    (16, 16, 64, 64, 64),
    (32, 32, 49, 256, 512),
    (16, 32, 100, 30, 75),
    # Layers of ResNet-18 as products on 32 × 32; SCALE-Sim takes minutes for the earlier ones.
    *(
        (32, 32, s.p * s.q, s.k, s.depth)
        for s in (RESNET18[name] for name in ("layer3", "layer4", "layer4 shortcut", "fc"))
    ),
)
CONFIG = """[general]
run_name = lissome
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {columns}
IfmapSramSzkB: 1024
FilterSramSzkB: 1024
OfmapSramSzkB: 1024
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
ReadRequestBuffer: 64
WriteRequestBuffer: 64
Dataflow: {dataflow}
Bandwidth: 1000
MemoryBanks: 1
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def theirs(dataflow: Dataflow, array: tuple[int, int], product: tuple[int, int, int]) -> int:
    """Compute cycles that SCALE-Sim reports, with the one that it leaves out."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        (rows, columns), (m, n, k) = array, product
        Path("c.cfg").write_text(CONFIG.format(rows=rows, columns=columns, dataflow=f"{dataflow[0]}s"))
        Path("t.csv").write_text(f"Layer, M, N, K,\nl0, {m}, {n}, {k},\n")
        Path("l.csv").write_text("Layer" + ", x" * 22 + ",\nl0," + "1," * 22 + "\n")
        run = scalesim(
            save_disk_space=True, verbose=False, config="c.cfg", topology="t.csv", layout="l.csv", input_type_gemm=True
        )
        with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet):  # noqa: PTH123, its progress bar
            run.run_scale(top_path="out")
        report = run.runner.single_layer_sim_object_list[0].get_compute_report_items()
    return int(report[1]) + OFF_BY_ONE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print(f"{'in place':9}{'array':>9}{'product':>16}{'SCALE-Sim':>12}{'lissome':>10}")
    dataflows: tuple[Dataflow, ...] = ("weight", "output", "input")
    for dataflow in dataflows:
        for height, width, m, n, k in PROBLEMS:
            array, product = (height, width), (m, n, k)
            peer, own = theirs(dataflow, array, product), Systolic(height, width, dataflow).cycles(m, n, k)
            print(f"{dataflow:9}{f'{height}×{width}':>9}{f'{m}×{n}×{k}':>16}{peer:12,}{own:10,}", flush=True)
            rows.append(
                {"dataflow": dataflow, "array": [height, width], "mnk": [m, n, k], "scalesim": peer, "own": own}
            )
            assert peer == own
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
