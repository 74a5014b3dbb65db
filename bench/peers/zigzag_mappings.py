"""ZigZag's best mappings of ResNet-18's layers on lissome's arrays, at the same sizes and energies; writes its answers.

    pip install zigzag-dse pyyaml   # into an environment of its own, with lissome on its path
    python bench/peers/zigzag_mappings.py bench/results/zigzag.json

`tests/hardware/test_mapper.py` and `bench/hardware.py` compare lissome with the file that this makes. ZigZag 3.9 is
given one port a memory that moves single bytes, so that an access costs by its bits, and inputs with their padding.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import logging
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from zigzag.api import get_hardware_performance_zigzag

from lissome.graph.conv_shape import ConvShape
from lissome.hardware.array import OPERANDS, Array
from lissome.hardware.published import MAPPER_ARRAYS, RESNET18

# Loop factors whose orders ZigZag lists, all permutations of them: minutes a layer with 7.
ORDERINGS = {"weight": 7, "output": 5}
NAMES = {"weights": "I2", "inputs": "I1", "outputs": "O"}
LAYER_NAMES = {"weights": "W", "inputs": "I", "outputs": "O"}
LOOPS = {"n": "B", "k": "K", "c": "C", "p": "OY", "q": "OX", "r": "FY", "s": "FX"}
PORT_BITS = 4096  # of a memory without a bound


def accelerator(array: Array) -> dict[str, Any]:
    """The array as ZigZag describes one."""
    dims = {dim: f"D{index + 1}" for index, (dim, _) in enumerate(array.unroll)}
    memories = {}
    for memory in array.memories:
        bits = int(memory.bits_per_cycle) if math.isfinite(memory.bits_per_cycle) else PORT_BITS
        ways = [f"{NAMES[o]}, {way}" for o in memory.holds for way in ("fh", "tl", *(("fl", "th") * (o == "outputs")))]
        port = {"name": "rw_port_1", "type": "read_write", "bandwidth_min": 8, "bandwidth_max": bits}
        memories[memory.name.replace(" ", "_")] = {
            "size": int(memory.capacity_bits) if math.isfinite(memory.capacity_bits) else 10**13,
            "r_cost": memory.read_pj_per_bit * bits,
            "w_cost": memory.write_pj_per_bit * bits,
            "area": 0,
            "latency": 1,
            "operands": [NAMES[operand] for operand in memory.holds],
            "ports": [port | {"allocation": ways}],
            "served_dimensions": [dims[dim] for dim in memory.across if dim in dims],
        }
    sizes = [width for _, width in array.unroll]
    units = {"unit_energy": array.mac_pj, "unit_area": 1, "dimensions": [*dims.values()], "sizes": sizes}
    return {"name": "array", "memories": memories, "operational_array": units}


def workload(shape: ConvShape, array: Array) -> list[dict[str, Any]]:
    """One layer, its padding as input like any other."""
    sizes = (shape.n, shape.k, shape.c, shape.p, shape.q, shape.r, shape.s)
    return [
        {
            "id": 0,
            "name": "layer",
            "operator_type": "Conv",
            "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
            "dimension_relations": [f"ix={shape.stride_w}*ox+1*fx", f"iy={shape.stride_h}*oy+1*fy"],
            "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
            "loop_sizes": [*sizes],
            "operand_precision": {
                "W": array.weight_bits, "I": array.input_bits, "O": array.sum_bits, "O_final": array.output_bits,
            },
            "operand_source": {"I": 0, "W": 0},
        }
    ]  # fmt: skip


def mapping(shape: ConvShape, array: Array) -> list[dict[str, Any]]:
    """The unrolling that the array fixes."""
    extents = dict(zip("nkcpqrs", (shape.n, shape.k, shape.c, shape.p, shape.q, shape.r, shape.s), strict=True))
    widths = {dim: min(width, extents[dim]) for dim, width in array.unroll}
    spatial = {f"D{index + 1}": [f"{LOOPS[dim]}, {width}"] for index, (dim, width) in enumerate(widths.items())}
    links = {LAYER_NAMES[operand]: NAMES[operand] for operand in OPERANDS}
    return [{"name": "default", "spatial_mapping": spatial, "memory_operand_links": links}]


def run(array: Array, shape: ConvShape, orderings: int) -> dict[str, Any]:
    """ZigZag's best energy, and the nest: loops from the innermost, and how many of them are inside each memory."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, plain in (("a", accelerator(array)), ("m", mapping(shape, array)), ("w", workload(shape, array))):
            paths.append(str(Path(folder) / f"{name}.yaml"))
            Path(paths[-1]).write_text(yaml.safe_dump(plain, sort_keys=False))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            energy, _, found = get_hardware_performance_zigzag(
                paths[2], paths[0], paths[1], opt="energy", dump_folder=folder, pickle_filename=f"{folder}/p.pickle",
                lpf_limit=orderings, loma_show_progress_bar=False,
            )  # fmt: skip
    (evaluation, _), *_ = found[0][1]
    by_name = {zigzag: own for own, zigzag in LOOPS.items()}
    temporal = {str(operand): levels for operand, levels in evaluation.temporal_mapping.mapping_dic_origin.items()}
    loops = [[by_name[str(dim)], int(size)] for level in temporal["W"] for dim, size in level]
    cuts = {}
    for operand in OPERANDS:
        inside, cuts[operand] = 0, [0]
        for level in temporal[LAYER_NAMES[operand]][:-1]:
            inside += len(level)
            cuts[operand].append(inside)
    return {"energy_pj": float(energy), "loops": loops, "cuts": cuts}


def main() -> None:
    logging.disable(logging.INFO)
    path = Path(sys.argv[1])
    results: dict[str, Any] = {"zigzag": importlib.metadata.version("zigzag-dse"), "orderings": ORDERINGS, "arrays": {}}
    for name, array in MAPPER_ARRAYS.items():
        layers = results["arrays"][name] = {}
        for layer, shape in RESNET18.items():
            layers[layer] = run(array, shape, ORDERINGS[name])
            print(name, layer, f"{layers[layer]['energy_pj']:,.0f} pJ", flush=True)
            path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
